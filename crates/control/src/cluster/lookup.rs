use std::sync::Arc;

use longshore_core::{Error, ErrorKind, Result};

use super::{ContainerView, SHORT_ID, index::ContainerIndex};

/// Finds a container by what a person typed, in Swarm's order: full or 12-character id, full or
/// short swarm id, name (also `/name`, `<engine id>/name`, `<engine name>/name`), and last a unique
/// prefix of an id or a swarm id.
///
/// A step that finds several different containers ends the search: [`ErrorKind::Ambiguous`].
pub(super) fn find(index: &ContainerIndex, reference: &str) -> Result<Arc<ContainerView>> {
    if reference.is_empty() {
        return Err(missing(reference));
    }
    let short = reference.len() == SHORT_ID;
    for step in 0..4 {
        let mut found = match step {
            0 if short => index.by_id_prefix(reference, CANDIDATES),
            0 => {
                let mut found = index.by_id_prefix(reference, CANDIDATES);
                found.retain(|view| view.workload.id.as_str() == reference);
                found
            }
            1 if short => index.by_swarm_id_prefix(reference, CANDIDATES),
            1 => index.by_swarm_id(reference),
            2 => by_name(index, reference),
            _ => {
                let mut found = index.by_id_prefix(reference, CANDIDATES);
                found.extend(index.by_swarm_id_prefix(reference, CANDIDATES));
                found
            }
        };
        // One container can match by its id and by its swarm id.
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
