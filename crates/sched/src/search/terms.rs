use std::collections::HashMap;

use longshore_core::Pattern;

use crate::{
    index::{Index, Load, Node, Occupant, Slot, SlotSet},
    matcher::Matcher,
    term::Term,
};

/// Which nodes an expression holds on, for expressions seen before: found by one look at every
/// node, then kept up to date with each change. Whether a node is in a set is the positive form
/// (`==`); a memo, so it never changes an answer.
#[derive(Debug, Default)]
pub(super) struct Terms {
    epoch: u64,
    sets: Vec<(Matcher, SlotSet)>,
    labels: Side,
    company: Side,
    images: Side,
}

/// What the values of a key are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The node's labels, id and name.
    Labels,
    /// Labels and services of what is on it.
    Company,
    /// Its images.
    Images,
}

/// The sets about one source by key.
type Side = HashMap<Box<str>, OfKey>;

#[derive(Debug, Default)]
struct OfKey {
    by_pattern: HashMap<Pattern, usize>,
    exact: HashMap<Box<str>, usize>,
    others: Vec<usize>,
}

impl Terms {
    /// Makes room for the terms of one more demand. The numbers of sets may change here, and only
    /// here.
    pub(super) fn make_room(&mut self) {
        if self.sets.len() >= MAX_SETS {
            *self = Self {
                epoch: self.epoch + 1,
                ..Self::default()
            };
        }
    }

    /// Counts how often the numbers of sets have changed.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of a term's set, made if it was not seen before.
    pub(super) fn find(&mut self, source: Source, term: &Term<'_>, index: &Index) -> usize {
        let expression = term.expression;
        let (key, pattern) = (expression.key(), expression.pattern());
        let known = self
            .side(source)
            .get(key)
            .and_then(|of| of.by_pattern.get(pattern));
        if let Some(at) = known {
            return *at;
        }
        let at = self.sets.len();
        let matcher = term.matcher().clone();
        let holds = |node: &&Node| holds(source, key, &matcher, node);
        let set = index.nodes().filter(holds).map(|node| node.slot).collect();
        let of = self.side_mut(source).entry(key.into()).or_default();
        of.by_pattern.insert(pattern.clone(), at);
        match &matcher {
            Matcher::Exact(text) => {
                of.exact.insert(text.clone(), at);
            }
            _ => of.others.push(at),
        }
        self.sets.push((matcher, set));
        at
    }

    pub(super) fn set(&self, at: usize) -> &SlotSet {
        &self.sets[at].1
    }

    /// The node's own labels, name or images are new.
    pub(super) fn node_changed(&mut self, node: &Node) {
        for (source, side) in [
            (Source::Labels, &self.labels),
            (Source::Images, &self.images),
        ] {
            for (key, of) in side {
                for at in of.by_pattern.values() {
                    let (matcher, set) = &mut self.sets[*at];
                    if holds(source, key, matcher, node) {
                        set.insert(node.slot);
                    } else {
                        set.remove(node.slot);
                    }
                }
            }
        }
    }

    pub(super) fn node_gone(&mut self, slot: Slot) {
        for (_, set) in &mut self.sets {
            set.remove(slot);
        }
    }

    /// Something came onto the node.
    pub(super) fn came(&mut self, slot: Slot, load: &Load) {
        self.for_each(load, |set, _, _| {
            set.insert(slot);
        });
    }

    /// Something left the node.
    pub(super) fn left(&mut self, slot: Slot, load: &Load, node: Option<&Node>) {
        self.for_each(load, |set, matcher, key| {
            let still = node.is_some_and(|node| holds(Source::Company, key, matcher, node));
            if !still {
                set.remove(slot);
            }
        });
    }

    /// Every set about what is on nodes that this load belongs to.
    fn for_each(&mut self, load: &Load, mut act: impl FnMut(&mut SlotSet, &Matcher, &str)) {
        if self.company.is_empty() {
            return;
        }
        let service = load.service.iter().map(|_| "service");
        let keys = load.labels.iter().map(|(key, _)| &**key).chain(service);
        let occupant = Occupant {
            id: None,
            name: "",
            load,
        };
        for key in keys {
            let Some(of) = self.company.get(key) else {
                continue;
            };
            for value in occupant.values(key) {
                if let Some(at) = of.exact.get(value) {
                    let (matcher, set) = &mut self.sets[*at];
                    act(set, matcher, key);
                }
                for at in &of.others {
                    let (matcher, set) = &mut self.sets[*at];
                    if matcher.matches(value) {
                        act(set, matcher, key);
                    }
                }
            }
        }
    }

    /// Whether every set is what a look at every node gives.
    #[cfg(test)]
    pub(super) fn is_consistent(&self, index: &Index) -> bool {
        let sides = [
            (Source::Labels, &self.labels),
            (Source::Company, &self.company),
            (Source::Images, &self.images),
        ];
        sides.into_iter().all(|(source, side)| {
            side.iter().all(|(key, of)| {
                of.by_pattern.values().all(|at| {
                    let (matcher, set) = &self.sets[*at];
                    let holding = index
                        .nodes()
                        .filter(|node| holds(source, key, matcher, node));
                    let fresh: SlotSet = holding.map(|node| node.slot).collect();
                    fresh.iter().eq(set.iter())
                })
            })
        })
    }

    fn side(&self, source: Source) -> &Side {
        match source {
            Source::Labels => &self.labels,
            Source::Company => &self.company,
            Source::Images => &self.images,
        }
    }

    fn side_mut(&mut self, source: Source) -> &mut Side {
        match source {
            Source::Labels => &mut self.labels,
            Source::Company => &mut self.company,
            Source::Images => &mut self.images,
        }
    }
}

fn holds(source: Source, key: &str, matcher: &Matcher, node: &Node) -> bool {
    match source {
        Source::Labels => any(matcher, node.attribute(key)),
        Source::Company => node.company(key, |values| any(matcher, values)),
        Source::Images => any(matcher, node.image_names()),
    }
}

fn any<'v>(matcher: &Matcher, mut values: impl Iterator<Item = &'v str>) -> bool {
    values.any(|value| matcher.matches(value))
}

/// When there are more, all are forgotten and made again as they are asked for.
const MAX_SETS: usize = 4096;
