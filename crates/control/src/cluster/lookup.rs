use std::sync::Arc;

use longshore_core::{Error, ErrorKind, Result};

use super::{ContainerView, SHORT_ID, index::ContainerIndex};

/// Finds a container by what a person typed: its full or 12-character id, its full or short swarm
/// id, its name (also `/name`, `<engine id>/name`, `<engine name>/name`), and if none of these is
/// there, a unique prefix of an id or a swarm id.
///
/// What fits several different containers is [`ErrorKind::Ambiguous`], also when it is the id of one
/// and the name of another: ids and labels are a node's word, and a node must not draw calls to
/// itself that are meant for a container elsewhere.
pub(super) fn find(index: &ContainerIndex, reference: &str) -> Result<Arc<ContainerView>> {
    if reference.is_empty() {
        return Err(missing(reference));
    }
    let exact = || {
        let mut found = index.by_id_prefix(reference, CANDIDATES);
        if reference.len() == SHORT_ID {
            found.extend(index.by_swarm_id_prefix(reference, CANDIDATES));
        } else {
            found.retain(|view| view.workload.id.as_str() == reference);
            found.extend(index.by_swarm_id(reference));
        }
        found.extend(by_name(index, reference));
        found
    };
    let prefix = || {
        let mut found = index.by_id_prefix(reference, CANDIDATES);
        found.extend(index.by_swarm_id_prefix(reference, CANDIDATES));
        found
    };
    let steps: [&dyn Fn() -> Vec<_>; 2] = [&exact, &prefix];
    for step in steps {
        let mut found = step();
        // One container can match in several ways.
        found.sort_by_key(|view| Arc::as_ptr(view));
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        match found.as_slice() {
            [] => {}
            [one] => return Ok(Arc::clone(one)),
            several => return Err(ambiguous(reference, several)),
        }
    }
    Err(missing(reference))
}

fn by_name<'a>(index: &'a ContainerIndex, reference: &str) -> Vec<&'a Arc<ContainerView>> {
    let bare = reference.strip_prefix('/').unwrap_or(reference);
    let found = index.by_name(bare);
    if !found.is_empty() {
        return found;
    }
    match bare.split_once('/') {
        Some((node, name)) => index
            .by_name(name)
            .into_iter()
            .filter(|view| view.node.as_str() == node || view.node_name.as_str() == node)
            .collect(),
        None => Vec::new(),
    }
}

fn missing(reference: &str) -> Error {
    Error::not_found(format!("No such container: {reference}"))
}

fn ambiguous(reference: &str, found: &[&Arc<ContainerView>]) -> Error {
    let mut found = found.to_vec();
    found.sort_by_key(|view| view.display_name());
    let mut names: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|view| {
            let id = view.workload.id.as_str();
            format!(
                "{} ({})",
                view.display_name(),
                &id[..id.len().min(SHORT_ID)]
            )
        })
        .collect();
    if found.len() > SHOWN {
        names.push("…".to_owned());
    }
    Error::new(
        ErrorKind::Ambiguous,
        format!(
            "container reference {reference} is ambiguous, it matches {}",
            names.join(", ")
        ),
    )
    .with_context("candidates", names.join(", "))
}

/// More candidates than this are not collected.
const CANDIDATES: usize = 9;
/// More candidates than this are not shown.
const SHOWN: usize = 8;
