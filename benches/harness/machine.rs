//! What the operating system says: of a process, and of the disk.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use super::report::percentile;

/// How long an `fdatasync` of 4 KiB appended takes, in the middle of 100.
pub fn fsync(folder: &Path) -> Duration {
    let path = folder.join("fsync");
    let mut file = fs::File::create(&path).expect("a file");
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            file.write_all(&[7; 4096]).expect("written");
            let began = Instant::now();
            file.sync_data().expect("synced");
            began.elapsed()
        })
        .collect();
    fs::remove_file(path).expect("removed");
    times.sort_unstable();
    percentile(&times, 50)
}
