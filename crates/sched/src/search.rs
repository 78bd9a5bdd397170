//! Finding the best nodes without looking at all.

mod clauses;
mod hot;
mod ladder;
mod mask;
mod selectors;
mod shelf;
mod terms;
mod top;

pub(crate) use self::top::Ranked;
use self::{
    clauses::Clauses,
    hot::{Amount, Hot},
    ladder::{Kind, Ladder, Shape},
    mask::Mask,
    selectors::Selectors,
    terms::Terms,
    top::Top,
};
use crate::{
    demand::Demand,
    filter::{FilterName, Pipeline},
    index::{Index, News, Node, Slot},
    rank::{Ranking, draw_lots, last_failure, mix},
    resource::Resource,
    strategy::{Strategy, TieBreak},
};

/// What is kept beside the index for fast answers: all of it follows from the index, and is made
/// when first asked for and kept up to date from then on.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    hots: Vec<Hot>,
    /// By what a request asks for: nothing, CPU, memory, both.
    ladders: [Option<Ladder>; 4],
    terms: Terms,
    /// Ladders of the nodes that satisfy constraints seen before.
    selectors: Selectors,
    /// The nodes in the order of names, for drawing lots.
    roll: Option<Vec<Slot>>,
}

impl Finder {
    /// Takes in what changed in the index.
    pub(crate) fn learn(&mut self, news: &[News], index: &Index, rules: &Rules<'_>) {
        for item in news {
            let slot = match item {
                News::Room(slot) => *slot,
                News::New(slot) => {
                    if let Some(node) = index.at(*slot) {
                        self.terms.node_came(node);
                    }
                    self.selectors.node_changed(*slot, &self.hots, &self.terms);
                    self.roll = None;
                    *slot
                }
                News::Node(slot, changed) => {
                    if let Some(node) = index.at(*slot) {
                        self.terms.node_changed(node, changed);
                    }
                    self.selectors.node_changed(*slot, &self.hots, &self.terms);
                    if changed.name {
                        self.roll = None;
                    }
                    *slot
                }
                News::Gone(slot) => {
                    self.terms.node_gone(*slot);
                    self.selectors.node_changed(*slot, &self.hots, &self.terms);
                    self.roll = None;
                    *slot
                }
                News::Came(slot, load) => {
                    self.terms.came(*slot, load);
                    *slot
                }
                News::Left(slot, load) => {
                    self.terms.left(*slot, load, index.at(*slot));
                    *slot
                }
            };
            self.refresh(slot, index, rules);
        }
    }

    /// Takes in the loads that came, but leaves the nodes' places for [`refresh`](Self::refresh):
    /// for many changes of few nodes.
    pub(crate) fn learn_terms(&mut self, news: &[News]) {
        for item in news {
            if let News::Came(slot, load) = item {
                self.terms.came(*slot, load);
            }
        }
    }

    /// Puts a node where it belongs now.
    pub(crate) fn refresh(&mut self, slot: Slot, index: &Index, rules: &Rules<'_>) {
        let at = slot as usize;
        if self.hots.len() <= at {
            self.hots.resize(at + 1, Hot::default());
        }
        let node = index.at(slot);
        let new = node.map_or_else(Hot::default, |node| {
            Hot::of(node, rules.pipeline, rules.ranking.strategy.health_factor())
        });
        let old = std::mem::replace(&mut self.hots[at], new);
        if old == new {
            return;
        }
        for ladder in self.ladders.iter_mut().flatten() {
            ladder.remove(&old);
            ladder.insert(slot, &self.hots);
        }
        self.selectors.refresh(slot, &old, &self.hots);
    }

    /// The best nodes for a demand, best first, at most `limit`; nothing if only a look at every
    /// node can tell.
    pub(crate) fn best(
        &mut self,
        demand: &Demand<'_>,
        limit: usize,
        index: &Index,
        rules: &Rules<'_>,
    ) -> Option<Vec<Slot>> {
        if demand.needs_all() {
            return None;
        }
        let clauses = Clauses::of(demand, rules.pipeline, index, &mut self.terms);
        if demand.wishes.len() > MAX_WISHES || !clauses.know_wishes() {
            return None;
        }
        let mut found: Vec<Slot> = Vec::new();
        for met in in_order_of_preference(demand.wishes.len()) {
            let ask = Ask {
                demand,
                looks: clauses.leaves_more,
                limit: limit - found.len(),
                index,
                rules,
            };
            let best = self.search(&ask, &clauses, met);
            found.extend(best.iter().map(|ranked| ranked.slot));
            if found.len() >= limit {
                break;
            }
        }
        Some(found)
    }

    /// Tells the demand's terms on which nodes they hold.
    pub(crate) fn recall(&mut self, demand: &mut Demand<'_>, pipeline: &Pipeline, index: &Index) {
        self.terms.make_room();
        if pipeline.has(FilterName::Constraint) {
            for term in &mut demand.constraints {
                term.known =
                    Some(clauses::constraint(term, index, &mut self.terms).own(&self.terms));
            }
        }
        if pipeline.has(FilterName::Affinity) {
            for term in &mut demand.affinities {
                let known = clauses::affinity(term, index, &mut self.terms);
                term.known = known.map(|known| known.own(&self.terms));
            }
        }
    }

    /// The best nodes for a demand without wishes under an order that is not drawn, with their ranks.
    pub(crate) fn ranked(
        &mut self,
        demand: &Demand<'_>,
        limit: usize,
        index: &Index,
        rules: &Rules<'_>,
    ) -> Vec<Ranked> {
        let clauses = Clauses::of(demand, rules.pipeline, index, &mut self.terms);
        let ask = Ask {
            demand,
            looks: clauses.leaves_more,
            limit,
            index,
            rules,
        };
        self.search(&ask, &clauses, 0)
    }

    fn search(&mut self, ask: &Ask<'_>, clauses: &Clauses<'_>, met: u32) -> Vec<Ranked> {
        let (ranking, shape) = (ask.rules.ranking, ask.shape());
        let slots = ask.index.slots();
        if ranking.strategy == Strategy::Random {
            let mask = Mask::of(&clauses.with_wishes(met, &self.terms, true), slots);
            return self.draw(ask, &mask);
        }
        let (kind, packs) = (shape.kind(), ranking.strategy == Strategy::BinPack);
        let hots = &self.hots;
        let selectors = &mut self.selectors;
        let known = selectors.find(&clauses.selector, kind, packs, hots, &self.terms);
        let mask = Mask::of(
            &clauses.with_wishes(met, &self.terms, known.is_none()),
            slots,
        );
        let mut top = Top::new(ask.limit);
        let ladder = match (known, &mask) {
            (_, Mask::Few(slots)) => {
                let selected =
                    |slot: &Slot| known.is_none_or(|known| selectors.selects(known, *slot));
                ask.look_at(slots.iter().copied().filter(selected), hots, &mut top);
                None
            }
            (Some(known), _) => selectors.ladder(known),
            (None, _) => Some(prepare(&mut self.ladders[number(kind)], kind, packs, hots)),
        };
        if let Some(ladder) = ladder {
            let seeded = ranking.tie_break != TieBreak::Name;
            ladder.search(shape, seeded, &mut top, |slots, top| {
                if slots.len() > 1 {
                    // Read side by side, they are waited for once.
                    let open = slots.iter().filter_map(|slot| hots.get(*slot as usize));
                    std::hint::black_box(open.filter(|hot| hot.open).count());
                }
                for slot in slots.iter().filter(|slot| mask.admits(**slot)) {
                    if let Some(ranked) = ask.judge(*slot, hots, shape) {
                        top.offer(ranked);
                    }
                }
            });
        }
        top.into_sorted()
    }

    /// Draws lots until enough nodes are found: a node's place is that of its first lot (see
    /// [`Strategy::Random`]).
    fn draw(&mut self, ask: &Ask<'_>, mask: &Mask) -> Vec<Ranked> {
        let roll = self.roll.get_or_insert_with(|| index_roll(ask.index));
        let hots = &self.hots;
        let shape = ask.shape();
        let mut drawn = vec![false; roll.len()];
        let mut found = Vec::new();
        for at in draw_lots(ask.rules.ranking.seed, roll.len()) {
            if found.len() >= ask.limit {
                break;
            }
            if std::mem::replace(&mut drawn[at], true) || !mask.admits(roll[at]) {
                continue;
            }
            found.extend(ask.judge(roll[at], hots, shape));
        }
        found
    }

    /// Whether all that is kept is what the index gives.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self, index: &Index, rules: &Rules<'_>) -> bool {
        let factor = rules.ranking.strategy.health_factor();
        let hots = (0..self.hots.len()).all(|slot| {
            let node = index.at(slot as Slot);
            let fresh = node.map(|node| Hot::of(node, rules.pipeline, factor));
            self.hots[slot] == fresh.unwrap_or_default()
        });
        hots && self.terms.is_consistent(index)
            && self.selectors.is_consistent(&self.hots, &self.terms)
    }
}

/// What breaks ties: the hash of the id, and the last failure.
fn tie_of(node: &Node) -> (u64, u64) {
    (node.id_hash, last_failure(node))
}

/// The ladder of all nodes, made when first asked for.
fn prepare<'l>(entry: &'l mut Option<Ladder>, kind: Kind, packs: bool, hots: &[Hot]) -> &'l Ladder {
    entry.get_or_insert_with(|| {
        let mut ladder = Ladder::new(kind, packs);
        for slot in 0..hots.len() {
            ladder.insert(slot as Slot, hots);
        }
        ladder
    })
}

/// How a scheduler decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'s> {
    pub(crate) pipeline: &'s Pipeline,
    pub(crate) ranking: Ranking,
}

/// One search.
struct Ask<'a> {
    demand: &'a Demand<'a>,
    /// Whether nodes that the sets admit must be looked at.
    looks: bool,
    limit: usize,
    index: &'a Index,
    rules: &'a Rules<'a>,
}

impl Ask<'_> {
    fn shape(&self) -> Shape {
        Shape {
            cpu: self.demand.needed(Resource::Cpu),
            memory: self.demand.needed(Resource::Memory),
        }
    }

    /// Looks at these nodes and no others.
    fn look_at(&self, slots: impl Iterator<Item = Slot>, hots: &[Hot], top: &mut Top) {
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
        than.cost < if packs { -weight } else { weight }
    }

    /// A node's rank, if it could take the work. The sets have admitted it.
    fn judge(&self, slot: Slot, hots: &[Hot], shape: Shape) -> Option<Ranked> {
        let hot = hots.get(slot as usize).filter(|hot| hot.open)?;
        let weight = hot.cpu.score(shape.cpu)? + hot.memory.score(shape.memory)? + hot.health;
        if self.looks {
            let node = self.index.at(slot)?;
            if !self.rules.pipeline.admits(self.demand, node) {
                return None;
            }
        }
        Some(self.rules.ranked(slot, hot, weight, || {
            self.index.at(slot).map_or((0, 0), tie_of)
        }))
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
        Some(self.ranked(node.slot, &hot, weight, || tie_of(node)))
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

fn index_roll(index: &Index) -> Vec<Slot> {
    index.in_order().map(|node| node.slot).collect()
}

/// Every set of fulfilled wishes, best first: more before fewer, then the earlier declared.
fn in_order_of_preference(wishes: usize) -> Vec<u32> {
    let mut all: Vec<u32> = (0..1 << wishes.min(MAX_WISHES)).collect();
    all.sort_by_key(|met| std::cmp::Reverse((met.count_ones(), *met)));
    all
}

fn number(kind: Kind) -> usize {
    usize::from(kind.cpu) + 2 * usize::from(kind.memory)
}

/// With more, the sets of fulfilled wishes are too many to search one by one.
const MAX_WISHES: usize = 4;
