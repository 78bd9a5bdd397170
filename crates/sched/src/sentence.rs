use longshore_core::{Expression, Operator, Pattern};

use crate::{
    demand::Demand,
    filter::{FilterName, Pipeline},
    reason::Reason,
    refusal::{Tally, nodes},
};

/// A refusal in one sentence for people: how many nodes are what was asked for, and what those
/// lack: `3 of 40 nodes have zone=eu; all 3 lack 2 GiB of memory`. Nothing if the request has no
/// hard constraints or no node satisfies them: then counts say it better.
pub(crate) fn sentence(demand: &Demand<'_>, pipeline: &Pipeline, tally: &Tally) -> Option<String> {
    if demand.constraints.is_empty() || !pipeline.has(FilterName::Constraint) {
        return None;
    }
    let mut lacks: Vec<(usize, &str)> = tally.lacks().collect();
    let matching: usize = lacks.iter().map(|(count, _)| count).sum();
    if matching == 0 {
        return None;
    }
    // Stable: of equal counts the earlier filter comes first.
    lacks.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let texts: Vec<String> = match &lacks[..] {
        [(_, lack)] if matching == 1 => vec![format!("it {}", singular(lack))],
        [(_, lack)] => vec![format!("all {matching} {lack}")],
        several => several
            .iter()
            .map(|(count, lack)| match count {
                1 => format!("1 {}", singular(lack)),
                _ => format!("{count} {lack}"),
            })
            .collect(),
    };
    let all = demand.constraints.iter().map(|term| term.expression);
    let verb = match (all.clone().all(is_plain), matching) {
        (true, 1) => "has",
        (true, _) => "have",
        (false, 1) => "satisfies",
        (false, _) => "satisfy",
    };
    let conditions: Vec<String> = all.map(condition).collect();
    Some(format!(
        "{matching} of {} {verb} {}; {}",
        nodes(tally.nodes),
        conditions.join(" and "),
        texts.join(", "),
    ))
}

/// What nodes lack, after a plural: `lack 2 GiB of memory`.
pub(crate) fn lack(reason: &Reason<'_>) -> String {
    match reason {
        Reason::Resource { need, .. } => format!("lack {}", need.resource.with_unit(need.amount)),
        Reason::Port { .. } => format!("have {}", reason.demand()),
        Reason::Slots { .. } => "have no container slot free".to_owned(),
        Reason::Unhealthy(_) | Reason::NoHealthLeft | Reason::Closed(_) | Reason::Tenant { .. } => {
            format!("are {}", reason.demand())
        }
        Reason::Platform { .. } | Reason::Volume { .. } | Reason::Device { .. } => {
            format!("have {}", reason.demand())
        }
        Reason::Dependency { home } => format!("are not where {} is", home.dependency.target),
        Reason::Affinity { term, .. } => format!("are refused by affinity {}", term.expression),
        Reason::Constraint { term, .. } => format!("are refused by constraint {}", term.expression),
        Reason::Whitelist { whitelist, .. } => {
            format!("are refused by whitelist {}", whitelist.expression)
        }
        Reason::Topology { domains, .. } => format!("would make {} uneven", domains.label()),
        Reason::Own { filter, .. } => format!("are refused by {}", filter.name()),
    }
}

fn singular(lack: &str) -> String {
    let (verb, rest) = lack.split_once(' ').unwrap_or((lack, ""));
    let verb = match verb {
        "lack" => "lacks",
        "have" => "has",
        "are" => "is",
        other => other,
    };
    format!("{verb} {rest}")
}

/// Whether it reads as `key=value`.
fn is_plain(expression: &Expression) -> bool {
    expression.operator() == Operator::Equal
        && matches!(expression.pattern(), Pattern::Glob(text) if !text.contains('*'))
}

fn condition(expression: &Expression) -> String {
    match is_plain(expression) {
        true => format!("{}={}", expression.key(), expression.value()),
        false => expression.to_string(),
    }
}
