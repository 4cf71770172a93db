//! A disk that is slower than the one there is: a small library, loaded before the C library, lets each `fsync` and
//! `fdatasync` of a process and of those that it starts wait first.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const LIBRARY: &[u8] = br#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

static int after_a_wait(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(MICROS);
    return real(file);
}

int fsync(int file) { return after_a_wait("fsync", file); }
int fdatasync(int file) { return after_a_wait("fdatasync", file); }
"#;

/// A command that runs this benchmark once more, with every `fsync` longer by `wait`. `None` without a C compiler.
pub fn once_more(place: &Path, wait: Duration) -> Option<Command> {
    let library: PathBuf = place.join("slow_disk.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-x", "c", "-"]).arg(format!("-DMICROS={}", wait.as_micros()));
    let mut compiler = compiler.arg("-o").arg(&library).stdin(Stdio::piped()).spawn().ok()?;
    compiler.stdin.take()?.write_all(LIBRARY).ok()?;
    compiler.wait().ok()?.success().then_some(())?;
    let mut again = Command::new(std::env::current_exe().ok()?);
    again.args(std::env::args_os().skip(1)).env("LD_PRELOAD", library);
    Some(again)
}
