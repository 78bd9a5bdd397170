//! The exceptions, each with its reason. One that is no longer needed is
//! reported too.

use super::Problem;
use super::banned::Rule;

/// Which exception covers `rule` in the file at `path`.
pub(crate) fn position(path: &str, rule: Rule) -> Option<usize> {
    ALLOWED
        .iter()
        .position(|(prefix, allowed, _)| path.starts_with(prefix) && *allowed == rule)
}

/// Exceptions that covered nothing.
pub(crate) fn unused(used: &[usize]) -> Vec<Problem> {
    let unused = ALLOWED
        .iter()
        .enumerate()
        .filter(|(position, _)| !used.contains(position));
    unused
        .map(|(_, (prefix, rule, _))| {
            let message = format!("the exception for {rule:?} in {prefix} is not needed any more");
            Problem::new("xtask/src/tidy/allowed.rs", 0, message)
        })
        .collect()
}

/// Whether a file may be long, and why.
pub(crate) fn long(path: &str) -> bool {
    LONG.iter().any(|(allowed, _)| *allowed == path)
}

/// File or folder (by prefix), rule, reason.
const ALLOWED: &[(&str, Rule, &str)] = &[
    (
        "crates/core/src/clock",
        Rule::Time,
        "the one place that asks the OS for the time",
    ),
    (
        "crates/core/src/random",
        Rule::Random,
        "the one place that asks the OS for randomness",
    ),
    (
        "crates/core/src/testkit/suite.rs",
        Rule::Output,
        "a suite names the rules that an implementation can't be held to",
    ),
];

/// Files over the limit, and the reason.
const LONG: &[(&str, &str)] = &[];
