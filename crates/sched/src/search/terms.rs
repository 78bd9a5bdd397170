use std::collections::HashMap;

use longshore_core::Pattern;

use crate::{
    index::{Changed, Index, Load, Node, Slot, SlotSet},
    matcher::Matcher,
    term::Term,
};

/// Which nodes an expression holds on, for expressions seen before: found by one look at every
/// value that there is, then kept up to date with each change. Whether a node is in a set is the positive form
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
        let set = holders(source, key, &matcher, index);
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

    /// The node is new.
    pub(super) fn node_came(&mut self, node: &Node, index: &Index) {
        let labels = node.labels().map(|(key, _)| key);
        for key in labels.chain(["node"]) {
            let peer = peer(node, key, index);
            renew(
                &mut self.sets,
                &self.labels,
                Source::Labels,
                key,
                node,
                peer,
            );
        }
        renew(
            &mut self.sets,
            &self.images,
            Source::Images,
            "image",
            node,
            None,
        );
    }

    /// The node's own labels, name or images are others.
    pub(super) fn node_changed(&mut self, node: &Node, changed: &Changed, index: &Index) {
        let labels = changed.labels.iter().map(|key| &**key);
        for key in labels.chain(changed.name.then_some("node")) {
            let peer = peer(node, key, index);
            renew(
                &mut self.sets,
                &self.labels,
                Source::Labels,
                key,
                node,
                peer,
            );
        }
        if changed.images {
            renew(
                &mut self.sets,
                &self.images,
                Source::Images,
                "image",
                node,
                None,
            );
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
        let profile = &load.profile;
        let labels = profile.labels.iter().map(|(key, _)| &**key);
        // A label of that name is one of the values of the same key.
        let service = profile.service.iter().map(|_| "service");
        let service = service.filter(|key| profile.label(key).is_none());
        for key in labels.chain(service) {
            let Some(of) = self.company.get(key) else {
                continue;
            };
            for value in profile.values(key) {
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

/// Puts a node into each set about a key, or takes it out: as its peer, if it has one.
fn renew(
    sets: &mut [(Matcher, SlotSet)],
    side: &Side,
    source: Source,
    key: &str,
    node: &Node,
    peer: Option<Slot>,
) {
    for at in side.get(key).iter().flat_map(|of| of.by_pattern.values()) {
        let (matcher, set) = &mut sets[*at];
        let holds = match peer {
            Some(peer) => set.contains(peer),
            None => holds(source, key, matcher, node),
        };
        if holds {
            set.insert(node.slot);
        } else {
            set.remove(node.slot);
        }
    }
}

/// Another node with the same value of a label, which the sets know: what matches there matches
/// here.
fn peer(node: &Node, key: &str, index: &Index) -> Option<Slot> {
    if key == "node" {
        return None;
    }
    let values = index.catalogue().label(key)?.values();
    let mut alike = values.nodes(node.label(key)?)?.iter();
    alike.find(|slot| *slot != node.slot)
}

/// The nodes on which something is matched: found by the values that there are, each looked at
/// once, but for names and ids of nodes, which are as many as those.
fn holders(source: Source, key: &str, matcher: &Matcher, index: &Index) -> SlotSet {
    match source {
        Source::Labels if key == "node" => {
            let holding = |node: &&Node| holds(source, key, matcher, node);
            index
                .nodes()
                .filter(holding)
                .map(|node| node.slot)
                .collect()
        }
        Source::Labels => match (index.catalogue().label(key), matcher) {
            (None, _) => SlotSet::default(),
            (Some(label), Matcher::Anything) => label.any().clone(),
            (Some(label), _) => label.values().matching(matcher),
        },
        Source::Images => index.catalogue().images().matching(matcher),
        Source::Company => {
            let profiles = index.profiles();
            let like = profiles.filter(|(profile, _)| any(matcher, profile.values(key)));
            SlotSet::union(like.map(|(_, set)| set))
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
