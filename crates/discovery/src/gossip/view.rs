//! Which nodes are in force, given what the machine knows. Pure.

use std::{collections::BTreeMap, time::Duration};

use longshore_core::Timestamp;

use super::{machine::Machine, own};
use crate::{
    diff::Nodes,
    evidence::{Evidence, Reading},
};

#[derive(Debug)]
pub(super) struct View {
    evidence: Evidence,
    /// The machine's count when the evidence was last given.
    given: Option<u64>,
    problems: Vec<String>,
}

impl View {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            evidence: Evidence::new(grace),
            given: None,
            problems: Vec::new(),
        }
    }

    /// What is wrong with what others announce.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether the machine knows something that was not looked at.
    pub(super) fn is_behind(&self, machine: &Machine) -> bool {
        self.given != Some(machine.changes())
    }

    /// Gives the evidence what changed, or that time has passed.
    pub(super) fn look(&mut self, machine: &Machine, now: Timestamp) -> (Nodes, Option<Timestamp>) {
        let due = self.evidence.next_deadline().is_some_and(|at| now >= at);
        if due || self.is_behind(machine) {
            self.given = Some(machine.changes());
            let (nodes, problems) = nodes(machine);
            self.problems = problems;
            self.evidence.handle(Reading::Complete(nodes), now);
        }
        let in_force = self.evidence.in_force().cloned().unwrap_or_default();
        (in_force, self.evidence.next_deadline())
    }
}

/// Who is there as far as the machine knows, without a grace period, and what is wrong with what
/// others announce.
pub(super) fn nodes(machine: &Machine) -> (Nodes, Vec<String>) {
    let mut versions = BTreeMap::new();
    let (mut nodes, mut problems) = (Nodes::new(), Vec::new());
    for record in machine.alive() {
        match own::announced(&record.payload) {
            Ok(announced) => {
                for node in announced {
                    // Of two members that announce the same node, the later one counts.
                    let version = versions.entry(node.endpoint.clone()).or_default();
                    if (record.version, record.id) >= *version {
                        *version = (record.version, record.id);
                        nodes.insert(node.endpoint.clone(), node);
                    }
                }
            }
            Err(error) => problems.push(format!("{error} (member: {})", record.address)),
        }
    }
    problems.truncate(MOST_PROBLEMS);
    (nodes, problems)
}

const MOST_PROBLEMS: usize = 100;
