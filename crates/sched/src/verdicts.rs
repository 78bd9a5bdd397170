use std::ops::Range;

use longshore_core::{NodeId, NodeName, NodeVerdict, VerdictSource};

use crate::{
    demand::Demand,
    fact::{Case, Fact},
    filter::Pipeline,
    index::Node,
    rank::{Candidate, Ranking},
    reason::Reason,
    refusal::Tally,
    score::{Figures, Scale},
};

/// Why nodes are refused: the facts of all of them in one list, beside the counts.
#[derive(Debug)]
pub(crate) struct Refused {
    nodes: Vec<Entry>,
    facts: Vec<Fact>,
    pub(crate) tally: Tally,
}

/// A refused node.
#[derive(Debug)]
struct Entry {
    node: NodeId,
    name: NodeName,
    rank: u64,
    facts: Range<u32>,
}

/// What was found about every node, to be worded node by node.
#[derive(Debug)]
pub(crate) struct Findings {
    case: Case,
    scale: Scale,
    feasible: Vec<(NodeId, NodeName, Figures)>,
    refused: Vec<Entry>,
    facts: Vec<Fact>,
}

impl Refused {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(nodes),
            facts: Vec::with_capacity(nodes * 2),
            tally: Tally::new(nodes),
        }
    }

    /// Judges a node; says whether it could take the work, else whether its constraints hold.
    pub(crate) fn judge(
        &mut self,
        demand: &Demand<'_>,
        pipeline: &Pipeline,
        node: &Node,
    ) -> Judgement {
        let from = self.facts.len();
        let (mut first, mut constrained) = (None, true);
        pipeline.refusals(demand, node, |stage, reason| {
            constrained &= !matches!(reason, Reason::Constraint { .. });
            self.facts.push(reason.keep());
            first.get_or_insert((stage, reason));
        });
        let Some((stage, reason)) = first else {
            return Judgement::Feasible;
        };
        self.tally.add(stage, &reason, constrained);
        self.nodes.push(Entry {
            node: node.state.id.clone(),
            name: node.state.name.clone(),
            rank: node.rank,
            // More than 2^32 facts do not fit into memory.
            facts: from as u32..self.facts.len() as u32,
        });
        Judgement::Refused { constrained }
    }
}

/// What comes of a look at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Feasible,
    Refused { constrained: bool },
}

impl Findings {
    /// The candidates come sorted; of the refused, those with the fewest reasons come first, then
    /// the order of names decides.
    pub(crate) fn new(
        demand: &Demand<'_>,
        pipeline: &Pipeline,
        ranking: &Ranking,
        candidates: &[Candidate<'_>],
        refused: Refused,
    ) -> Self {
        let mut entries = refused.nodes;
        entries.sort_unstable_by_key(|entry| (entry.facts.len(), entry.rank));
        Self {
            case: Case::of(demand, pipeline),
            scale: Scale::of(ranking, demand),
            feasible: candidates
                .iter()
                .map(|candidate| {
                    let state = &candidate.node.state;
                    let figures = Figures::of(demand, candidate);
                    (state.id.clone(), state.name.clone(), figures)
                })
                .collect(),
            refused: entries,
            facts: refused.facts,
        }
    }
}

impl VerdictSource for Findings {
    fn len(&self) -> usize {
        self.feasible.len() + self.refused.len()
    }

    fn verdict(&self, at: usize) -> Option<NodeVerdict> {
        if let Some((node, name, figures)) = self.feasible.get(at) {
            let mut verdict = NodeVerdict::new(node.clone(), name.clone());
            verdict.score = figures.parts(&self.scale, &self.case.request, at);
            return Some(verdict);
        }
        let entry = self.refused.get(at - self.feasible.len())?;
        let mut verdict = NodeVerdict::new(entry.node.clone(), entry.name.clone());
        let facts = &self.facts[entry.facts.start as usize..entry.facts.end as usize];
        verdict.failures = facts
            .iter()
            .map(|fact| self.case.word(fact, &entry.name))
            .collect();
        Some(verdict)
    }
}
