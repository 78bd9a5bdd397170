use std::borrow::Cow;

use longshore_core::Operator;

use super::{
    mask::{Clause, Mask},
    terms::{Source, Terms},
};
use crate::{
    demand::{Demand, Wish},
    filter::{FilterName, Pipeline},
    index::{Found, Index, SlotSet},
    matcher::Matcher,
    term::{self, Term, Whitelist},
};

/// What sets know about a demand.
#[derive(Debug, Default)]
pub(super) struct Clauses<'i> {
    /// Constraints on labels that every node must satisfy, in order and without repetition: the
    /// numbers of their terms, and whether these must hold.
    pub(super) selector: Vec<(usize, bool)>,
    /// What else every node must satisfy.
    hard: Vec<Known<'i>>,
    /// The wishes in their order, if sets know all of them.
    wishes: Option<Vec<Known<'i>>>,
    /// Whether nodes that satisfy it must be looked at all the same: the sets do not know all.
    pub(super) leaves_more: bool,
}

/// A set, and whether nodes must be in it.
#[derive(Debug)]
pub(super) struct Known<'i> {
    set: Set<'i>,
    holds: bool,
}

#[derive(Debug)]
enum Set<'i> {
    /// One of [`Terms`] by its number.
    Term(usize),
    /// Anything else.
    Plain(Cow<'i, SlotSet>),
}

impl<'i> Clauses<'i> {
    pub(super) fn of(
        demand: &Demand<'_>,
        pipeline: &Pipeline,
        index: &'i Index,
        terms: &mut Terms,
    ) -> Self {
        let mut this = Self::default();
        terms.make_room();
        let generic = demand.needs.iter().any(|need| need.resource.is_generic());
        this.leaves_more = generic || demand.is_beyond() || index.has_tenants();
        if pipeline.has(FilterName::Port) {
            this.ports(demand, index);
        }
        if pipeline.has(FilterName::Dependency) {
            for home in &demand.dependencies {
                let slots = match home.found {
                    Found::On(slot) => Some(slot),
                    Found::Nowhere | Found::Ambiguous => None,
                };
                this.hard.push(Known::listed(slots, true));
            }
        }
        if pipeline.has(FilterName::Affinity) {
            for term in &demand.affinities {
                let known = affinity(term, index, terms);
                this.add(known);
            }
        }
        if pipeline.has(FilterName::Constraint) {
            for term in &demand.constraints {
                let known = constraint(term, index, terms);
                match known.set {
                    Set::Term(at) => this.selector.push((at, known.holds)),
                    Set::Plain(_) => this.hard.push(known),
                }
            }
            this.selector.sort_unstable();
            this.selector.dedup();
        }
        for volume in &demand.volumes {
            if let Some(set) = index.catalogue().volumes().nodes(volume) {
                this.hard.push(Known {
                    set: Set::Plain(Cow::Borrowed(set)),
                    holds: true,
                });
            }
        }
        if pipeline.has(FilterName::Whitelist) {
            let lists = demand.whitelists.iter();
            this.hard
                .extend(lists.map(|whitelist| listed(whitelist, index)));
        }
        this.domains(demand, index);
        let wishes = demand.wishes.iter().map(|wish| match wish {
            Wish::Constraint(term) => Some(constraint(term, index, terms)),
            Wish::Affinity(term) => affinity(term, index, terms),
            Wish::Whitelist(whitelist) => Some(listed(whitelist, index)),
        });
        this.wishes = wishes.collect();
        this
    }

    /// Whether sets know all wishes.
    pub(super) fn know_wishes(&self) -> bool {
        self.wishes.is_some()
    }

    /// The clauses for nodes that satisfy everything hard. Without the selector's, where something
    /// else sees to them.
    pub(super) fn hard<'s>(&'s self, terms: &'s Terms, with_selector: bool) -> Vec<Clause<'s>> {
        let selector = self.selector.iter().filter(|_| with_selector);
        let selector = selector.map(|(at, holds)| Clause {
            set: terms.set(*at),
            holds: *holds,
        });
        let hard = self.hard.iter().map(|known| known.clause(terms));
        selector.chain(hard).collect()
    }

    /// The wishes in their order.
    pub(super) fn wishes<'s>(&'s self, terms: &'s Terms) -> Vec<Clause<'s>> {
        let wishes = self.wishes.iter().flatten();
        wishes.map(|known| known.clause(terms)).collect()
    }

    /// As [`hard`](Self::hard), and, of the wishes, exactly those whose bit is set, the first
    /// declared in the highest bit.
    pub(super) fn with_wishes<'s>(
        &'s self,
        met: u32,
        terms: &'s Terms,
        with_selector: bool,
    ) -> Vec<Clause<'s>> {
        let mut clauses = self.hard(terms, with_selector);
        for (at, mut clause) in self.wishes(terms).into_iter().rev().enumerate() {
            clause.holds ^= met >> at & 1 == 0;
            clauses.push(clause);
        }
        clauses
    }

    /// Of each spread the domains that take one more.
    fn domains(&mut self, demand: &Demand<'_>, index: &'i Index) {
        for domains in &demand.topology {
            let Some(label) = index.catalogue().label(domains.label()) else {
                self.hard.push(Known::listed([], true));
                continue;
            };
            let (set, holds) = domains.nodes(label);
            if !holds {
                self.hard.push(Known {
                    set: Set::Plain(Cow::Borrowed(label.any())),
                    holds: true,
                });
            }
            self.hard.push(Known {
                set: Set::Plain(Cow::Owned(set)),
                holds,
            });
        }
    }

    fn ports(&mut self, demand: &Demand<'_>, index: &'i Index) {
        for port in demand.request.ports.iter().filter(|port| port.port != 0) {
            let Some(set) = index.with_port(port.port, port.protocol) else {
                continue;
            };
            match port.is_any_address() {
                true => self.hard.push(Known {
                    set: Set::Plain(Cow::Borrowed(set)),
                    holds: false,
                }),
                // The set does not know addresses.
                false => self.leaves_more = true,
            }
        }
    }

    fn add(&mut self, known: Option<Known<'i>>) {
        match known {
            Some(known) => self.hard.push(known),
            None => self.leaves_more = true,
        }
    }
}

impl<'i> Known<'i> {
    fn listed(slots: impl IntoIterator<Item = u32>, holds: bool) -> Self {
        Self {
            set: Set::Plain(Cow::Owned(slots.into_iter().collect())),
            holds,
        }
    }

    /// With a copy of the set.
    pub(super) fn own(self, terms: &Terms) -> term::Known {
        term::Known {
            set: match self.set {
                Set::Term(at) => terms.set(at).clone(),
                Set::Plain(set) => set.into_owned(),
            },
            holds: self.holds,
        }
    }

    fn clause<'s>(&'s self, terms: &'s Terms) -> Clause<'s> {
        Clause {
            set: match &self.set {
                Set::Term(at) => terms.set(*at),
                Set::Plain(set) => set,
            },
            holds: self.holds,
        }
    }
}

/// The nodes that satisfy all hard constraints, if there are any.
pub(super) fn constrained(
    demand: &Demand<'_>,
    index: &Index,
    terms: &mut Terms,
) -> Option<Vec<u64>> {
    let known: Vec<Known<'_>> = {
        let constraints = demand.constraints.iter();
        constraints
            .map(|term| constraint(term, index, terms))
            .collect()
    };
    let clauses: Vec<Clause<'_>> = known.iter().map(|known| known.clause(terms)).collect();
    let slots = index.slots();
    (!clauses.is_empty()).then(|| Mask::of(&clauses, slots).into_words(slots))
}

pub(super) fn constraint<'i>(term: &Term<'_>, index: &Index, terms: &mut Terms) -> Known<'i> {
    let holds = term.expression.operator() == Operator::Equal;
    match (term.expression.key(), term.matcher()) {
        ("node", Matcher::Exact(text)) => Known::listed(index.called(text), holds),
        _ => Known {
            set: Set::Term(terms.find(Source::Labels, term, index)),
            holds,
        },
    }
}

/// Nothing where only a look at the node can tell: patterns over the names of containers, of which
/// there are too many to keep a set for.
pub(super) fn affinity<'i>(term: &Term<'_>, index: &Index, terms: &mut Terms) -> Option<Known<'i>> {
    let holds = term.expression.operator() == Operator::Equal;
    let source = match (term.expression.key(), term.matcher()) {
        ("container", Matcher::Exact(text)) => {
            return Some(Known::listed(index.with_container(text), holds));
        }
        ("container", _) => return None,
        ("image", _) => Source::Images,
        _ => Source::Company,
    };
    Some(Known {
        set: Set::Term(terms.find(source, term, index)),
        holds,
    })
}

fn listed<'i>(whitelist: &Whitelist<'_>, index: &Index) -> Known<'i> {
    let slots = whitelist.names().iter().flat_map(|name| index.named(name));
    let holds = whitelist.expression.operator() == Operator::Equal;
    Known::listed(slots, holds)
}
