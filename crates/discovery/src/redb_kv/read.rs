//! Looking into the file. Every look sees one commit as a whole.

use std::{collections::VecDeque, ops::Bound};

use bytes::Bytes;
use longshore_core::{KvEntry, KvEvent, KvRange, LeaseId, Result, Revision};
use redb::{ReadTransaction, ReadableDatabase};

use super::{
    failure,
    tables::{ENTRIES, FORGOTTEN, HISTORY, META, PUT, REVISION},
};

pub(super) fn get(database: &redb::Database, key: &str) -> Result<Option<KvEntry>> {
    let look = database.begin_read().map_err(failure::of)?;
    let entries = look.open_table(ENTRIES).map_err(failure::of)?;
    let found = entries.get(key).map_err(failure::of)?;
    Ok(found.map(|found| entry(key, found.value())))
}

pub(super) fn range(
    database: &redb::Database,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<KvRange> {
    let look = database.begin_read().map_err(failure::of)?;
    let table = look.open_table(ENTRIES).map_err(failure::of)?;
    let start = match after >= prefix {
        true => Bound::Excluded(after),
        false => Bound::Included(prefix),
    };
    let mut found = Vec::new();
    let mut more = false;
    let bounds: (Bound<&str>, Bound<&str>) = (start, Bound::Unbounded);
    for pair in table.range::<&str>(bounds).map_err(failure::of)? {
        let (key, value) = pair.map_err(failure::of)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        if found.len() >= limit {
            more = true;
            break;
        }
        found.push(entry(key.value(), value.value()));
    }
    Ok(KvRange::new(found, number(&look, REVISION)?, more))
}

pub(super) fn revision(database: &redb::Database) -> Result<Revision> {
    let look = database.begin_read().map_err(failure::of)?;
    number(&look, REVISION)
}

/// What a watch is told.
pub(super) struct Told {
    pub(super) events: VecDeque<KvEvent>,
    pub(super) up_to: Revision,
}

/// The changes under `prefix` behind a revision; from now on if there is none.
pub(super) fn changes(
    database: &redb::Database,
    behind: Option<Revision>,
    prefix: &str,
) -> Result<Told> {
    let look = database.begin_read().map_err(failure::of)?;
    let now_at = number(&look, REVISION)?;
    let behind = behind.unwrap_or(now_at);
    if behind < number(&look, FORGOTTEN)? || behind > now_at {
        return Ok(Told {
            events: VecDeque::from([KvEvent::Resync(now_at)]),
            up_to: now_at,
        });
    }
    let history = look.open_table(HISTORY).map_err(failure::of)?;
    let (mut events, mut up_to) = (VecDeque::new(), now_at);
    for pair in history.range(behind.0 + 1..).map_err(failure::of)? {
        let (at, change) = pair.map_err(failure::of)?;
        let (revision, (key, what, lease, value)) = (at.value(), change.value());
        if !key.starts_with(prefix) {
            continue;
        }
        events.push_back(match what {
            PUT => KvEvent::Put(entry(key, (revision, lease, value))),
            _ => KvEvent::Deleted {
                key: key.to_owned(),
                revision: Revision(revision),
            },
        });
        if events.len() == BATCH {
            up_to = Revision(revision);
            break;
        }
    }
    Ok(Told { events, up_to })
}

fn number(look: &ReadTransaction, name: &str) -> Result<Revision> {
    let meta = look.open_table(META).map_err(failure::of)?;
    let found = meta.get(name).map_err(failure::of)?;
    Ok(Revision(found.map_or(0, |found| found.value())))
}

pub(super) fn entry(key: &str, (revision, lease, value): (u64, u128, &[u8])) -> KvEntry {
    let mut entry = KvEntry::new(key, Bytes::copy_from_slice(value), Revision(revision));
    entry.lease = (lease != 0).then_some(LeaseId(lease));
    entry
}

/// How many changes a watch takes at a time.
const BATCH: usize = 64;
