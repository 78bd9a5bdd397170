use std::collections::{BTreeMap, BTreeSet};

use longshore_core::{NodeId, ServiceName, Timestamp, WorkloadId};

use super::{Instance, Observed, StackPolicy};
use crate::stack::NodeCondition;

/// What is known of nodes that do not answer, and of what ran on those that left.
#[derive(Debug, Default)]
pub(super) struct Losses {
    nodes: BTreeMap<NodeId, Memory>,
    /// Never reached, and nobody said that nothing runs there.
    unknown: Vec<String>,
    dead: BTreeSet<String>,
    last: BTreeMap<(NodeId, WorkloadId), Instance>,
    /// Instances on nodes that are no longer announced, as they were last seen.
    ghosts: BTreeMap<(NodeId, WorkloadId), Instance>,
    /// Nodes whose work is not replaced because too many were lost at once.
    held: BTreeSet<NodeId>,
    suspects: usize,
    withheld: bool,
}

#[derive(Debug)]
struct Memory {
    name: String,
    lost_since: Option<Timestamp>,
    present: bool,
}

/// Whether the work of a node may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers.
    Up,
    /// It is lost long enough, or an operator said that it is dead.
    Replace,
    /// Not yet, for this reason.
    Wait(String),
}

impl Losses {
    pub(super) fn observe(
        &mut self,
        observed: &Observed,
        policy: &StackPolicy,
        now: Timestamp,
        alarms: &mut Vec<String>,
    ) {
        self.unknown.clear();
        self.suspects = 0;
        for memory in self.nodes.values_mut() {
            memory.present = false;
        }
        for node in &observed.nodes {
            let known = node.id.as_ref().filter(|id| self.nodes.contains_key(*id));
            let (Some(id), true) = (
                &node.id,
                known.is_some() || node.condition != NodeCondition::Unknown,
            ) else {
                if !self.dead.contains(&node.name) {
                    self.unknown.push(node.name.clone());
                }
                continue;
            };
            let memory = self.nodes.entry(id.clone()).or_insert_with(|| Memory {
                name: node.name.clone(),
                lost_since: None,
                present: true,
            });
            memory.present = true;
            memory.name.clone_from(&node.name);
            match node.condition {
                NodeCondition::Up { suspect } => {
                    memory.lost_since = None;
                    self.suspects += usize::from(suspect);
                    self.dead.remove(id.as_str());
                    self.dead.remove(&node.name);
                }
                NodeCondition::Lost { since } => {
                    memory.lost_since.get_or_insert(since);
                }
                NodeCondition::Unknown => {
                    memory.lost_since.get_or_insert(now);
                }
            }
        }
        for memory in self.nodes.values_mut().filter(|memory| !memory.present) {
            memory.lost_since.get_or_insert(now);
        }
        self.remember(observed, now);
        self.judge(policy, now, alarms);
        let (ghosts, dead) = (&self.ghosts, &self.dead);
        self.nodes.retain(|id, memory| {
            memory.present
                || ghosts.keys().any(|(node, _)| node == id)
                || (!dead.contains(id.as_str())
                    && memory
                        .lost_since
                        .is_some_and(|since| now.since(since) < policy.window))
        });
    }

    /// Instances whose node is gone from the membership become ghosts; those of a node that is
    /// there are as they are observed.
    fn remember(&mut self, observed: &Observed, now: Timestamp) {
        let present = |id: &NodeId| self.nodes.get(id).is_some_and(|memory| memory.present);
        for (key, instance) in std::mem::take(&mut self.last) {
            if !present(&key.0) {
                self.ghosts.insert(key, instance);
            }
        }
        let (nodes, dead) = (&self.nodes, &self.dead);
        self.ghosts.retain(|(node, _), _| {
            nodes.get(node).is_some_and(|memory| {
                !memory.present
                    && memory
                        .lost_since
                        .is_none_or(|since| now.since(since) < GHOST_LIMIT)
            }) && !dead.contains(node.as_str())
        });
        self.last = observed
            .instances
            .iter()
            .map(|instance| {
                let key = (instance.node.clone(), instance.id.clone());
                (key, instance.clone())
            })
            .collect();
    }

    /// Tells one lost node from many.
    fn judge(&mut self, policy: &StackPolicy, now: Timestamp, alarms: &mut Vec<String>) {
        let lost = |memory: &Memory| memory.lost_since.is_some();
        let dead = &self.dead;
        let up = self.nodes.values().filter(|memory| !lost(memory)).count();
        let recent: BTreeSet<&NodeId> = self
            .nodes
            .iter()
            .filter(|(id, memory)| {
                !dead.contains(id.as_str())
                    && memory
                        .lost_since
                        .is_some_and(|since| now.since(since) < policy.window)
            })
            .map(|(id, _)| id)
            .collect();
        let over = |lost: usize| lost > 0 && lost as f64 >= policy.mass_ratio * (up + lost) as f64;
        // Nodes that begin to fail are not lost yet; they may be part of the same event.
        self.withheld = !recent.is_empty()
            && (recent.len() + self.suspects) as f64
                >= policy.mass_ratio * (up + recent.len()) as f64;
        let nodes = &self.nodes;
        let held_before = !self.held.is_empty();
        self.held
            .retain(|id| nodes.get(id).is_some_and(lost) && !dead.contains(id.as_str()));
        if over(recent.len()) {
            self.held.extend(recent.into_iter().cloned());
        } else if !over(self.held.len()) {
            self.held.clear();
        }
        match (held_before, self.held.is_empty()) {
            (false, false) => {
                let names: Vec<&str> = self
                    .held
                    .iter()
                    .filter_map(|id| Some(nodes.get(id)?.name.as_str()))
                    .take(NAMED)
                    .collect();
                alarms.push(format!(
                    "{} of {} nodes were lost at once ({}{}): nothing of theirs is replaced until \
                     enough of them are back or declared dead",
                    self.held.len(),
                    up + self.held.len(),
                    names.join(", "),
                    if self.held.len() > NAMED { ", …" } else { "" }
                ));
            }
            (true, true) => {
                alarms.push("enough nodes are back: lost work is replaced again".to_owned());
            }
            _ => {}
        }
    }

    pub(super) fn verdict(&self, node: &NodeId, policy: &StackPolicy, now: Timestamp) -> Verdict {
        if self.dead.contains(node.as_str()) {
            return Verdict::Replace;
        }
        let Some(memory) = self.nodes.get(node) else {
            // It left and is forgotten: longer ago than anyone waits for.
            return Verdict::Replace;
        };
        let Some(since) = memory.lost_since else {
            return Verdict::Up;
        };
        let name = &memory.name;
        if self.held.contains(node) {
            return Verdict::Wait(format!(
                "node {name} was lost together with many others: replacement is stopped"
            ));
        }
        let left = policy.grace.saturating_sub(now.since(since));
        if !left.is_zero() {
            return Verdict::Wait(format!(
                "node {name} is lost since {since}: replaced in {}",
                Seconds(left)
            ));
        }
        if self.withheld {
            return Verdict::Wait(format!(
                "node {name} is lost, and others begin to fail: replacement waits"
            ));
        }
        Verdict::Replace
    }

    pub(super) fn is_up(&self, node: &NodeId) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|memory| memory.present && memory.lost_since.is_none())
    }

    pub(super) fn is_dead(&self, node: &NodeId) -> bool {
        self.dead.contains(node.as_str())
    }

    pub(super) fn name<'a>(&'a self, node: &'a NodeId) -> &'a str {
        self.nodes
            .get(node)
            .map_or(node.as_str(), |memory| &memory.name)
    }

    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    pub(super) fn ghosts(&self) -> impl Iterator<Item = &Instance> {
        self.ghosts.values()
    }

    pub(super) fn held(&self) -> impl Iterator<Item = &str> {
        self.held.iter().map(|id| self.name(id))
    }

    pub(super) fn declare_dead(&mut self, node: &str) {
        self.dead.insert(node.to_owned());
    }

    pub(super) fn remembers(&self, node: &str) -> bool {
        self.nodes.contains_key(node)
    }

    pub(super) fn drop_stack(&mut self, stack: &ServiceName) {
        self.ghosts
            .retain(|_, instance| instance.slot.stack != *stack);
    }

    pub(super) fn deadlines(&self, policy: &StackPolicy) -> impl Iterator<Item = Timestamp> {
        self.nodes
            .values()
            .filter_map(|memory| memory.lost_since)
            .map(|since| since.after(policy.grace))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// Whole seconds, rounded up.
struct Seconds(std::time::Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_millis().div_ceil(1000))
    }
}

/// What ran on a node that left is remembered for so long.
const GHOST_LIMIT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// More nodes than this are not named in an alarm.
const NAMED: usize = 8;
