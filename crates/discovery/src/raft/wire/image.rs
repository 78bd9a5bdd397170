//! The whole state as bytes: a snapshot, on the disk and on the way to another member.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use longshore_core::{ErrorKind, KvEntry, KvEvent, LeaseId, Result, Revision};

use super::super::{
    codec::{Reader, Writer, malformed},
    command::{Outcome, Refusal},
    machine::{self, Machine, Session},
};
use crate::memory_kv::{Image, State};

pub(in super::super) fn encode_snapshot(machine: &Machine) -> Bytes {
    let image = machine.store.image();
    let mut out = Writer::default();
    out.byte(VERSION);
    super::position(&mut out, &machine.applied);
    out.number(image.revision.0)
        .list(&image.entries, write_entry)
        .list(&image.leases, |out, (lease, ttl)| {
            out.wide(lease.0).number(micros(*ttl));
        })
        .wide(image.last_lease)
        .number(image.forgotten.0)
        .list(&image.events, |out, (_, event)| write_event(out, event))
        .number(machine.sessions.len() as u64);
    for (member, session) in &machine.sessions {
        out.byte(*member)
            .number(session.incarnation)
            .number(session.settled)
            .number(session.outcomes.len() as u64);
        for (number, found) in &session.outcomes {
            outcome(out.number(*number), found);
        }
    }
    out.finish()
}

/// # Errors
/// It is not what [`encode_snapshot`] makes.
pub(in super::super) fn decode_snapshot(bytes: Bytes) -> Result<Machine> {
    let mut from = Reader::new(bytes);
    if from.byte()? != VERSION {
        return Err(malformed());
    }
    let applied = super::read_position(&mut from)?;
    let image = Image {
        revision: Revision(from.number()?),
        entries: from.list(25, read_entry)?,
        leases: from.list(24, |from| {
            Ok((LeaseId(from.wide()?), Duration::from_micros(from.number()?)))
        })?,
        last_lease: from.wide()?,
        forgotten: Revision(from.number()?),
        events: from.list(17, |from| {
            let event = read_event(from)?;
            Ok((revision_of(&event), event))
        })?,
    };
    let sessions = from.list(25, |from| {
        let member = from.byte()?;
        let session = Session {
            incarnation: from.number()?,
            settled: from.number()?,
            outcomes: from
                .list(9, |from| Ok((from.number()?, read_outcome(from)?)))?
                .into_iter()
                .collect(),
        };
        Ok((member, session))
    })?;
    from.end()?;
    Ok(Machine {
        store: State::from_image(machine::limits(), image),
        sessions: BTreeMap::from_iter(sessions),
        applied,
    })
}

pub(in super::super) fn write_entry(out: &mut Writer, entry: &KvEntry) {
    out.text(&entry.key)
        .bytes(&entry.value)
        .number(entry.revision.0)
        .maybe(entry.lease, |out, lease| {
            out.wide(lease.0);
        });
}

pub(in super::super) fn read_entry(from: &mut Reader) -> Result<KvEntry> {
    let mut entry = KvEntry::new(from.text()?, from.bytes()?, Revision(from.number()?));
    // Values that go on living must not keep a whole message or snapshot with them.
    entry.value = Bytes::copy_from_slice(&entry.value);
    entry.lease = from.maybe(Reader::wide)?.map(LeaseId);
    Ok(entry)
}

pub(in super::super) fn write_event(out: &mut Writer, event: &KvEvent) {
    match event {
        KvEvent::Put(entry) => write_entry(out.byte(1), entry),
        KvEvent::Deleted { key, revision } => drop(out.byte(2).text(key).number(revision.0)),
        KvEvent::Resync(revision) => drop(out.byte(3).number(revision.0)),
        _ => drop(out.byte(0)),
    }
}

pub(in super::super) fn read_event(from: &mut Reader) -> Result<KvEvent> {
    Ok(match from.byte()? {
        1 => KvEvent::Put(read_entry(from)?),
        2 => KvEvent::Deleted {
            key: from.text()?,
            revision: Revision(from.number()?),
        },
        3 => KvEvent::Resync(Revision(from.number()?)),
        _ => return Err(malformed()),
    })
}

fn revision_of(event: &KvEvent) -> Revision {
    match event {
        KvEvent::Put(entry) => entry.revision,
        KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => *revision,
        _ => Revision(0),
    }
}

fn outcome(out: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::Done { revision, deleted } => out.byte(1).number(revision.0).number(*deleted),
        Outcome::Granted { lease, ttl } => out.byte(2).wide(lease.0).number(micros(*ttl)),
        Outcome::Refused(refusal) => out
            .byte(3)
            .text(refusal.kind.as_str())
            .text(&refusal.message),
    };
}

fn read_outcome(from: &mut Reader) -> Result<Outcome> {
    Ok(match from.byte()? {
        1 => Outcome::Done {
            revision: Revision(from.number()?),
            deleted: from.number()?,
        },
        2 => Outcome::Granted {
            lease: LeaseId(from.wide()?),
            ttl: Duration::from_micros(from.number()?),
        },
        3 => Outcome::Refused(Refusal {
            kind: kind(&from.text()?)?,
            message: from.text()?,
        }),
        _ => return Err(malformed()),
    })
}

pub(in super::super) fn kind(word: &str) -> Result<ErrorKind> {
    let found = KINDS.into_iter().find(|kind| kind.as_str() == word);
    found.ok_or_else(malformed)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const KINDS: [ErrorKind; 17] = [
    ErrorKind::InvalidInput,
    ErrorKind::NotFound,
    ErrorKind::AlreadyExists,
    ErrorKind::Conflict,
    ErrorKind::Ambiguous,
    ErrorKind::Unauthenticated,
    ErrorKind::PermissionDenied,
    ErrorKind::ResourceExhausted,
    ErrorKind::Unplaceable,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Cancelled,
    ErrorKind::Closed,
    ErrorKind::Stale,
    ErrorKind::Protocol,
    ErrorKind::Unsupported,
    ErrorKind::Internal,
];

/// Of snapshots.
const VERSION: u8 = 1;
