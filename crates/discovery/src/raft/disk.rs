//! A member's log, state and identity in one file of `redb`. A save is one transaction, and on the
//! disk when it returns.

use std::path::Path;

use bytes::Bytes;
use longshore_core::{Error, Result};
use redb::{Database, ReadableTable, TableDefinition};

use super::{
    codec::{Reader, Writer, malformed},
    core::{HardState, Snapshot, Vote},
    identity::Identity,
    log::{Entry, Position},
    node::{Loaded, Save},
};
use crate::redb_kv::{failure, sound};

#[derive(Debug)]
pub(super) struct Disk {
    database: Database,
}

impl Disk {
    /// Opens a member's directory, or makes it. `fresh` is for one that belongs to nobody yet.
    ///
    /// # Errors
    /// It can't be opened, is in use, or belongs to other managers.
    pub(super) fn open(directory: &Path, fresh: Identity) -> Result<(Self, Loaded)> {
        let shown = directory.display().to_string();
        make_directory(directory)
            .map_err(|error| Error::io(format!("cannot make the directory {shown}"), error))?;
        let path = directory.join(FILE);
        // A member that goes on with less has forgotten votes or entries that others count on.
        sound::open(&path, REMEDY, |database| {
            let disk = Self { database };
            let loaded = disk.load(fresh, &shown)?;
            Ok((disk, loaded))
        })
    }

    /// Blocks until all of it is on the disk.
    pub(super) fn save(&self, save: &Save) -> Result<()> {
        let change = self.database.begin_write().map_err(failure::of)?;
        {
            let mut meta = change.open_table(META).map_err(failure::of)?;
            let mut log = change.open_table(LOG).map_err(failure::of)?;
            let mut put = |name: &str, bytes: Bytes| -> Result<()> {
                meta.insert(name, &bytes[..]).map_err(failure::of)?;
                Ok(())
            };
            if let Some(identity) = &save.identity {
                put(IDENTITY, write_identity(identity))?;
            }
            if let Some(hard) = &save.hard {
                put(HARD, write_hard(hard))?;
            }
            if let Some(from) = save.truncate {
                log.retain_in(from.., |_, _| false).map_err(failure::of)?;
            }
            let mut base = 0;
            if let Some(snapshot) = &save.snapshot {
                base = snapshot.at.index;
                put(SNAPSHOT_AT, write_position(&snapshot.at))?;
                let mut parts = change.open_table(SNAPSHOT).map_err(failure::of)?;
                parts.retain(|_, _| false).map_err(failure::of)?;
                for (number, part) in snapshot.data.chunks(PART).enumerate() {
                    parts.insert(number as u64, part).map_err(failure::of)?;
                }
                log.retain_in(..=base, |_, _| false).map_err(failure::of)?;
            }
            for entry in save.entries.iter().filter(|entry| entry.at.index > base) {
                let row = (entry.at.term, &entry.data[..]);
                log.insert(entry.at.index, row).map_err(failure::of)?;
            }
        }
        change.commit().map_err(failure::of)
    }

    fn load(&self, fresh: Identity, shown: &str) -> Result<Loaded> {
        let change = self.database.begin_write().map_err(failure::of)?;
        let loaded = {
            let mut meta = change.open_table(META).map_err(failure::of)?;
            let log = change.open_table(LOG).map_err(failure::of)?;
            let parts = change.open_table(SNAPSHOT).map_err(failure::of)?;
            let read = |name: &str| -> Result<Option<Reader>> {
                let found = meta.get(name).map_err(failure::of)?;
                Ok(found.map(|found| Reader::new(Bytes::copy_from_slice(found.value()))))
            };
            let identity = match read(IDENTITY)? {
                None => fresh,
                Some(mut from) => known(read_identity(&mut from)?, &fresh, shown)?,
            };
            let hard = match read(HARD)? {
                None => HardState::default(),
                Some(mut from) => read_hard(&mut from)?,
            };
            let snapshot = match read(SNAPSHOT_AT)? {
                None => None,
                Some(mut from) => {
                    let at = read_position(&mut from)?;
                    let mut data = Vec::new();
                    for part in parts.iter().map_err(failure::of)? {
                        let (_, part) = part.map_err(failure::of)?;
                        data.extend_from_slice(part.value());
                    }
                    let data = data.into();
                    Some(Snapshot { at, data })
                }
            };
            let mut entries = Vec::new();
            for row in log.iter().map_err(failure::of)? {
                let (index, row) = row.map_err(failure::of)?;
                let (term, data) = row.value();
                let index = index.value();
                entries.push(Entry {
                    at: Position { term, index },
                    data: Bytes::copy_from_slice(data),
                });
            }
            let bytes = write_identity(&identity);
            meta.insert(IDENTITY, &bytes[..]).map_err(failure::of)?;
            Loaded {
                identity,
                hard,
                snapshot,
                entries,
            }
        };
        // The number that was drawn, and this start, are on the disk before anybody hears of them.
        change.commit().map_err(failure::of)?;
        Ok(loaded)
    }
}

/// Who the directory belongs to, started once more.
fn known(identity: Identity, fresh: &Identity, shown: &str) -> Result<Identity> {
    let (ours, theirs) = (&fresh.names, &identity.names);
    if ours != theirs {
        return Err(Error::invalid(format!(
            "the directory {shown} belongs to the managers {theirs}, and the list says {ours}: the \
             members of a cluster are fixed; take the list that it was founded with, or another \
             directory"
        )));
    }
    if identity.me != fresh.me {
        return Err(Error::invalid(format!(
            "the directory {shown} belongs to the manager {}, not to {}",
            identity.me, fresh.me
        )));
    }
    let incarnation = fresh.incarnation.max(identity.incarnation + 1);
    Ok(Identity {
        incarnation,
        ..identity
    })
}

/// For its owner alone.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn write_identity(identity: &Identity) -> Bytes {
    let mut out = Writer::default();
    out.byte(LAYOUT)
        .text(&identity.me)
        .text(&identity.names)
        .number(identity.nonce)
        .number(identity.incarnation)
        .maybe(identity.cluster, |out, cluster| {
            out.wide(cluster);
        })
        .list(&identity.founders, |out, nonce| {
            out.number(*nonce);
        })
        .maybe(identity.joining, |out, at| {
            out.number(at.term).number(at.index);
        });
    out.finish()
}

fn read_identity(from: &mut Reader) -> Result<Identity> {
    match from.byte()? {
        LAYOUT => {}
        other => {
            return Err(Error::unsupported(format!(
                "the store was written by a newer longshore (layout {other})"
            )));
        }
    }
    Ok(Identity {
        me: from.text()?,
        names: from.text()?,
        nonce: from.number()?,
        incarnation: from.number()?,
        cluster: from.maybe(Reader::wide)?,
        founders: from.list(8, Reader::number)?,
        joining: from.maybe(read_position)?,
    })
}

fn write_hard(hard: &HardState) -> Bytes {
    let mut out = Writer::default();
    out.number(hard.term);
    match hard.vote {
        None => out.byte(0),
        Some(Vote::Spent) => out.byte(1),
        Some(Vote::For(member)) => out.byte(2).number(member as u64),
    };
    out.finish()
}

fn read_hard(from: &mut Reader) -> Result<HardState> {
    let term = from.number()?;
    let vote = match from.byte()? {
        0 => None,
        1 => Some(Vote::Spent),
        2 => Some(Vote::For(
            usize::try_from(from.number()?).map_err(|_| malformed())?,
        )),
        _ => return Err(malformed()),
    };
    Ok(HardState { term, vote })
}

fn write_position(at: &Position) -> Bytes {
    let mut out = Writer::default();
    out.number(at.term).number(at.index);
    out.finish()
}

fn read_position(from: &mut Reader) -> Result<Position> {
    Ok(Position {
        term: from.number()?,
        index: from.number()?,
    })
}

const FILE: &str = "raft.redb";

const REMEDY: &str = "move its directory away, and start the manager while all others are there, so that they fill \
                      it anew";

/// Of the tables and what is in them.
const LAYOUT: u8 = 1;

/// Of a snapshot in one row.
const PART: usize = 1 << 20;

/// Name → what the disk says of the member.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const IDENTITY: &str = "identity";
const HARD: &str = "hard";
const SNAPSHOT_AT: &str = "snapshot_at";

/// Index → term and data.
const LOG: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("log");

/// Number → part of the snapshot.
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");

#[cfg(test)]
mod tests;
