//! What clients ask a member, and what they are told. Pure.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::{
    Error, ErrorKind, KvEntry, KvEvent, KvRange, Lease, LeaseId, Result, Revision, TransactionOp,
};

use super::{
    codec::{Reader, Writer, malformed},
    wire::{kind, read_entry, read_event, read_steps, write_entry, write_event, write_steps},
};

#[derive(Debug)]
pub(super) enum Operation {
    Get(String),
    Range {
        prefix: String,
        after: String,
        limit: u64,
    },
    Apply(Vec<TransactionOp>),
    Grant(Duration),
    KeepAlive(LeaseId),
    Revoke(LeaseId),
    /// Answered by events, until the client asks for the end.
    Watch {
        prefix: String,
        from: Option<Revision>,
    },
    /// Ends the watch that this number began.
    Unwatch(u64),
}

#[derive(Debug)]
pub(super) enum Answer {
    Failed {
        kind: ErrorKind,
        message: String,
    },
    Found(Option<KvEntry>),
    Range(KvRange),
    Done {
        revision: Revision,
        deleted: u64,
    },
    Granted(Lease),
    Event(KvEvent),
    /// A watch's outage, or its end.
    Outage {
        message: String,
    },
}

impl Answer {
    pub(super) fn failed(error: &Error) -> Self {
        let mut message = error.message().to_owned();
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        Self::Failed {
            kind: error.kind(),
            message,
        }
    }
}

pub(super) fn encode_operation(number: u64, operation: &Operation) -> Bytes {
    let mut out = Writer::default();
    out.number(number);
    match operation {
        Operation::Get(key) => drop(out.byte(1).text(key)),
        Operation::Range {
            prefix,
            after,
            limit,
        } => drop(out.byte(2).text(prefix).text(after).number(*limit)),
        Operation::Apply(steps) => write_steps(out.byte(3), steps),
        Operation::Grant(ttl) => drop(out.byte(4).number(micros(*ttl))),
        Operation::KeepAlive(lease) => drop(out.byte(5).wide(lease.0)),
        Operation::Revoke(lease) => drop(out.byte(6).wide(lease.0)),
        Operation::Watch { prefix, from } => {
            out.byte(7).text(prefix).maybe(*from, |out, from| {
                out.number(from.0);
            });
        }
        Operation::Unwatch(watch) => drop(out.byte(8).number(*watch)),
    }
    out.finish()
}

pub(super) fn decode_operation(frame: Bytes) -> Result<(u64, Operation)> {
    let mut from = Reader::new(frame);
    let number = from.number()?;
    let operation = match from.byte()? {
        1 => Operation::Get(from.text()?),
        2 => Operation::Range {
            prefix: from.text()?,
            after: from.text()?,
            limit: from.number()?,
        },
        3 => Operation::Apply(read_steps(&mut from)?),
        4 => Operation::Grant(Duration::from_micros(from.number()?)),
        5 => Operation::KeepAlive(LeaseId(from.wide()?)),
        6 => Operation::Revoke(LeaseId(from.wide()?)),
        7 => Operation::Watch {
            prefix: from.text()?,
            from: from.maybe(Reader::number)?.map(Revision),
        },
        8 => Operation::Unwatch(from.number()?),
        _ => return Err(malformed()),
    };
    from.end()?;
    Ok((number, operation))
}

pub(super) fn encode_answer(number: u64, answer: &Answer) -> Bytes {
    let mut out = Writer::default();
    out.number(number);
    match answer {
        Answer::Failed { kind, message } => drop(out.byte(0).text(kind.as_str()).text(message)),
        Answer::Found(entry) => {
            out.byte(1).maybe(entry.as_ref(), write_entry);
        }
        Answer::Range(range) => {
            out.byte(2)
                .list(&range.entries, write_entry)
                .number(range.revision.0)
                .byte(range.more.into());
        }
        Answer::Done { revision, deleted } => {
            out.byte(3).number(revision.0).number(*deleted);
        }
        Answer::Granted(lease) => drop(out.byte(4).wide(lease.id.0).number(micros(lease.ttl))),
        Answer::Event(event) => write_event(out.byte(5), event),
        Answer::Outage { message } => drop(out.byte(6).text(message)),
    }
    out.finish()
}

pub(super) fn decode_answer(frame: Bytes) -> Result<(u64, Answer)> {
    let mut from = Reader::new(frame);
    let number = from.number()?;
    let answer = match from.byte()? {
        0 => Answer::Failed {
            kind: kind(&from.text()?)?,
            message: from.text()?,
        },
        1 => Answer::Found(from.maybe(read_entry)?),
        2 => Answer::Range(KvRange::new(
            from.list(25, read_entry)?,
            Revision(from.number()?),
            from.flag()?,
        )),
        3 => Answer::Done {
            revision: Revision(from.number()?),
            deleted: from.number()?,
        },
        4 => Answer::Granted(Lease::new(
            LeaseId(from.wide()?),
            Duration::from_micros(from.number()?),
        )),
        5 => Answer::Event(read_event(&mut from)?),
        6 => Answer::Outage {
            message: from.text()?,
        },
        _ => return Err(malformed()),
    };
    from.end()?;
    Ok((number, answer))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const LONGEST_MESSAGE: usize = 1024;
