use longshore_core::{Expression, Operator};

use crate::matcher::{Matcher, RegexCache};

/// A compiled constraint or affinity of a request.
#[derive(Debug)]
pub(crate) struct Term<'r> {
    /// As it was written.
    pub(crate) expression: &'r Expression,
    /// Its place among the terms of its kind, for counting refusals.
    pub(crate) position: usize,
    matcher: Matcher,
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
        })
    }

    /// What values are compared with.
    pub(crate) fn matcher(&self) -> &Matcher {
        &self.matcher
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
        listed == (self.expression.operator() == Operator::Equal)
    }
}
