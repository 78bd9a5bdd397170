//! Finding the cluster, and saying what stands in the way.

use std::{collections::BTreeMap, time::Duration};

use longshore_core::{Timestamp, printable};

use super::{Message, Node, Position, Status};
use crate::raft::identity::{self, Step};

#[derive(Debug)]
pub(super) struct Birth {
    /// What each member said since we started.
    heard: Vec<Option<Status>>,
    /// When the others are asked next.
    pub(super) due: Timestamp,
    /// What is wrong with a member, or with all.
    problems: BTreeMap<Option<usize>, String>,
}

impl Birth {
    pub(super) fn new(count: usize, now: Timestamp) -> Self {
        Self {
            heard: vec![None; count],
            due: now,
            problems: BTreeMap::new(),
        }
    }

    pub(super) fn complain(&mut self, problem: &str) {
        self.problems.insert(None, problem.to_owned());
    }
}

impl Node {
    /// Without a cluster, asks the others for theirs.
    pub(super) fn ask_around(&mut self, now: Timestamp) {
        if self.identity.cluster.is_some() || now < self.birth.due {
            return;
        }
        self.birth.due = now.after(ASK_EVERY);
        for peer in 0..self.options.names.len() {
            if peer != self.options.me {
                let own = self.status();
                self.messages.push((peer, Message::Ask(own)));
            }
        }
    }

    pub(super) fn hear(&mut self, from: usize, status: Status) {
        let name = &self.options.names[from];
        let problem = if status.names != self.identity.names {
            Some(format!(
                "{name} has another list of managers ({}): all need the same names",
                printable(&status.names, 200)
            ))
        } else if self.differs(status.cluster) {
            Some(another_cluster(name))
        } else {
            None
        };
        match problem {
            Some(problem) => drop(self.birth.problems.insert(Some(from), problem)),
            None => {
                self.birth.problems.remove(&Some(from));
                self.birth.heard[from] = Some(status);
            }
        }
    }

    /// Whether a message is about our cluster.
    pub(super) fn is_ours(&mut self, from: usize, cluster: Option<u128>) -> bool {
        if self.differs(cluster) {
            let problem = another_cluster(&self.options.names[from]);
            self.birth.problems.insert(Some(from), problem);
            return false;
        }
        cluster.is_some()
    }

    /// Whether a message is of a term that no election leads to: whoever believed it would be at the
    /// end of all terms soon, with everybody else.
    pub(super) fn leaps(&mut self, from: usize, message: &Message) -> bool {
        let (term, own) = (message.term(), self.core.term());
        let leaps = term > own.saturating_add(LONGEST_LEAP);
        if leaps {
            let name = &self.options.names[from];
            let problem = format!("{name} claims the term {term}, and ours is {own}");
            self.birth.problems.insert(Some(from), problem);
        }
        leaps
    }

    fn differs(&self, cluster: Option<u128>) -> bool {
        self.identity.cluster.is_some() && cluster.is_some() && cluster != self.identity.cluster
    }

    /// Founds the cluster, or finds our place in it.
    pub(super) fn settle_birth(&mut self, now: Timestamp) {
        if self.identity.cluster.is_some() {
            return;
        }
        let own = self.status();
        match identity::step(self.options.me, &own, &self.birth.heard) {
            Step::Wait => return,
            Step::Found { cluster, founders } => {
                self.identity.cluster = Some(cluster);
                self.identity.founders = founders;
                if self.options.me == 0 {
                    self.core.hasten(now);
                }
            }
            Step::Rejoin {
                cluster,
                founders,
                spent,
                barrier,
            } => {
                self.core.spend_votes(spent);
                self.identity.cluster = Some(cluster);
                self.identity.founders = founders;
                self.identity.joining = Some(barrier);
            }
        }
        self.identity_changed = true;
        self.weigh_in();
    }

    /// Our word counts again, once the log is filled.
    pub(super) fn rejoin(&mut self) {
        let is_filled = |barrier: Position| self.core.log().last() >= barrier;
        if self.identity.joining.is_some_and(is_filled) {
            self.identity.joining = None;
            self.identity_changed = true;
            self.weigh_in();
        }
    }

    pub(super) fn weigh_in(&mut self) {
        let is_member = self.identity.cluster.is_some() && self.identity.joining.is_none();
        self.core.set_counts(is_member);
    }

    /// Why a call could not be carried out.
    pub(super) fn why_not(&self) -> String {
        let mut why = match (self.identity.cluster, self.core.leader()) {
            (None, _) => {
                let is_missing =
                    |peer: &usize| *peer != self.options.me && self.birth.heard[*peer].is_none();
                let missing: Vec<_> = (0..self.options.names.len())
                    .filter(is_missing)
                    .map(|peer| self.options.names[peer].as_str())
                    .collect();
                format!(
                    "the managers have not come together yet; waiting for: {}",
                    missing.join(", ")
                )
            }
            (Some(_), None) => format!(
                "no leader among the managers {}: a majority of them has to be reachable",
                self.options.names.join(", ")
            ),
            (Some(_), Some(leader)) => {
                format!("the leader {} does not answer", self.options.names[leader])
            }
        };
        for problem in self.birth.problems.values() {
            why.push_str("; ");
            why.push_str(problem);
        }
        why
    }
}

fn another_cluster(name: &str) -> String {
    format!(
        "{name} belongs to another cluster: one of the two has the data directory of a different \
         cluster, which has to be moved away"
    )
}

/// How far a member is behind at most. Each term costs somebody a write to the disk.
const LONGEST_LEAP: u64 = 1 << 32;

/// How often a member without a cluster asks.
const ASK_EVERY: Duration = Duration::from_millis(250);
