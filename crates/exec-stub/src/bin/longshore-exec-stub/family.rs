//! Which processes belong to a session, and how they are ended.

use std::{
    collections::HashSet,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Signal, WaitOptions, wait};

use crate::process::Process;

/// What [`end`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) killed: u32,
    pub(crate) left: u32,
}

/// Everything below this process. It is the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`),
/// so whoever loses its parent comes here: nothing leaves the tree, whatever it does to its
/// environment, its session or its user.
pub(crate) fn descendants() -> Vec<Process> {
    let own = own_pid();
    let all = Process::all();
    let mut found = HashSet::from([own]);
    spread(&all, &mut found);
    all.into_iter()
        .filter(|process| process.pid != own && found.contains(&process.pid))
        .collect()
}

/// The members of some process groups.
pub(crate) fn groups(groups: &[i32]) -> Vec<Process> {
    let own = own_pid();
    let mut all = Process::all();
    all.retain(|process| process.pid != own && groups.contains(&process.group));
    all
}

/// Those with a marker, seen by somebody who is not their parent: owners of the marker, their
/// descendants, and members of a session that an owner leads or led.
#[derive(Debug)]
pub(crate) struct Marked {
    entries: Vec<Vec<u8>>,
    /// Only sessions whose leader was seen with the marker: who borrows a marker inside somebody
    /// else's session does not bring that session down.
    sessions: HashSet<i32>,
}

impl Marked {
    pub(crate) fn new(markers: impl Iterator<Item = String>) -> Self {
        Self {
            entries: markers.map(String::into_bytes).collect(),
            sessions: HashSet::new(),
        }
    }

    pub(crate) fn members(&mut self) -> Vec<Process> {
        let own = own_pid();
        let all = Process::all();
        let owners = all.iter().filter(|process| process.carries(&self.entries));
        let mut found: HashSet<i32> = owners.map(|process| process.pid).collect();
        let leaders = all.iter().filter(|process| process.pid == process.session);
        self.sessions.extend(
            leaders
                .map(|leader| leader.pid)
                .filter(|pid| found.contains(pid)),
        );
        let same = all
            .iter()
            .filter(|process| self.sessions.contains(&process.session));
        found.extend(same.map(|process| process.pid));
        // The first process is the container itself.
        found.remove(&1);
        spread(&all, &mut found);
        all.into_iter()
            .filter(|process| process.pid != own && process.pid > 1 && found.contains(&process.pid))
            .collect()
    }
}

/// Adds the children of those found, and theirs.
fn spread(all: &[Process], found: &mut HashSet<i32>) {
    loop {
        let before = found.len();
        for process in all {
            if found.contains(&process.parent) {
                found.insert(process.pid);
            }
        }
        if found.len() == before {
            return;
        }
    }
}

/// Ends what `find` gives: stopped, so that nobody starts others meanwhile; hung up, as a lost
/// terminal does it; asked to end; killed, until two looks in a row find nobody.
pub(crate) fn end(mut find: impl FnMut() -> Vec<Process>) -> Ended {
    let mut seen = HashSet::new();
    for signal in [Signal::HUP, Signal::TERM] {
        let members = find();
        if members.is_empty() {
            break;
        }
        for polite in [Signal::STOP, signal, Signal::CONT] {
            members.iter().for_each(|member| member.signal(polite));
        }
        seen.extend(members.iter().map(|member| member.pid));
        let until = Instant::now() + GRACE;
        while Instant::now() < until
            && !{
                reap();
                find().is_empty()
            }
        {
            sleep(PAUSE);
        }
    }
    let deadline = Instant::now() + LIMIT;
    let mut empty = 0;
    let mut left = 0;
    while empty < 2 && Instant::now() < deadline {
        let members = find();
        left = members.len();
        empty = if left == 0 { empty + 1 } else { 0 };
        seen.extend(members.iter().map(|member| member.pid));
        for deadly in [Signal::STOP, Signal::KILL] {
            members.iter().for_each(|member| member.signal(deadly));
        }
        reap();
        if left > 0 {
            sleep(PAUSE / 2);
        }
    }
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Ended {
        killed: count(seen.len()).saturating_sub(count(left)),
        left: count(left),
    }
}

/// Buries children that have ended.
fn reap() {
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// How long a hang-up and a request to end may take. Short: half a second is what a lost client's
/// processes have in all, and who wants to save something does it on SIGHUP.
const GRACE: Duration = Duration::from_millis(75);
const PAUSE: Duration = Duration::from_millis(4);
const LIMIT: Duration = Duration::from_secs(10);
