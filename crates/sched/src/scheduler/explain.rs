//! Why work goes where it goes, node by node.

use std::sync::{Arc, PoisonError};

use longshore_core::{
    Error, Explanation, NodeVerdict, PlacementRequest, Refusal, Result, Verdicts,
};

use super::{ClusterScheduler, MAX_RUNNERS_UP};
use crate::{
    demand::Demand,
    fact::Case,
    index::Node,
    rank::Candidate,
    refusal::refusal,
    score::{self, Feasible},
    sentence::sentence,
    verdicts::{Findings, Judgement, Refused},
};

impl ClusterScheduler {
    /// One look at every node, feasible ones first.
    pub(super) fn explained(&self, request: &PlacementRequest, seed: u64) -> Result<Explanation> {
        let mut demand = self.compile(request).map_err(Error::invalid)?;
        self.recall(&mut demand);
        let ranking = self.ranking(seed);
        let mut candidates = Vec::<Candidate<'_>>::new();
        let mut refused = Refused::new(self.index.len());
        let lots = ranking.lots(&self.index);
        // The first by name that could take it if nothing else were there.
        let mut like: Option<&Node> = None;
        for node in self.index.warmed(&demand.label_keys()) {
            match refused.judge(&demand, &self.pipeline, node) {
                Judgement::Feasible => candidates.push(ranking.score(&demand, node, &lots)),
                Judgement::Refused { constrained: false } => {}
                Judgement::Refused { constrained: true } => {
                    if like.is_none_or(|like| node.rank < like.rank)
                        && self.would_take_empty(&demand, node)
                    {
                        like = Some(node);
                    }
                }
            }
        }
        candidates.sort_unstable_by(|a, b| ranking.compare(a, b));
        let best = &candidates[..candidates.len().min(1 + MAX_RUNNERS_UP)];
        let considered = self.index.len();
        let feasible = Feasible {
            nodes: candidates.len(),
            all: true,
        };
        let placement = score::placement(&ranking, &demand, best, feasible, considered);
        let (mut summary, mut words, mut remedies) = (String::new(), None, Vec::new());
        match &placement {
            Some(found) => summary = format!("{}: {}", found.chosen.name, found.reason()),
            None => {
                if let Refusal::Unplaceable {
                    message,
                    summary: counts,
                    ..
                } = refused.tally.refusal(&demand, &self.pipeline)
                {
                    let sentence = sentence(&demand, &self.pipeline, &refused.tally);
                    summary = sentence.unwrap_or(counts);
                    words = Some(message);
                    remedies = self.remedies(&demand, like, seed);
                }
            }
        }
        let findings = Findings::new(&demand, &self.pipeline, &ranking, &candidates, refused);
        let mut explanation = Explanation::new(summary, Verdicts::kept(Arc::new(findings)));
        explanation.placement = placement;
        explanation.refusal = words;
        explanation.remedies = remedies;
        Ok(explanation)
    }

    /// Why a node is refused, in words.
    pub(crate) fn verdict(&self, case: &Case, demand: &Demand<'_>, node: &Node) -> NodeVerdict {
        let state = &node.state;
        let mut verdict = NodeVerdict::new(state.id.clone(), state.name.clone());
        self.pipeline.refusals(demand, node, |_, reason| {
            verdict
                .failures
                .push(case.word(&reason.keep(), &state.name));
        });
        verdict
    }

    /// Why nothing was found for a demand: one look at every node.
    pub(super) fn refused(&self, demand: &mut Demand<'_>) -> Refusal {
        self.recall(demand);
        refusal(demand, &self.pipeline, &self.index)
    }

    /// Takes over on which nodes the demand's terms hold, before every node is looked at.
    fn recall(&self, demand: &mut Demand<'_>) {
        let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
        finder.recall(demand, &self.pipeline, &self.index);
    }
}
