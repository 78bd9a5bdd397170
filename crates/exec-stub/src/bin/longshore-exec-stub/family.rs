//! Which processes belong to a session, and how they are ended.

use std::{
    collections::HashSet,
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use crate::{child::Child, process::Process};

/// What [`end`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) killed: u32,
    pub(crate) left: u32,
}

/// Processes that belong together.
pub(crate) trait Family {
    /// Those that have not ended, by a look at the whole process table.
    fn members(&mut self) -> Vec<Process>;

    /// Whether nobody is left. Asked every few milliseconds by many at a time, so it looks at the
    /// table only where nothing less tells.
    fn is_gone(&mut self) -> bool {
        self.members().is_empty()
    }
}

/// Everything below this process. It is the reaper of its descendants (`PR_SET_CHILD_SUBREAPER`),
/// so whoever loses its parent comes here: nothing leaves the tree, whatever it does to its
/// environment, its session or its user.
#[derive(Debug)]
pub(crate) struct Descendants<'a>(pub(crate) &'a mut Child);

impl Family for Descendants<'_> {
    fn members(&mut self) -> Vec<Process> {
        let own = own_pid();
        let all = Process::all();
        let mut found = HashSet::from([own]);
        spread(&all, &mut found);
        all.into_iter()
            .filter(|process| process.pid != own && found.contains(&process.pid))
            .collect()
    }

    /// Who has no children, and gets everybody's orphans, has no descendants: the kernel says so in
    /// one call.
    fn is_gone(&mut self) -> bool {
        self.0.reap()
    }
}

/// The members of some process groups.
#[derive(Debug)]
pub(crate) struct Groups<'a>(pub(crate) &'a mut Child, pub(crate) Vec<i32>);

impl Family for Groups<'_> {
    fn members(&mut self) -> Vec<Process> {
        self.0.reap();
        let own = own_pid();
        let mut all = Process::all();
        all.retain(|process| process.pid != own && self.1.contains(&process.group));
        all
    }
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
}

impl Family for Marked {
    fn members(&mut self) -> Vec<Process> {
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

/// Ends what is in the foreground of a session: first the job that has the terminal, while the command
/// stands still and starts no other, and then the command with its group. That is not hung up: shells
/// pass a hang-up on to what is in their background, which is to stay.
pub(crate) fn end_foreground(child: &mut Child) -> Ended {
    let own = child.group();
    let mut jobs = child.foreground();
    jobs.retain(|group| Some(*group) != own);
    if !jobs.is_empty() {
        child.stop();
    }
    let numbers = |groups: &[Pid]| {
        groups
            .iter()
            .map(|pid| pid.as_raw_nonzero().get())
            .collect()
    };
    let mut seen = HashSet::new();
    let mut job = Groups(child, numbers(&jobs));
    ask(&mut job, &POLITE, &mut seen);
    kill(&job.members(), &mut seen);
    // Before anybody waits for what does not die: if this were ended meanwhile, the command would stand
    // still for good.
    let command = end(
        Groups(&mut *job.0, numbers(own.as_slice())),
        &[Signal::TERM],
    );
    let job = finish(job, seen);
    Ended {
        killed: job.killed + command.killed,
        left: job.left + command.left,
    }
}

/// Ends a family: stopped, so that nobody starts others meanwhile; hung up, as a lost terminal does
/// it; asked to end; killed, until nobody is left.
/// Of hang-up and request only those that are given.
///
/// After a signal there is time for those that may act on it. Whom it ends by itself, and who
/// ignores it, needs none.
pub(crate) fn end(mut family: impl Family, requests: &[Signal]) -> Ended {
    let mut seen = HashSet::new();
    ask(&mut family, requests, &mut seen);
    finish(family, seen)
}

/// Asks all of them to end, and gives them time for it.
fn ask(family: &mut impl Family, requests: &[Signal], seen: &mut HashSet<i32>) {
    for &signal in requests {
        let members = family.members();
        if members.is_empty() {
            break;
        }
        let mut minders = members.clone();
        minders.retain(|member| member.minds(signal));
        for polite in [Signal::STOP, signal, Signal::CONT] {
            members.iter().for_each(|member| member.signal(polite));
        }
        seen.extend(members.iter().map(|member| member.pid));
        let until = Instant::now() + GRACE;
        while Instant::now() < until && minders.iter().any(Process::is_alive) {
            sleep(PAUSE);
        }
    }
}

fn kill(members: &[Process], seen: &mut HashSet<i32>) {
    seen.extend(members.iter().map(|member| member.pid));
    for deadly in [Signal::STOP, Signal::KILL] {
        members.iter().for_each(|member| member.signal(deadly));
    }
}

/// Kills until nobody is left.
fn finish(mut family: impl Family, mut seen: HashSet<i32>) -> Ended {
    let deadline = Instant::now() + LIMIT;
    let mut left = 0;
    // Twice: who was just born is in no look.
    let mut empty = 0;
    while empty < 2 && Instant::now() < deadline {
        if family.is_gone() {
            (left, empty) = (0, empty + 1);
            continue;
        }
        empty = 0;
        let members = family.members();
        left = members.len();
        kill(&members, &mut seen);
        // The killed need a moment to end, and another look none of them.
        let until = Instant::now() + PAUSE;
        while Instant::now() < until && !family.is_gone() {
            sleep(PAUSE / 2);
        }
    }
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Ended {
        killed: count(seen.len()).saturating_sub(count(left)),
        left: count(left),
    }
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// What whoever ends is told, in this order.
pub(crate) const POLITE: [Signal; 2] = [Signal::HUP, Signal::TERM];
/// How long a hang-up and a request to end may take. Short: half a second is what a lost client's
/// processes have in all, and who wants to save something does it on SIGHUP.
const GRACE: Duration = Duration::from_millis(75);
const PAUSE: Duration = Duration::from_millis(4);
const LIMIT: Duration = Duration::from_secs(10);
