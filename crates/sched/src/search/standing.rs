use super::{
    ask::{Ask, Rules},
    hot::Hot,
    ladder::{Kind, Ladder},
    mask::Mask,
    selectors::Selectors,
    terms::Terms,
    top::{Ranked, Top},
};
use crate::{
    index::{Index, Slot},
    rank::draw_lots,
    strategy::{Strategy, TieBreak},
};

/// How the nodes stand, in the orders in which requests look for them.
#[derive(Debug, Default)]
pub(super) struct Standing {
    hots: Vec<Hot>,
    /// By what a request asks for: nothing, CPU, memory, both.
    ladders: [Option<Ladder>; 4],
    /// Ladders of the nodes that satisfy constraints seen before.
    selectors: Selectors,
    /// The nodes in the order of names, for drawing lots.
    roll: Option<Vec<Slot>>,
}

impl Standing {
    /// Nodes came or left, or have other names.
    pub(super) fn forget_roll(&mut self) {
        self.roll = None;
    }

    /// The node's labels changed, or it came or left.
    pub(super) fn node_changed(&mut self, slot: Slot, terms: &Terms) {
        self.selectors.node_changed(slot, &self.hots, terms);
    }

    /// Puts a node where it belongs now.
    pub(super) fn refresh(&mut self, slot: Slot, index: &Index, rules: &Rules<'_>) {
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

    /// The ladder of the nodes that satisfy these constraints, if they were seen before.
    pub(super) fn known(
        &mut self,
        ask: &Ask<'_>,
        selector: &[(usize, bool)],
        terms: &Terms,
    ) -> Option<usize> {
        let strategy = ask.rules.ranking.strategy;
        if strategy == Strategy::Random {
            return None;
        }
        let (kind, packs) = (ask.shape().kind(), strategy == Strategy::BinPack);
        self.selectors
            .find(selector, kind, packs, &self.hots, terms)
    }

    /// The best of the nodes that a mask admits and, where their ladder is known, constraints.
    pub(super) fn search(
        &mut self,
        ask: &Ask<'_>,
        known: Option<usize>,
        mask: &Mask,
    ) -> Vec<Ranked> {
        let (ranking, shape) = (ask.rules.ranking, ask.shape());
        if ranking.strategy == Strategy::Random {
            return self.draw(ask, mask);
        }
        let (kind, packs) = (shape.kind(), ranking.strategy == Strategy::BinPack);
        let (hots, selectors) = (&self.hots, &self.selectors);
        let mut top = Top::new(ask.limit);
        let ladder = match (known, mask) {
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
            ladder.search(shape, ask.bonus(), seeded, &mut top, |slots, top| {
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
        let roll = self.roll.get_or_insert_with(|| roll(ask.index));
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
    pub(super) fn is_consistent(&self, index: &Index, rules: &Rules<'_>, terms: &Terms) -> bool {
        let factor = rules.ranking.strategy.health_factor();
        let hots = (0..self.hots.len()).all(|slot| {
            let node = index.at(slot as Slot);
            let fresh = node.map(|node| Hot::of(node, rules.pipeline, factor));
            self.hots[slot] == fresh.unwrap_or_default()
        });
        hots && self.selectors.is_consistent(&self.hots, terms)
    }
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

fn roll(index: &Index) -> Vec<Slot> {
    index.in_order().map(|node| node.slot).collect()
}

fn number(kind: Kind) -> usize {
    usize::from(kind.cpu) + 2 * usize::from(kind.memory)
}
