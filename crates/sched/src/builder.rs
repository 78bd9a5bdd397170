use std::sync::Arc;

use crate::{
    filter::{FilterName, NodeFilter, NodeScore, Pipeline},
    scheduler::ClusterScheduler,
    strategy::{Strategy, TieBreak},
};

/// Configures a [`ClusterScheduler`].
#[derive(Clone, Debug)]
pub struct ClusterSchedulerBuilder {
    strategy: Strategy,
    tie_break: TieBreak,
    filters: Vec<FilterName>,
    own: Own,
}

/// What the embedding program brings along.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) filters: Vec<Arc<dyn NodeFilter>>,
    pub(crate) scores: Vec<(Arc<dyn NodeScore>, i32)>,
}

/// Spread, all filters in Swarm's order, ties by name.
impl Default for ClusterSchedulerBuilder {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            tie_break: TieBreak::default(),
            filters: FilterName::ALL.to_vec(),
            own: Own::default(),
        }
    }
}

impl ClusterSchedulerBuilder {
    /// How nodes are ranked.
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Which filters run, in this order, instead of all. Demands that only a missing filter
    /// understands are then ignored, as in Swarm. Availability and resources are always checked.
    #[must_use]
    pub fn filters(mut self, filters: impl IntoIterator<Item = FilterName>) -> Self {
        self.filters = filters.into_iter().collect();
        self
    }

    /// What decides between nodes that rank alike.
    #[must_use]
    pub fn tie_break(mut self, tie_break: TieBreak) -> Self {
        self.tie_break = tie_break;
        self
    }

    /// Adds a filter of the embedding program. It runs behind the built-in ones.
    #[must_use]
    pub fn own_filter(mut self, filter: impl NodeFilter) -> Self {
        self.own.filters.push(Arc::new(filter));
        self
    }

    /// Adds a score of the embedding program, whose points count times the factor.
    #[must_use]
    pub fn own_score(mut self, score: impl NodeScore, factor: i32) -> Self {
        self.own.scores.push((Arc::new(score), factor));
        self
    }

    /// The scheduler, which knows no node yet.
    pub fn build(self) -> ClusterScheduler {
        ClusterScheduler::from_parts(
            Pipeline::new(self.filters),
            self.strategy,
            self.tie_break,
            self.own,
        )
    }
}
