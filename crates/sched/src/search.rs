//! Finding the best nodes without looking at all.

mod ask;
mod cells;
mod clauses;
mod hot;
mod ladder;
mod mask;
mod selectors;
mod shelf;
mod standing;
mod tallies;
mod terms;
mod top;

use std::{cmp::Reverse, ops::ControlFlow};

use self::{
    ask::Ask, cells::Cells, clauses::Clauses, mask::Mask, standing::Standing, tallies::Tallies,
    terms::Terms,
};
pub(crate) use self::{ask::Rules, top::Ranked};
use crate::{
    demand::{Demand, Wish},
    domains::{Branches, Domains, Grouping},
    filter::{FilterName, Pipeline},
    index::{Index, News, Slot},
};

/// What is kept beside the index for fast answers: all of it follows from the index, and is made
/// when first asked for and kept up to date from then on.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    standing: Standing,
    terms: Terms,
    tallies: Tallies,
}

impl Finder {
    /// Takes in what changed in the index.
    pub(crate) fn learn(&mut self, news: &[News], index: &Index, rules: &Rules<'_>) {
        for item in news {
            let slot = match item {
                News::Room(slot) => *slot,
                News::New(slot) => {
                    if let Some(node) = index.at(*slot) {
                        self.terms.node_came(node, index);
                    }
                    self.standing.node_changed(*slot, &self.terms);
                    self.standing.forget_roll();
                    *slot
                }
                News::Node(slot, changed) => {
                    if let Some(node) = index.at(*slot) {
                        self.terms.node_changed(node, changed, index);
                        self.tallies.node_changed(node, changed);
                    }
                    self.standing.node_changed(*slot, &self.terms);
                    if changed.name {
                        self.standing.forget_roll();
                    }
                    *slot
                }
                News::Gone(slot) => {
                    self.terms.node_gone(*slot);
                    self.tallies.node_gone(*slot);
                    self.standing.node_changed(*slot, &self.terms);
                    self.standing.forget_roll();
                    *slot
                }
                News::Came(slot, load) => {
                    self.terms.came(*slot, load);
                    self.tallies.came(*slot, load, index);
                    *slot
                }
                News::Left(slot, load) => {
                    self.terms.left(*slot, load, index.at(*slot));
                    self.tallies.left(*slot, load);
                    *slot
                }
            };
            self.standing.refresh(slot, index, rules);
        }
    }

    /// Takes in the loads that came, but leaves the nodes' places for [`refresh`](Self::refresh):
    /// for many changes of few nodes.
    pub(crate) fn learn_loads(&mut self, news: &[News], index: &Index) {
        for item in news {
            if let News::Came(slot, load) = item {
                self.terms.came(*slot, load);
                self.tallies.came(*slot, load, index);
            }
        }
    }

    /// Puts a node where it belongs now.
    pub(crate) fn refresh(&mut self, slot: Slot, index: &Index, rules: &Rules<'_>) {
        self.standing.refresh(slot, index, rules);
    }

    /// Counts the replicas that the demand's spreads and preferences are about.
    pub(crate) fn count_replicas(&mut self, demand: &mut Demand<'_>, index: &Index) {
        let request = demand.request;
        let service = request.service.as_ref().map_or("", |name| name.as_str());
        if !request.topology.is_empty() {
            self.terms.make_room();
            let constrained = clauses::constrained(demand, index, &mut self.terms);
            let domains = request.topology.iter().map(|spread| {
                let counts = self
                    .tallies
                    .find(service, &Grouping::domains(spread), index);
                Domains::new(spread, counts, constrained.as_deref(), index)
            });
            demand.topology = domains.collect();
        }
        if !request.preferences.is_empty() {
            let grouping = Grouping::branches(request);
            let counts = self.tallies.find(service, &grouping, index);
            demand.branches = Branches::new(grouping, counts);
        }
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
        if demand.needs_all(rules.ranking.strategy) {
            return None;
        }
        let clauses = Clauses::of(demand, rules.pipeline, index, &mut self.terms);
        if !clauses.know_wishes() {
            return None;
        }
        let mut ask = Ask {
            demand,
            looks: clauses.leaves_more,
            limit,
            index,
            rules,
        };
        let mut found: Vec<Slot> = Vec::new();
        let mut take = |best: Vec<Ranked>, ask: &mut Ask<'_>| {
            ask.limit -= best.len();
            found.extend(best.iter().map(|ranked| ranked.slot));
            match ask.limit {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        if demand.wishes.len() <= MAX_WISHES && demand.branches.is_empty() {
            for met in in_order_of_preference(&demand.wishes) {
                let best = self.search(&ask, &clauses, met);
                if take(best, &mut ask).is_break() {
                    break;
                }
            }
            return Some(found);
        }
        let slots = index.slots();
        let known = self.standing.known(&ask, &clauses.selector, &self.terms);
        let wishes = clauses.wishes(&self.terms);
        let weights = demand.wishes.iter().map(Wish::weight);
        let wishes: Vec<_> = wishes.into_iter().zip(weights).collect();
        let cells = Cells::new(&wishes, &demand.branches, index.catalogue(), slots);
        let hard = Mask::of(&clauses.hard(&self.terms, known.is_none()), slots);
        let _ = cells.walk(hard, &mut |mask| {
            let best = self.standing.search(&ask, known, mask);
            take(best, &mut ask)
        });
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

    /// The best nodes that fulfil exactly these wishes.
    fn search(&mut self, ask: &Ask<'_>, clauses: &Clauses<'_>, met: u32) -> Vec<Ranked> {
        let known = self.standing.known(ask, &clauses.selector, &self.terms);
        let clauses = clauses.with_wishes(met, &self.terms, known.is_none());
        let mask = Mask::of(&clauses, ask.index.slots());
        self.standing.search(ask, known, &mask)
    }

    /// Whether all that is kept is what the index gives.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self, index: &Index, rules: &Rules<'_>) -> bool {
        self.standing.is_consistent(index, rules, &self.terms)
            && self.terms.is_consistent(index)
            && self.tallies.is_consistent(index)
    }
}

/// Every set of fulfilled wishes, best first: the heavier in all, then the earlier declared.
fn in_order_of_preference(wishes: &[Wish<'_>]) -> Vec<u32> {
    let mut all: Vec<u32> = (0..1 << wishes.len().min(MAX_WISHES)).collect();
    let weight = |met: u32| -> u64 {
        let fulfilled = wishes.iter().rev().enumerate();
        let fulfilled = fulfilled.filter(|(at, _)| met >> at & 1 == 1);
        fulfilled.map(|(_, wish)| u64::from(wish.weight())).sum()
    };
    all.sort_by_key(|met| Reverse((weight(*met), *met)));
    all
}

/// With more, the sets of fulfilled wishes are too many to search one by one.
const MAX_WISHES: usize = 4;
