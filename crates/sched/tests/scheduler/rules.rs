//! What the reference holds true, one function per rule.

use longshore_core::*;
use regex::Regex;

pub(crate) fn amount(resources: &Resources, kind: &str) -> u128 {
    match kind {
        "cpu" => resources.cpu.0.into(),
        "memory" => resources.memory.0.into(),
        other => resources.generic.get(other).copied().unwrap_or(0).into(),
    }
}

/// Globs become regular expressions here, which the crate does not do.
pub(crate) fn holds<'a>(expression: &Expression, values: impl Iterator<Item = &'a str>) -> bool {
    let text = match expression.pattern() {
        Pattern::Regex(text) => text.clone(),
        Pattern::Glob(text) => {
            let parts: Vec<String> = text.split('*').map(regex::escape).collect();
            format!("(?s)^{}$", parts.join(".*"))
        }
        other => panic!("unknown pattern {other:?}"),
    };
    let regex = Regex::new(&text).unwrap();
    let found = values.into_iter().any(|value| regex.is_match(value));
    (expression.operator() == Operator::Equal) == found
}

pub(crate) fn constrained(expression: &Expression, node: &NodeState) -> bool {
    match expression.key() {
        "node" => holds(
            expression,
            [node.id.as_str(), node.name.as_str()].into_iter(),
        ),
        key => holds(expression, node.labels.get(key).into_iter()),
    }
}

pub(crate) fn listed(expression: &Expression, node: &NodeState) -> bool {
    let listed = expression
        .value()
        .split('|')
        .any(|name| name == node.name.as_str());
    (expression.operator() == Operator::Equal) == listed
}

/// The documented seeded order: splitmix64 over FNV-1a of the id and the seed.
pub(crate) fn shuffle(id: &str, seed: u64) -> u64 {
    let splitmix = |value: u64| {
        let mut z = value.wrapping_add(0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D049BB133111EB);
        z ^ (z >> 31)
    };
    let mut hash: u64 = 14695981039346656037;
    for byte in id.as_bytes() {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(1099511628211);
    }
    splitmix(hash ^ splitmix(seed))
}
