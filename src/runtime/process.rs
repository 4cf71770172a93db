//! Which process this is, so that another one on the same machine can see for certain that it has ended.
//!
//! A process is named by the machine's boot, the namespace that numbers processes, its number in it, and when it began.
//! Whoever lives in the same namespace of the same boot and finds no such number, or one that began at another time, knows
//! that it is gone. Anybody else knows nothing.

use std::fs;

use rustix::process::{Pid, test_kill_process};

/// The name of this process; empty where the system does not tell.
#[must_use]
pub fn name() -> String {
    let own = i32::try_from(std::process::id()).ok();
    own.and_then(|id| Some(format!("{} {id} {}", space()?, began(id)?))).unwrap_or_default()
}

/// Whether the process with a name has ended for certain.
#[must_use]
pub fn is_gone(name: &str) -> bool {
    has_ended(name).unwrap_or_default()
}

fn has_ended(name: &str) -> Option<bool> {
    let (rest, then) = name.rsplit_once(' ')?;
    let (their_space, id) = rest.rsplit_once(' ')?;
    if their_space != space()? {
        return None;
    }
    let id: i32 = id.parse().ok()?;
    match test_kill_process(Pid::from_raw(id)?) {
        Err(rustix::io::Errno::SRCH) => Some(true),
        // Somebody has the number: perhaps somebody else.
        _ => Some(began(id)? != then),
    }
}

/// The machine's boot and the namespace of processes.
fn space() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.to_str()?))
}

/// When a process began, in ticks since the boot: the 22nd field of its line (`proc_pid_stat(5)`).
fn began(id: i32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let (_, rest) = line.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_not_gone_and_one_that_has_ended_is() {
        let own = name();
        assert!(!own.is_empty() && !is_gone(&own), "{own}");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let id = i32::try_from(child.id()).expect("a number");
        let theirs = format!("{} {id} {}", space().expect("known"), began(id).expect("known"));
        assert!(!is_gone(&theirs));
        let other = format!("{} {id} 1", space().expect("known"));
        assert!(is_gone(&other), "the number is another process's now");
        child.kill().expect("ended");
        child.wait().expect("ended");
        assert!(is_gone(&theirs));
        assert!(!is_gone(&theirs.replacen('-', "+", 1)), "another machine's processes cannot be seen");
        assert!(!is_gone("") && !is_gone("nonsense"));
    }
}
