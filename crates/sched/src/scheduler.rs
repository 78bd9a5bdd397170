use std::sync::{Mutex, PoisonError};

use longshore_core::{
    Batch, BatchPlacement, Change, Error, Explanation, NodeId, Placement, PlacementRequest,
    Refusal, Result, Scheduler, Timestamp,
};

use crate::{
    builder::{ClusterSchedulerBuilder, Own},
    demand::Demand,
    filter::Pipeline,
    index::{Index, Node, Slot},
    matcher::RegexCache,
    rank::{Candidate, Lots, Ranking},
    score::{self, Feasible},
    search::{Finder, Rules},
    strategy::{Strategy, TieBreak},
};

/// Places like Swarm, with the repairs of longshore's specification, and says why.
///
/// It holds an index of the cluster that [`observe`](Scheduler::observe) keeps up to date; placing
/// compiles the request once and looks at few nodes, without summing up what is on them.
///
/// A reservation that is past its expiry is given up at the next [`Change::Tick`].
#[derive(Debug)]
pub struct ClusterScheduler {
    pipeline: Pipeline,
    strategy: Strategy,
    tie_break: TieBreak,
    own: Own,
    index: Index,
    /// What follows from the index, and is made as it is asked for.
    finder: Mutex<Finder>,
    regexes: RegexCache,
}

impl ClusterScheduler {
    /// With this strategy and Swarm's default filters.
    pub fn new(strategy: Strategy) -> Self {
        Self::builder().strategy(strategy).build()
    }

    /// With other filters or another order of ties.
    pub fn builder() -> ClusterSchedulerBuilder {
        ClusterSchedulerBuilder::default()
    }

    /// From the names that `--strategy` and `--filter` take. No filters means the default ones.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) with Swarm's texts
    /// `strategy not supported` and `filter not supported`.
    pub fn from_names<I>(strategy: &str, filters: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let filters = filters.into_iter().map(|name| name.as_ref().parse());
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let builder = Self::builder().strategy(strategy.parse()?);
        Ok(if filters.is_empty() {
            builder
        } else {
            builder.filters(filters)
        }
        .build())
    }

    /// Whether a workload or a reservation has this name: Swarm's check before a create. A
    /// reservation makes it again.
    pub fn is_name_taken(&self, name: &str) -> bool {
        self.index
            .is_name_taken(name.strip_prefix('/').unwrap_or(name))
    }

    /// What is known of the cluster.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The filters.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Whether a node could take the work.
    pub(crate) fn admits(&self, demand: &Demand<'_>, node: &Node) -> bool {
        self.pipeline.admits(demand, node)
    }

    /// The node on which something has this name.
    pub(crate) fn node_of_name(&self, name: &str) -> Option<NodeId> {
        let node = self.index.at(self.index.with_name(name)?)?;
        Some(node.state.id.clone())
    }

    pub(crate) fn from_parts(
        pipeline: Pipeline,
        strategy: Strategy,
        tie_break: TieBreak,
        own: Own,
    ) -> Self {
        Self {
            pipeline,
            strategy,
            tie_break,
            own,
            index: Index::default(),
            finder: Mutex::default(),
            regexes: RegexCache::default(),
        }
    }

    pub(crate) fn compile<'r>(
        &'r self,
        request: &'r PlacementRequest,
    ) -> Result<Demand<'r>, String> {
        let mut demand = Demand::compile(request, &self.index, &self.regexes)?;
        demand.wishes.retain(|wish| self.pipeline.understands(wish));
        demand.own = &self.own.filters;
        demand.set_scores(&self.own.scores);
        if !request.topology.is_empty() || !request.preferences.is_empty() {
            let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
            finder.count_replicas(&mut demand, &self.index);
        }
        Ok(demand)
    }

    fn ranking(&self, seed: u64) -> Ranking {
        Ranking {
            strategy: self.strategy,
            tie_break: self.tie_break,
            seed,
        }
    }

    fn rules(&self, seed: u64) -> Rules<'_> {
        Rules {
            pipeline: &self.pipeline,
            ranking: self.ranking(seed),
        }
    }

    /// Takes in what changed in the index.
    fn learn(&mut self) {
        let news = self.index.take_news();
        if !news.is_empty() {
            let rules = Rules {
                pipeline: &self.pipeline,
                ranking: self.ranking(0),
            };
            let finder = self
                .finder
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            finder.learn(&news, &self.index, &rules);
        }
        self.index.return_news(news);
    }

    /// The best nodes for a demand, best first, at most `limit`.
    pub(crate) fn best(
        &self,
        demand: &Demand<'_>,
        seed: u64,
        limit: usize,
    ) -> (Vec<Candidate<'_>>, Feasible) {
        let rules = self.rules(seed);
        let found = {
            let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
            finder.best(demand, limit, &self.index, &rules)
        };
        let Some(found) = found else {
            let mut all = self.all_feasible(demand, rules.ranking);
            let nodes = all.len();
            all.truncate(limit);
            return (all, Feasible { nodes, all: true });
        };
        let lots = Lots::default();
        let nodes = found.iter().filter_map(|slot| self.index.at(*slot));
        let best: Vec<_> = nodes
            .map(|node| rules.ranking.score(demand, node, &lots))
            .collect();
        let feasible = match (best.len() < limit, self.index.len() <= MAX_COUNTED) {
            (true, _) => Feasible {
                nodes: best.len(),
                all: true,
            },
            (false, true) => {
                let fit = |node: &&Node| self.pipeline.admits(demand, node);
                Feasible {
                    nodes: self.index.nodes().filter(fit).count(),
                    all: true,
                }
            }
            (false, false) => Feasible {
                nodes: best.len(),
                all: false,
            },
        };
        (best, feasible)
    }

    /// The best node's slot.
    fn choose(
        &self,
        request: &PlacementRequest,
        _now: Timestamp,
        seed: u64,
    ) -> Result<Slot, Refusal> {
        let mut demand = self
            .compile(request)
            .map_err(|message| Refusal::Invalid { message })?;
        let (best, _) = self.best(&demand, seed, 1);
        match best.first() {
            Some(best) => Ok(best.node.slot),
            None => Err(self.refused(&mut demand)),
        }
    }

    /// Every node that could take the work, best first: one look at each.
    fn all_feasible(&self, demand: &Demand<'_>, ranking: Ranking) -> Vec<Candidate<'_>> {
        let lots = ranking.lots(&self.index);
        let fit = self
            .index
            .nodes()
            .filter(|node| self.pipeline.admits(demand, node));
        let mut all: Vec<_> = fit.map(|node| ranking.score(demand, node, &lots)).collect();
        all.sort_by(|a, b| ranking.compare(a, b));
        all
    }
}

/// A copy that knows the same and goes its own way from then on.
impl Clone for ClusterScheduler {
    fn clone(&self) -> Self {
        let mut copy = Self {
            pipeline: self.pipeline.clone(),
            strategy: self.strategy,
            tie_break: self.tie_break,
            own: self.own.clone(),
            index: self.index.clone(),
            finder: Mutex::default(),
            regexes: RegexCache::default(),
        };
        copy.index.tell_all();
        copy.learn();
        copy
    }
}

/// Spread, with Swarm's default filters.
impl Default for ClusterScheduler {
    fn default() -> Self {
        Self::new(Strategy::default())
    }
}

impl Scheduler for ClusterScheduler {
    fn observe(&mut self, change: Change) -> Result<()> {
        let outcome = match change {
            Change::Node(state) => self.index.set_node(state),
            Change::NodeGone(node) => {
                self.index.remove_node(&node);
                Ok(())
            }
            Change::Workload(workload) => self.index.set_workload(workload),
            Change::WorkloadGone(node, workload) => {
                self.index.remove_workload(&node, &workload);
                Ok(())
            }
            Change::Reserve(reservation) => self.reserve(reservation),
            Change::Release(reservation) => {
                self.index.release(&reservation);
                Ok(())
            }
            Change::Fulfil(reservation, workload) => self.index.fulfil(&reservation, workload),
            Change::Tick(now) => {
                self.index.tick(now);
                Ok(())
            }
            other => Err(Error::unsupported(format!(
                "this scheduler does not know {other:?}"
            ))),
        };
        self.learn();
        outcome
    }

    fn place(
        &self,
        request: &PlacementRequest,
        _now: Timestamp,
        seed: u64,
    ) -> Result<Placement, Refusal> {
        let mut demand = self
            .compile(request)
            .map_err(|message| Refusal::Invalid { message })?;
        warn_about_whitelists(request);
        let (best, feasible) = self.best(&demand, seed, 1 + MAX_RUNNERS_UP);
        let (ranking, known) = (self.ranking(seed), self.index.len());
        match score::placement(&ranking, &demand, &best, feasible, known) {
            Some(placement) => Ok(placement),
            None => Err(self.refused(&mut demand)),
        }
    }

    fn place_batch(&mut self, batch: &Batch, now: Timestamp, seed: u64) -> Result<BatchPlacement> {
        self.hold_batch(batch, now, seed)
    }

    fn explain(
        &self,
        request: &PlacementRequest,
        _now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        self.explained(request, seed)
    }

    /// Works on a copy, which costs time in proportion to the cluster.
    fn explain_after(
        &self,
        changes: Vec<Change>,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let mut copy = self.clone();
        for change in changes {
            copy.observe(change)?;
        }
        copy.explain(request, now, seed)
    }

    fn strategy(&self) -> &str {
        self.strategy.as_str()
    }

    fn filters(&self) -> Vec<String> {
        self.pipeline
            .filters()
            .map(|filter| filter.as_str().to_owned())
            .collect()
    }
}

/// S10: any key works, but only `node` says what a whitelist does.
fn warn_about_whitelists(request: &PlacementRequest) {
    for whitelist in request
        .whitelists
        .iter()
        .filter(|whitelist| whitelist.key() != "node")
    {
        tracing::warn!(%whitelist, "the key of a whitelist is ignored: it lists node names");
    }
}

/// How many nodes are named behind the winner, for when its engine refuses (S22).
const MAX_RUNNERS_UP: usize = 4;

/// In a cluster of up to this many nodes, those that could take the work are counted.
const MAX_COUNTED: usize = 64;

mod batch;
mod explain;
mod front;
mod reserve;

#[cfg(test)]
mod tests;
