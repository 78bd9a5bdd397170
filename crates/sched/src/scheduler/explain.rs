//! Why work goes where it goes, node by node.

use longshore_core::{
    Error, Explanation, FilterFailure, NodeVerdict, PlacementRequest, Refusal, Result,
};

use super::{ClusterScheduler, MAX_RUNNERS_UP};
use crate::{
    demand::Demand,
    index::Node,
    rank::Candidate,
    refusal::refusal,
    score::{self, Feasible},
    sentence::sentence,
};

impl ClusterScheduler {
    /// One look at every node, feasible ones first.
    pub(super) fn explained(&self, request: &PlacementRequest, seed: u64) -> Result<Explanation> {
        let demand = self.compile(request).map_err(Error::invalid)?;
        let ranking = self.ranking(seed);
        let (mut candidates, mut refused) = (Vec::<Candidate<'_>>::new(), Vec::new());
        let lots = ranking.lots(&self.index);
        for node in self.index.nodes() {
            let verdict = self.verdict(&demand, node);
            if verdict.is_feasible() {
                candidates.push(ranking.score(&demand, node, &lots));
            } else {
                refused.push(verdict);
            }
        }
        candidates.sort_by(|a, b| ranking.compare(a, b));
        refused.sort_by(|a, b| {
            let key = |v: &NodeVerdict| v.failures.len();
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.name, &a.node).cmp(&(&b.name, &b.node)))
        });
        let best = &candidates[..candidates.len().min(1 + MAX_RUNNERS_UP)];
        let considered = self.index.len();
        let feasible = Feasible {
            nodes: candidates.len(),
            all: true,
        };
        let placement = score::placement(&ranking, &demand, best, feasible, considered);
        let verdicts = candidates.iter().enumerate().map(|(place, candidate)| {
            let state = &candidate.node.state;
            let mut verdict = NodeVerdict::new(state.id.clone(), state.name.clone());
            verdict.score = score::parts(&ranking, &demand, candidate, place);
            verdict
        });
        let nodes = verdicts.chain(refused).collect();
        let mut explanation = Explanation::new(String::new(), nodes);
        match &placement {
            Some(found) => {
                explanation.summary = format!("{}: {}", found.chosen.name, found.reason());
            }
            None => {
                if let Refusal::Unplaceable { message, summary } =
                    refusal(&demand, &self.pipeline, &self.index)
                {
                    let sentence = sentence(&demand, &self.pipeline, &self.index);
                    explanation.summary = sentence.unwrap_or(summary);
                    explanation.refusal = Some(message);
                    explanation.remedies = self.remedies(&demand, seed);
                }
            }
        }
        explanation.placement = placement;
        Ok(explanation)
    }

    pub(crate) fn verdict(&self, demand: &Demand<'_>, node: &Node) -> NodeVerdict {
        let mut verdict = NodeVerdict::new(node.state.id.clone(), node.state.name.clone());
        let refusals = self.pipeline.refusals(demand, node);
        verdict.failures = refusals
            .into_iter()
            .map(|(stage, reason)| FilterFailure::new(stage.name(), reason.to_string()))
            .collect();
        verdict
    }
}
