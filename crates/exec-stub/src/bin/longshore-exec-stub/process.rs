use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One line of the process table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// Ticks since boot: with the number, who it is.
    start: u64,
    state: char,
}

impl Process {
    /// All that have not ended.
    pub(crate) fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
            .filter(|process| !process.has_ended())
            .collect()
    }

    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&stat))
    }

    /// The name stands in parentheses and may hold anything, also `)` and spaces (proc(5)).
    fn parse(pid: i32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            pid,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            start: fields.nth(15)?.parse().ok()?,
        })
    }

    /// Whether one of the entries is in its first environment. Others' can't be read without
    /// privilege, and count as without.
    pub(crate) fn carries(&self, entries: &[Vec<u8>]) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{}/environ", self.pid)) else {
            return false;
        };
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entries.iter().any(|wanted| wanted == entry))
    }

    /// Whether it may do something of its own about a signal: it has a handler, or holds the signal
    /// back to fetch it when it likes (proc(5), `SigCgt` and `SigBlk`). Unknown, it may.
    pub(crate) fn minds(&self, signal: Signal) -> bool {
        let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.pid)) else {
            return true;
        };
        Self::status_minds(&status, signal)
    }

    fn status_minds(status: &str, signal: Signal) -> bool {
        let bit = 1u64 << (signal.as_raw() - 1);
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            u64::from_str_radix(line.trim(), 16).ok()
        };
        match (set("SigCgt:"), set("SigBlk:")) {
            (Some(caught), Some(blocked)) => (caught | blocked) & bit != 0,
            _ => true,
        }
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&self) -> bool {
        let now = Self::read(self.pid);
        now.is_some_and(|now| now.start == self.start && !now.has_ended())
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// Sends a signal, if it still is who it was.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return;
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => {
                if Self::read(self.pid).is_some_and(|now| now.start == self.start) {
                    let _ = pidfd_send_signal(&handle, signal);
                }
            }
            // A kernel before 5.3.
            Err(rustix::io::Errno::NOSYS) => drop(rustix::process::kill_process(pid, signal)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_parser() {
        let stat = "42 (a) R 1 (b)) S 7 42 41 0 -1 4194304 1 2 3 4 11 22 0 0 20 0 3 0 9999 1 2";
        let process = Process::parse(42, stat).unwrap();
        assert_eq!(
            (process.parent, process.group, process.session),
            (7, 42, 41)
        );
        assert_eq!((process.start, process.state), (9999, 'S'));
        assert_eq!(Process::parse(1, "1 (x) S 1"), None);
    }

    #[test]
    fn who_catches_or_holds_back_a_signal_minds_it() {
        let status = "Name:\tsh\nSigBlk:\t0000000000004000\nSigIgn:\t0000000000000002\n\
                      SigCgt:\t0000000000000001\n";
        let minds = |signal| Process::status_minds(status, signal);
        assert!(minds(Signal::HUP) && minds(Signal::TERM));
        assert!(!minds(Signal::INT) && !minds(Signal::USR1));
        assert!(Process::status_minds("Name:\tsh\n", Signal::INT));
    }

    #[test]
    fn this_process_is_in_the_table_with_its_environment() {
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process::all()
            .into_iter()
            .find(|process| process.pid == own);
        let path = format!("PATH={}", std::env::var("PATH").unwrap()).into_bytes();
        assert!(process.unwrap().carries(&[b"NO=NO".to_vec(), path]));
        assert!(!process.unwrap().carries(&[b"PATH".to_vec()]));
    }
}
