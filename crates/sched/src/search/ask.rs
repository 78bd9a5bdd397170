use super::{
    hot::{Amount, Hot},
    ladder::Shape,
    top::{Ranked, Top},
};
use crate::{
    demand::Demand,
    filter::Pipeline,
    index::{Index, Node, Slot},
    rank::{Ranking, last_failure, mix, own_points},
    resource::Resource,
    strategy::{Strategy, TieBreak},
};

/// How a scheduler decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'s> {
    pub(crate) pipeline: &'s Pipeline,
    pub(crate) ranking: Ranking,
}

/// One search.
pub(super) struct Ask<'a> {
    pub(super) demand: &'a Demand<'a>,
    /// Whether nodes that the sets admit must be looked at.
    pub(super) looks: bool,
    pub(super) limit: usize,
    pub(super) index: &'a Index,
    pub(super) rules: &'a Rules<'a>,
}

impl Ask<'_> {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            cpu: self.demand.needed(Resource::Cpu),
            memory: self.demand.needed(Resource::Memory),
        }
    }

    /// What own scores can take off a node's cost at most.
    pub(super) fn bonus(&self) -> i32 {
        self.demand.bonus.unwrap_or_default()
    }

    /// Looks at these nodes and no others.
    pub(super) fn look_at(&self, slots: impl Iterator<Item = Slot>, hots: &[Hot], top: &mut Top) {
        let shape = self.shape();
        for slot in slots {
            let worse = |worst: &Ranked| self.is_worse(slot, worst, hots, shape);
            if top.worst().is_some_and(worse) {
                continue;
            }
            if let Some(ranked) = self.judge(slot, hots, shape) {
                top.offer(ranked);
            }
        }
    }

    /// Whether a node can't be as good as another, told without a division.
    fn is_worse(&self, slot: Slot, than: &Ranked, hots: &[Hot], shape: Shape) -> bool {
        let Some(hot) = hots.get(slot as usize) else {
            return true;
        };
        let packs = self.rules.ranking.strategy == Strategy::BinPack;
        let weight = hot.estimate(shape.cpu, shape.memory, packs);
        than.cost < if packs { -weight } else { weight } - self.bonus()
    }

    /// A node's rank, if it could take the work. The sets have admitted it.
    pub(super) fn judge(&self, slot: Slot, hots: &[Hot], shape: Shape) -> Option<Ranked> {
        let hot = hots.get(slot as usize).filter(|hot| hot.open)?;
        let weight = hot.cpu.score(shape.cpu)? + hot.memory.score(shape.memory)? + hot.health;
        if self.looks {
            let node = self.index.at(slot)?;
            if !self.rules.pipeline.admits(self.demand, node) {
                return None;
            }
        }
        let ranked = self.rules.ranked(slot, hot, weight, || {
            self.index.at(slot).map_or((0, 0), tie_of)
        });
        match self.demand.scores.is_empty() {
            true => Some(ranked),
            false => Some(ranked.with_points(self.demand, self.index.at(slot)?)),
        }
    }
}

impl Rules<'_> {
    /// A node's rank as it is now, if it could take the work.
    pub(crate) fn rank(&self, demand: &Demand<'_>, node: &Node) -> Option<Ranked> {
        if !self.pipeline.admits(demand, node) {
            return None;
        }
        let hot = Hot::of(node, self.pipeline, self.ranking.strategy.health_factor());
        let score = |amount: Amount, resource| amount.score(demand.needed(resource));
        let weight =
            score(hot.cpu, Resource::Cpu)? + score(hot.memory, Resource::Memory)? + hot.health;
        let ranked = self.ranked(node.slot, &hot, weight, || tie_of(node));
        Some(ranked.with_points(demand, node))
    }

    fn ranked(&self, slot: Slot, hot: &Hot, weight: i32, tie: impl Fn() -> (u64, u64)) -> Ranked {
        let tally = i32::try_from(hot.containers).unwrap_or(i32::MAX);
        let sign = if self.ranking.strategy == Strategy::BinPack {
            -1
        } else {
            1
        };
        Ranked {
            cost: sign * weight,
            tally: sign * tally,
            tie: match self.ranking.tie_break {
                TieBreak::Name => 0,
                TieBreak::Seed => mix(tie().0 ^ mix(self.ranking.seed)),
                TieBreak::LastFailure => tie().1,
            },
            rank: hot.rank,
            slot,
        }
    }
}

impl Ranked {
    /// With the points of own scores, of which a demand that is searched for has not too many.
    fn with_points(mut self, demand: &Demand<'_>, node: &Node) -> Self {
        let points: i64 = own_points(demand, node).map(|(_, points)| points).sum();
        let points = i32::try_from(points).unwrap_or_default();
        self.cost = self.cost.saturating_sub(points);
        self
    }
}

/// What breaks ties: the hash of the id, and the last failure.
fn tie_of(node: &Node) -> (u64, u64) {
    (node.id_hash, last_failure(node))
}
