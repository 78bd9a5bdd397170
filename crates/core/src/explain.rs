use serde::{Deserialize, Serialize};

use crate::{DeviceId, Error, ErrorKind, NodeId, NodeName, Verdicts};

/// One part of a node's score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScorePart {
    /// What was scored: `cpu`, `memory`, `health`, `containers`, `soft`, `random`.
    pub name: String,
    /// The points.
    pub points: i64,
    /// The numbers behind it, for people: `2.5 of 8 CPUs`.
    pub reason: String,
}

impl ScorePart {
    /// Points with their reason.
    pub fn new(name: impl Into<String>, points: i64, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            points,
            reason: reason.into(),
        }
    }
}

/// A node that could take the work, with its score.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scored {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// The parts of its score.
    pub parts: Vec<ScorePart>,
    /// The devices that the work would get there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
}

impl Scored {
    /// A scored node.
    pub fn new(node: NodeId, name: NodeName, parts: Vec<ScorePart>) -> Self {
        Self {
            node,
            name,
            parts,
            devices: Vec::new(),
        }
    }
}

/// Where work goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Placement {
    /// The winner.
    pub chosen: Scored,
    /// The next best nodes, best first, at most a handful: tried in turn when the engine of the
    /// winner refuses.
    pub runners_up: Vec<Scored>,
    /// How many nodes could take the work: all of them if [`exhaustive`](Self::exhaustive), else
    /// those that were found before it was certain which are the best.
    pub feasible: usize,
    /// Whether `feasible` counts every node. A scheduler need not look at all nodes to find the
    /// best; [`explain`](crate::Scheduler::explain) does.
    #[serde(default = "yes")]
    pub exhaustive: bool,
    /// How many nodes were known.
    pub considered: usize,
    /// The strategy that ranked them.
    pub strategy: String,
    /// Soft demands that the winner does not fulfil, as written.
    pub unmet_wishes: Vec<String>,
}

impl Placement {
    /// The winner alone.
    pub fn new(chosen: Scored, strategy: impl Into<String>) -> Self {
        Self {
            chosen,
            runners_up: Vec::new(),
            feasible: 1,
            exhaustive: true,
            considered: 1,
            strategy: strategy.into(),
            unmet_wishes: Vec::new(),
        }
    }

    /// The reason in a sentence: `spread: fewest containers (0) of 3 feasible nodes`.
    pub fn reason(&self) -> String {
        let mut parts: Vec<&str> = self
            .chosen
            .parts
            .iter()
            .filter(|part| !part.reason.is_empty())
            .map(|part| part.reason.as_str())
            .collect();
        if parts.is_empty() {
            parts.push("no demands");
        }
        let at_least = if self.exhaustive { "" } else { "at least " };
        let mut text = format!(
            "{}: {}; {at_least}{} of {} nodes feasible",
            self.strategy,
            parts.join(", "),
            self.feasible,
            self.considered
        );
        if !self.unmet_wishes.is_empty() {
            text.push_str("; wishes not met: ");
            text.push_str(&self.unmet_wishes.join(", "));
        }
        text
    }
}

fn yes() -> bool {
    true
}

/// Why a filter refused a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilterFailure {
    /// The filter's name: `health`, `port`, `resources`, `constraint`, …
    pub filter: String,
    /// What the node lacks, with the numbers or values compared: `zone is us, wanted eu`.
    pub reason: String,
}

impl FilterFailure {
    /// A refusal with its reason.
    pub fn new(filter: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            reason: reason.into(),
        }
    }
}

/// What was found about one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeVerdict {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Every filter that refuses it, in filter order; empty if it could take the work.
    pub failures: Vec<FilterFailure>,
    /// The parts of its score, if it could take the work.
    pub score: Vec<ScorePart>,
}

impl NodeVerdict {
    /// A node without failures yet.
    pub fn new(node: NodeId, name: NodeName) -> Self {
        Self {
            node,
            name,
            failures: Vec::new(),
            score: Vec::new(),
        }
    }

    /// Whether the node could take the work.
    pub fn is_feasible(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Why work goes where it goes, or nowhere: every node, every failing filter, the score parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// One sentence: `3 of 40 nodes have zone=eu; all 3 lack 2 GiB of memory`.
    pub summary: String,
    /// Every node, feasible ones first, best first.
    pub nodes: Verdicts,
    /// Where it would go, if anywhere.
    pub placement: Option<Placement>,
    /// The refusal in Swarm's words, if it can't be placed.
    pub refusal: Option<String>,
    /// What would let it in, if it can't be placed: each on its own.
    #[serde(default)]
    pub remedies: Vec<Remedy>,
    /// Demands that whoever asked did not write himself, each with where it comes from (S23):
    /// `platform linux/arm64: the registry says so of app:2`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A change after which work could be placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Remedy {
    /// What to change, for people: `drop constraint zone==eu`, `add a node like eu-1`.
    pub change: String,
    /// Where the work would go then, if to a node that is known.
    pub node: Option<NodeName>,
}

impl Remedy {
    /// A change and where the work would go then.
    pub fn new(change: impl Into<String>, node: Option<NodeName>) -> Self {
        Self {
            change: change.into(),
            node,
        }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}: it would go to {node}", self.change),
            None => f.write_str(&self.change),
        }
    }
}

impl Explanation {
    /// An explanation from its parts.
    pub fn new(summary: impl Into<String>, nodes: impl Into<Verdicts>) -> Self {
        Self {
            summary: summary.into(),
            nodes: nodes.into(),
            placement: None,
            refusal: None,
            remedies: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Why a scheduler places nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The request itself is wrong (an expression that does not compile).
    Invalid {
        /// What is wrong, naming the input.
        message: String,
    },
    /// No node can take it.
    Unplaceable {
        /// Swarm's text, first lines, for compatibility.
        message: String,
        /// Counts of refused nodes by filter, largest first, in a sentence.
        summary: String,
        /// The names of the filters that refuse a node before any other does, each once: nothing
        /// changes before one of them judges otherwise. Empty without nodes, or where the scheduler
        /// does not tell.
        filters: Vec<String>,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::Unplaceable {
                message, summary, ..
            } if summary.is_empty() => f.write_str(message),
            Self::Unplaceable {
                message, summary, ..
            } => write!(f, "{message}\n{summary}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Invalid { .. } => ErrorKind::InvalidInput,
            Refusal::Unplaceable { .. } => ErrorKind::Unplaceable,
        };
        Self::new(kind, refusal.to_string())
    }
}
