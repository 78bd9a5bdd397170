//! All entries under a prefix at one index, and what leads from one such set to the next. Pure.

use std::collections::{BTreeMap, VecDeque};

use longshore_core::{KvEntry, KvEvent, Revision};

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) entries: BTreeMap<String, KvEntry>,
    pub(super) revision: Revision,
}

/// When each key was last written: all that a watch keeps.
pub(super) type Known = BTreeMap<String, Revision>;

/// The changes, in the order of their revisions. Consul does not tell when a key was deleted; the
/// snapshot's own index stands for it.
pub(super) fn changes(known: &Known, snapshot: &Snapshot) -> VecDeque<KvEvent> {
    let mut changed: Vec<_> = snapshot
        .entries
        .values()
        .filter(|entry| known.get(&entry.key) != Some(&entry.revision))
        .map(|entry| (entry.revision, KvEvent::Put(entry.clone())))
        .collect();
    changed.sort_by_key(|(revision, _)| *revision);
    let gone = known
        .keys()
        .filter(|key| !snapshot.entries.contains_key(*key))
        .map(|key| KvEvent::Deleted {
            key: key.clone(),
            revision: snapshot.revision,
        });
    changed
        .into_iter()
        .map(|(_, event)| event)
        .chain(gone)
        .collect()
}

pub(super) fn known(snapshot: &Snapshot) -> Known {
    snapshot
        .entries
        .values()
        .map(|entry| (entry.key.clone(), entry.revision))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(revision: u64, entries: &[(&str, u64)]) -> Snapshot {
        let entries = entries
            .iter()
            .map(|(key, at)| ((*key).to_owned(), KvEntry::new(*key, "x", Revision(*at))))
            .collect();
        Snapshot {
            entries,
            revision: Revision(revision),
        }
    }

    #[test]
    fn changes_come_by_revision_and_departures_last() {
        let before = known(&snapshot(5, &[("a", 1), ("b", 2), ("c", 3)]));
        let events = changes(&before, &snapshot(9, &[("a", 8), ("c", 3), ("d", 7)]));
        let shown: Vec<_> = events
            .iter()
            .map(|event| match event {
                KvEvent::Put(entry) => format!("{} {}", entry.key, entry.revision.0),
                KvEvent::Deleted { key, revision } => format!("-{key} {}", revision.0),
                _ => String::new(),
            })
            .collect();
        assert_eq!(shown, ["d 7", "a 8", "-b 9"]);
    }
}
