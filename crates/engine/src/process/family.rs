//! All processes that belong to a workload, a session or an engine, found in `/proc`.

use std::{collections::HashSet, fs, io::Read};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::leader::Leader;

/// The environment variables by which the processes of one engine, workload and session are known.
pub(super) const ENGINE_MARK: &str = "LONGSHORE_ENGINE";
pub(super) const WORKLOAD_MARK: &str = "LONGSHORE_WORKLOAD";
pub(super) const SESSION_MARK: &str = "LONGSHORE_SESSION";

/// What makes a process a member: the mark in its environment; or the process group or session of
/// the first process; or being a descendant of a member.
///
/// This finds children in the background and those that made a session of their own. A process
/// that cleared its environment, left the session and lost its parent is not found: marks are
/// tidiness, not a security boundary.
#[derive(Clone, Debug)]
pub(super) struct Family {
    mark: String,
}

impl Family {
    pub(super) fn new(mark: &str, value: &str) -> Self {
        Self {
            mark: format!("{mark}={value}"),
        }
    }

    /// Kills all members and waits until they have ended. Says how many are left, 0 unless they
    /// multiply faster than they can be killed. Blocks for as long as the kernel needs.
    pub(super) fn kill(&self, leader: Option<&Leader>) -> usize {
        let mut left = 0;
        for _ in 0..ROUNDS {
            let members = self.members(leader);
            left = members.len();
            if left == 0 {
                break;
            }
            let mut handles = Vec::new();
            for member in &members {
                handles.extend(member.kill());
            }
            let mut polled: Vec<_> = handles
                .iter()
                .map(|handle| PollFd::new(handle, PollFlags::IN))
                .collect();
            // Woken by the first that ends; the next round looks who is left.
            let _ = poll(&mut polled, Some(&PATIENCE));
        }
        left
    }

    /// The living members, the first process included.
    pub(super) fn members(&self, leader: Option<&Leader>) -> Vec<Process> {
        match leader {
            Some(leader) => leader.with_root(|root| self.find(root)),
            None => self.find(None),
        }
    }

    fn find(&self, root: Option<u32>) -> Vec<Process> {
        let own = std::process::id();
        let all = Process::all();
        let mut members: HashSet<u32> = all
            .iter()
            .filter(|process| {
                let near = [process.pid, process.group, process.session];
                root.is_some_and(|root| near.contains(&root)) || process.has_mark(&self.mark)
            })
            .map(|process| process.pid)
            .collect();
        loop {
            let before = members.len();
            for process in &all {
                if members.contains(&process.parent) {
                    members.insert(process.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        all.into_iter()
            .filter(|process| {
                members.contains(&process.pid)
                    && process.pid > 1
                    && process.pid != own
                    && !matches!(process.state, 'Z' | 'X')
            })
            .collect()
    }
}

/// One line of the process table.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    state: char,
    parent: u32,
    group: u32,
    session: u32,
    /// Processor time used, in clock ticks.
    pub(super) ticks: u64,
    pub(super) threads: u64,
    /// Start in clock ticks since boot: with the number, who it is.
    start: u64,
    /// Memory in use, in pages.
    pub(super) resident: u64,
}

impl Process {
    fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir("/proc") else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Self::read)
            .collect()
    }

    fn read(pid: u32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may hold any character, also `)` and spaces.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let id = |index| u32::try_from(number(index)?).ok();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            ticks: number(11)?.checked_add(number(12)?)?,
            threads: number(17)?,
            start: number(19)?,
            resident: number(21)?,
        })
    }

    /// Others' environments can't be read without privilege, so they have no mark.
    fn has_mark(&self, mark: &str) -> bool {
        let Ok(file) = fs::File::open(format!("/proc/{}/environ", self.pid)) else {
            return false;
        };
        let mut environment = Vec::new();
        // An error half-way leaves what was read: a mark in it still counts.
        let _ = file.take(LARGEST_ENVIRONMENT).read_to_end(&mut environment);
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == mark.as_bytes())
    }

    /// Kills it, if it still is who it was. Gives a handle that becomes readable at its end.
    fn kill(&self) -> Option<std::os::fd::OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let same = Self::read(self.pid).is_some_and(|now| now.start == self.start);
        if !same {
            return None;
        }
        pidfd_send_signal(&handle, Signal::KILL).ok()?;
        Some(handle)
    }
}

const ROUNDS: usize = 100;
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const LARGEST_ENVIRONMENT: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse_the_parser() {
        let stat =
            "42 (a) R 1 (b)) S 7 42 41 0 -1 4194304 1 2 3 4 11 22 0 0 20 0 3 0 9999 1000 250";
        let process = Process::parse(42, stat).unwrap();
        assert_eq!((process.state, process.parent), ('S', 7));
        assert_eq!((process.group, process.session), (42, 41));
        assert_eq!((process.ticks, process.threads), (33, 3));
        assert_eq!((process.start, process.resident), (9999, 250));
        assert!(Process::parse(1, "1 (x").is_none());
        assert!(Process::parse(1, "1 (x) S 1").is_none());
    }

    #[test]
    fn this_process_is_never_a_member() {
        let own = std::process::id();
        let family = Family::new("LONGSHORE_TEST", "nobody-has-this");
        assert!(family.find(Some(own)).iter().all(|p| p.pid != own));
    }
}
