//! What the reference holds true, one function per rule.

use std::{cell::RefCell, collections::HashMap};

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
    // Naive, but not so naive as to compile it for each node, as Swarm did: that takes minutes.
    thread_local!(static SEEN: RefCell<HashMap<String, Regex>> = RefCell::default());
    let found = SEEN.with_borrow_mut(|seen| {
        let regex = seen
            .entry(text)
            .or_insert_with_key(|text| Regex::new(text).unwrap());
        values.into_iter().any(|value| regex.is_match(value))
    });
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

/// Whether a device is as demanded.
pub(crate) fn is_like(device: &Device, wanted: &DeviceRequest) -> bool {
    device.id.kind == wanted.kind()
        && wanted.demands().iter().all(|demand| match demand {
            DeviceDemand::Attribute(expression) => holds(
                expression,
                device.attributes.get(expression.key()).into_iter(),
            ),
            DeviceDemand::Amount {
                attribute,
                comparison,
                amount,
                ..
            } => {
                let had = device.attributes.get(attribute);
                let had = had.and_then(|text| text.parse::<Bytes>().ok());
                had.is_some_and(|had| match comparison {
                    Comparison::AtLeast => had >= *amount,
                    Comparison::AtMost => had <= *amount,
                    Comparison::More => had > *amount,
                    Comparison::Less => had < *amount,
                })
            }
            other => panic!("unknown demand {other}"),
        })
}

/// The least devices for these pieces, found by trying everything.
pub(crate) fn given(pieces: &[&DeviceRequest], free: &[&Device]) -> Option<Vec<DeviceId>> {
    let Some((first, rest)) = pieces.split_first() else {
        return Some(vec![]);
    };
    free.iter().enumerate().find_map(|(at, device)| {
        if !is_like(device, first) {
            return None;
        }
        let mut others = free.to_vec();
        others.remove(at);
        let mut all = vec![device.id.clone()];
        all.extend(given(rest, &others)?);
        Some(all)
    })
}

pub(crate) fn listed(expression: &Expression, node: &NodeState) -> bool {
    let listed = expression
        .value()
        .split('|')
        .any(|name| name == node.name.as_str());
    (expression.operator() == Operator::Equal) == listed
}

fn splitmix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D049BB133111EB);
    z ^ (z >> 31)
}

/// The documented lots of a seed: the first place at which each of `count` nodes is drawn, in eight
/// draws for each; who was not drawn follows in order.
pub(crate) fn lots(seed: u64, count: usize) -> Vec<u64> {
    let mut places = vec![None; count];
    for draw in 0..8 * count as u64 {
        let random = splitmix(splitmix(seed).wrapping_add(draw));
        let node = (u128::from(random) * count as u128 / (1 << 64)) as usize;
        places[node].get_or_insert(draw);
    }
    let rest = 8 * count as u64;
    let place = |(at, place): (usize, &Option<u64>)| place.unwrap_or(rest + at as u64);
    places.iter().enumerate().map(place).collect()
}
