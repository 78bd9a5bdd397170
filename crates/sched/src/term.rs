use longshore_core::{Expression, Operator};

use crate::{
    index::{Node, SlotSet},
    matcher::{Matcher, RegexCache},
};

/// A compiled constraint or affinity of a request.
#[derive(Debug)]
pub(crate) struct Term<'r> {
    /// As it was written.
    pub(crate) expression: &'r Expression,
    /// Its place among the terms of its kind, for counting refusals.
    pub(crate) position: usize,
    matcher: Matcher,
    /// On which nodes it holds, where that is known: what spares a look at many nodes.
    pub(crate) known: Option<Known>,
}

/// A set of nodes, and whether those in it or the others are meant.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) set: SlotSet,
    pub(crate) holds: bool,
}

impl<'r> Term<'r> {
    pub(crate) fn compile(
        kind: &str,
        position: usize,
        expression: &'r Expression,
        cache: &RegexCache,
    ) -> Result<Self, String> {
        let matcher = Matcher::compile(expression.pattern(), cache)
            .map_err(|error| format!("{kind} {expression} is invalid: {error}"))?;
        Ok(Self {
            expression,
            position,
            matcher,
            known: None,
        })
    }

    /// What values are compared with.
    pub(crate) fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    /// Whether it holds on a node as a constraint: over its labels and attributes.
    pub(crate) fn holds_on(&self, node: &Node) -> bool {
        match &self.known {
            Some(known) => known.set.contains(node.slot) == known.holds,
            None => self.holds(node.attribute(self.expression.key())),
        }
    }

    /// Whether it holds on a node as an affinity: over what else is there.
    pub(crate) fn holds_beside(&self, node: &Node) -> bool {
        match &self.known {
            Some(known) => known.set.contains(node.slot) == known.holds,
            None => node.company(self.expression.key(), |values| self.holds(values)),
        }
    }

    /// Whether it holds over the candidates. Without any, `==` does not hold and `!=` does.
    pub(crate) fn holds<'c>(&self, mut candidates: impl Iterator<Item = &'c str>) -> bool {
        let found = candidates.any(|candidate| self.matcher.matches(candidate));
        match self.expression.operator() {
            Operator::Equal => found,
            Operator::NotEqual => !found,
        }
    }
}

/// A compiled whitelist: its operator says whether the listed nodes are the only ones or left out
/// (S10); its key says nothing.
#[derive(Debug)]
pub(crate) struct Whitelist<'r> {
    /// As it was written.
    pub(crate) expression: &'r Expression,
    /// Its place among the whitelists.
    pub(crate) position: usize,
    names: Vec<String>,
}

impl<'r> Whitelist<'r> {
    pub(crate) fn new(position: usize, expression: &'r Expression) -> Self {
        let mut names: Vec<String> = expression.value().split('|').map(str::to_owned).collect();
        names.sort_unstable();
        Self {
            expression,
            position,
            names,
        }
    }

    /// Whether the listed nodes are the only ones, not left out.
    pub(crate) fn includes(expression: &Expression) -> bool {
        expression.operator() == Operator::Equal
    }

    /// The names listed, sorted.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a node of this name is allowed.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let listed = self
            .names
            .binary_search_by(|entry| entry.as_str().cmp(name))
            .is_ok();
        listed == Self::includes(self.expression)
    }
}
