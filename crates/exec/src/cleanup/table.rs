//! The engine's process table of one container.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use longshore_core::printable;
use serde::Deserialize;

use super::{Findings, LeftBehind, Marker};

/// What `ps` is asked for: with it, the engine shows every process of the container, of every user,
/// with its environment (`e`), whatever is in the image. The names of columns don't tell a program's
/// name from its command line, so the order counts.
pub(crate) const COLUMNS: &str = "axeww -o pid,ppid,sid,etimes,stat,comm,args";

/// Every process of a container, by its number on the engine's host.
///
/// The answer holds whatever secrets are in environments there. All but the markers is dropped
/// while it is read.
#[derive(Debug)]
pub(crate) struct ProcessTable(Vec<Process>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    session: u32,
    age: Duration,
    zombie: bool,
    name: String,
    marker: Option<Marker>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Titles", default)]
    titles: Vec<String>,
    #[serde(rename = "Processes", default)]
    processes: Option<Vec<Vec<String>>>,
}

impl ProcessTable {
    /// From the engine's answer to `top` with [`COLUMNS`].
    pub(crate) fn parse(answer: &[u8]) -> Result<Self, &'static str> {
        let answer: Answer = serde_json::from_slice(answer)
            .map_err(|_| "the engine's process table has another form")?;
        if answer.titles.len() != COUNT || answer.titles[0] != "PID" {
            return Err("the engine's process table has other columns than asked for");
        }
        let rows = answer.processes.unwrap_or_default();
        rows.iter()
            .map(|row| Process::parse(row).ok_or("a line of the engine's process table is not one"))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Every marker in it.
    pub(crate) fn markers(&self) -> HashSet<&Marker> {
        let alive = self.0.iter().filter(|process| !process.zombie);
        alive
            .filter_map(|process| process.marker.as_ref())
            .collect()
    }

    /// Whether a process is shown with the marker that it surely carries; `None` if it is not there.
    pub(crate) fn shows(&self, pid: u32, marker: &Marker) -> Option<bool> {
        let process = self.0.iter().find(|process| process.pid == pid)?;
        Some(process.marker.as_ref() == Some(marker))
    }

    /// What belongs to a session: who carries its marker, who descends from one, and who is in a
    /// terminal session that one of them leads or led. `sessions` remembers those between looks.
    ///
    /// `lasted` is the time since the session's start; without it nobody is suspected.
    pub(crate) fn look(
        &self,
        marker: &Marker,
        sessions: &mut HashSet<u32>,
        lasted: Option<Duration>,
    ) -> Findings {
        let mut members = HashSet::new();
        for process in &self.0 {
            if process.marker.as_ref() == Some(marker) {
                members.insert(process.pid);
                // Only what an owner leads: a marker that was borrowed inside somebody else's
                // session does not bring that one down.
                if process.pid == process.session {
                    sessions.insert(process.pid);
                }
            }
        }
        let same = self
            .0
            .iter()
            .filter(|process| sessions.contains(&process.session));
        members.extend(same.map(|process| process.pid));
        loop {
            let before = members.len();
            for process in &self.0 {
                if members.contains(&process.parent) {
                    members.insert(process.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        let first = self.first();
        let (mine, others): (Vec<&Process>, Vec<&Process>) = self
            .0
            .iter()
            .filter(|process| Some(process.pid) != first)
            .partition(|process| members.contains(&process.pid));
        let (zombies, alive): (Vec<&Process>, Vec<&Process>) =
            mine.into_iter().partition(|process| process.zombie);
        let suspect = |process: &&Process| {
            // An orphan came to the first process, or to whoever stands in for it outside.
            let orphan = Some(process.parent) == first;
            !process.zombie
                && process.marker.is_none()
                && orphan
                && process.pid == process.session
                && lasted.is_some_and(|lasted| process.age <= lasted)
        };
        let unattributed = others.into_iter().filter(suspect).take(MOST_SUSPECTS);
        Findings {
            left: alive.iter().map(|process| process.shown()).collect(),
            unattributed: unattributed.map(Process::shown).collect(),
            zombies: zombies.len(),
        }
    }

    /// The container's first process: the oldest whose parent is outside.
    fn first(&self) -> Option<u32> {
        let inside: HashMap<u32, Duration> = self
            .0
            .iter()
            .map(|process| (process.pid, process.age))
            .collect();
        let roots = self
            .0
            .iter()
            .filter(|process| !inside.contains_key(&process.parent));
        // Among equals the smaller number: the container's process was there before any exec's.
        roots
            .filter(|process| process.marker.is_none())
            .max_by_key(|process| (process.age, std::cmp::Reverse(process.pid)))
            .map(|process| process.pid)
    }
}

impl Process {
    fn parse(row: &[String]) -> Option<Self> {
        let [pid, parent, session, age, state, name, rest] = row else {
            return None;
        };
        Some(Self {
            pid: pid.parse().ok()?,
            parent: parent.parse().ok()?,
            session: session.parse().ok()?,
            age: Duration::from_secs(age.parse().ok()?),
            zombie: state.starts_with(['Z', 'X']),
            name: printable(name, LONGEST_NAME).into_owned(),
            marker: Marker::find(rest),
        })
    }

    fn shown(&self) -> LeftBehind {
        LeftBehind::new(self.pid, self.name.clone())
    }
}

const COUNT: usize = 7;
const LONGEST_NAME: usize = 32;
const MOST_SUSPECTS: usize = 32;

#[cfg(test)]
mod tests;
