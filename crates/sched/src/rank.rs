use std::cmp::{Ordering, Reverse};

use longshore_core::Timestamp;

use crate::{
    demand::Demand,
    filter::NodeView,
    index::{Index, Node, Slot},
    resource::Resource,
    strategy::{Strategy, TieBreak},
};

/// A node that could take the work, with all that its rank follows from.
#[derive(Clone, Debug)]
pub(crate) struct Candidate<'i> {
    /// The node.
    pub(crate) node: &'i Node,
    /// CPU percentage after the placement.
    pub(crate) cpu: i64,
    /// Memory percentage after the placement.
    pub(crate) memory: i64,
    /// The strategy's health term.
    pub(crate) health: i64,
    /// Replicas in the node's branch of each placement preference.
    pub(crate) branch: Vec<u64>,
    /// Points of the embedding program's scores.
    pub(crate) own: i64,
    /// Fulfilled wishes, the earlier declared in the higher bit.
    pub(crate) wishes: u128,
    /// The sum of their weights.
    pub(crate) merit: u64,
    /// The node's place in the seeded order: its first lot, or a number that the seed gives it.
    pub(crate) shuffle: u64,
}

/// Scores and compares candidates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranking {
    pub(crate) strategy: Strategy,
    pub(crate) tie_break: TieBreak,
    pub(crate) seed: u64,
}

impl Ranking {
    /// Scores a node that could take the work. The lots matter to [`Strategy::Random`] only.
    pub(crate) fn score<'i>(
        &self,
        demand: &Demand<'_>,
        node: &'i Node,
        lots: &Lots,
    ) -> Candidate<'i> {
        let (mut wishes, mut merit) = (0, 0);
        for wish in &demand.wishes {
            let holds = wish.holds(node);
            wishes = wishes << 1 | u128::from(holds);
            merit += u64::from(wish.weight()) * u64::from(holds);
        }
        Candidate {
            node,
            cpu: percentage(demand, node, Resource::Cpu),
            memory: percentage(demand, node, Resource::Memory),
            health: self.strategy.health_factor() * i64::from(node.state.health_indicator),
            branch: match demand.branches.is_empty() {
                true => Vec::new(),
                false => demand.branches.of(node),
            },
            own: own_points(demand, node).map(|(_, points)| points).sum(),
            wishes,
            merit,
            shuffle: match self.strategy {
                Strategy::Random => lots.of(node),
                _ => mix(node.id_hash ^ mix(self.seed)),
            },
        }
    }

    /// The lots of all nodes, where they matter.
    pub(crate) fn lots(&self, index: &Index) -> Lots {
        let mut lots = Lots::default();
        if self.strategy == Strategy::Random {
            let roll: Vec<Slot> = index.in_order().map(|node| node.slot).collect();
            lots.0.resize(index.slots(), u64::MAX);
            for (lot, at) in (0..).zip(draw_lots(self.seed, roll.len())) {
                let place = &mut lots.0[roll[at] as usize];
                *place = lot.min(*place);
            }
        }
        lots
    }

    /// The better candidate is less. Total: only a node and itself are equal.
    pub(crate) fn compare(&self, a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
        let wishes = |c: &Candidate<'_>| Reverse((c.merit, c.wishes));
        let sign = if self.strategy == Strategy::BinPack {
            1
        } else {
            -1
        };
        let weight = |c: &Candidate<'_>| {
            (c.cpu + c.memory + c.health).saturating_add(c.own.saturating_mul(sign))
        };
        let by_strategy = match self.strategy {
            Strategy::Spread => weight(a)
                .cmp(&weight(b))
                .then_with(|| a.node.containers().cmp(&b.node.containers())),
            Strategy::BinPack => weight(b)
                .cmp(&weight(a))
                .then_with(|| b.node.containers().cmp(&a.node.containers())),
            Strategy::Random => b.own.cmp(&a.own).then(a.shuffle.cmp(&b.shuffle)),
        };
        wishes(a)
            .cmp(&wishes(b))
            .then_with(|| a.branch.cmp(&b.branch))
            .then(by_strategy)
            .then_with(|| match self.tie_break {
                TieBreak::Name => Ordering::Equal,
                TieBreak::LastFailure => last_failure(a.node).cmp(&last_failure(b.node)),
                TieBreak::Seed => a.shuffle.cmp(&b.shuffle),
            })
            // The order of names, then ids.
            .then_with(|| a.node.rank.cmp(&b.node.rank))
    }
}

/// The first lot of each node, by slot.
#[derive(Debug, Default)]
pub(crate) struct Lots(Vec<u64>);

impl Lots {
    fn of(&self, node: &Node) -> u64 {
        self.0.get(node.slot as usize).copied().unwrap_or_default()
    }
}

/// The lots of a seed among `count` nodes in the order of their names: eight for each node, then
/// every node once, so that none is left out.
pub(crate) fn draw_lots(seed: u64, count: usize) -> impl Iterator<Item = usize> {
    let start = mix(seed);
    let draws = (count as u64).saturating_mul(8);
    let draw = move |number: u64| {
        let lot = u128::from(mix(start.wrapping_add(number))) * count as u128;
        (lot >> 64) as usize
    };
    (0..draws).map(draw).chain(0..count)
}

/// The points of each score of the embedding program, with its factor.
pub(crate) fn own_points<'d>(
    demand: &'d Demand<'_>,
    node: &'d Node,
) -> impl Iterator<Item = (&'d str, i64)> {
    let scores = demand.scores.iter().zip(&demand.bounds);
    scores.map(move |((score, factor), bounds)| {
        let mut points = score.points(demand.request, &NodeView::of(node));
        if let Some((least, most)) = bounds {
            points = points.clamp(*least, *most);
        }
        (score.name(), i64::from(points) * i64::from(*factor))
    })
}

/// In microseconds since the epoch; 0 for one that never failed.
pub(crate) fn last_failure(node: &Node) -> u64 {
    node.state.last_failure.map_or(0, Timestamp::as_micros)
}

/// Swarm's score: (used + requested) × 100 / total, rounded down, or 100 if nothing is requested.
fn percentage(demand: &Demand<'_>, node: &Node, resource: Resource<'_>) -> i64 {
    let needed = demand.needed(resource);
    if needed == 0 {
        return 100;
    }
    let after = node.used(resource) + u128::from(needed);
    let capacity = node.capacity(resource);
    match u64::try_from(after)
        .ok()
        .and_then(|after| after.checked_mul(100))
    {
        Some(hundredfold) => i64::try_from(hundredfold / capacity.max(1)).unwrap_or(i64::MAX),
        None => {
            let percent = after.saturating_mul(100) / u128::from(capacity.max(1));
            i64::try_from(percent).unwrap_or(i64::MAX)
        }
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): spreads similar inputs over all values.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
