//! Messages between members as bytes. Pure.

use bytes::Bytes;
use longshore_core::{LeaseId, Result};

mod command;
mod image;

pub(super) use command::{decode_command, encode_command, read_steps, write_steps};
pub(super) use image::{
    decode_snapshot, encode_snapshot, kind, read_entry, read_event, write_entry, write_event,
};

use super::{
    codec::{Reader, Writer, malformed},
    identity::Status,
    log::{Entry, Position},
    message::Message,
};

/// A message with the cluster that it is about; none for those without one.
pub(super) fn encode(cluster: Option<u128>, message: &Message) -> Bytes {
    let mut out = Writer::default();
    out.maybe(cluster, |out, cluster| {
        out.wide(cluster);
    });
    match message {
        Message::PreVote { term, last } => position(out.byte(1).number(*term), last),
        Message::PreVoted { term, granted } => {
            out.byte(2).number(*term).byte((*granted).into());
        }
        Message::Vote { term, last } => position(out.byte(3).number(*term), last),
        Message::Voted { term, granted } => {
            out.byte(4).number(*term).byte((*granted).into());
        }
        Message::Append {
            term,
            before,
            commit,
            entries,
        } => {
            position(out.byte(5).number(*term), before);
            out.number(*commit).list(entries, |out, entry| {
                position(out, &entry.at);
                out.bytes(&entry.data);
            });
        }
        Message::Appended {
            term,
            matched,
            counts,
        } => {
            let index = match matched {
                Ok(index) => out.byte(6).number(*term).byte(1).number(*index),
                Err(hint) => out.byte(6).number(*term).byte(0).number(*hint),
            };
            index.byte((*counts).into());
        }
        Message::Heartbeat {
            term,
            commit,
            round,
        } => {
            out.byte(7).number(*term).number(*commit).number(*round);
        }
        Message::HeartbeatAnswer {
            term,
            round,
            last,
            counts,
        } => {
            out.byte(8).number(*term).number(*round).number(*last);
            out.byte((*counts).into());
        }
        Message::Snapshot {
            term,
            at,
            offset,
            total,
            part,
        } => {
            position(out.byte(9).number(*term), at);
            out.number(*offset).number(*total).bytes(part);
        }
        Message::SnapshotPart {
            term,
            at,
            received,
            counts,
        } => {
            position(out.byte(10).number(*term), at);
            out.number(*received).byte((*counts).into());
        }
        Message::Propose(command) => {
            out.byte(11).bytes(command);
        }
        Message::Confirm { id, lease } => {
            out.byte(12).number(*id).maybe(*lease, |out, lease| {
                out.wide(lease.0);
            });
        }
        Message::Confirmed { id, index, lives } => {
            out.byte(13)
                .number(*id)
                .number(*index)
                .byte((*lives).into());
        }
        Message::Ask(about) => status(out.byte(14), about),
        Message::Status(about) => status(out.byte(15), about),
    }
    out.finish()
}

/// # Errors
/// It is not what [`encode`] makes.
pub(super) fn decode(bytes: Bytes) -> Result<(Option<u128>, Message)> {
    let mut from = Reader::new(bytes);
    let cluster = from.maybe(Reader::wide)?;
    let kind = from.byte()?;
    if let 14 | 15 = kind {
        let about = read_status(&mut from)?;
        from.end()?;
        let message = match kind {
            14 => Message::Ask(about),
            _ => Message::Status(about),
        };
        return Ok((cluster, message));
    }
    let message = match kind {
        11 => Message::Propose(from.bytes()?),
        12 => Message::Confirm {
            id: from.number()?,
            lease: from.maybe(Reader::wide)?.map(LeaseId),
        },
        13 => Message::Confirmed {
            id: from.number()?,
            index: count(&mut from)?,
            lives: from.flag()?,
        },
        _ => about_the_log(kind, &mut from)?,
    };
    from.end()?;
    Ok((cluster, message))
}

fn about_the_log(kind: u8, from: &mut Reader) -> Result<Message> {
    let term = count(from)?;
    Ok(match kind {
        1 => Message::PreVote {
            term,
            last: read_position(from)?,
        },
        2 => Message::PreVoted {
            term,
            granted: from.flag()?,
        },
        3 => Message::Vote {
            term,
            last: read_position(from)?,
        },
        4 => Message::Voted {
            term,
            granted: from.flag()?,
        },
        5 => Message::Append {
            term,
            before: read_position(from)?,
            commit: count(from)?,
            entries: from.list(24, |from| {
                Ok(Entry {
                    at: read_position(from)?,
                    data: from.bytes()?,
                })
            })?,
        },
        6 => {
            let (accepted, index) = (from.flag()?, count(from)?);
            Message::Appended {
                term,
                matched: if accepted { Ok(index) } else { Err(index) },
                counts: from.flag()?,
            }
        }
        7 => Message::Heartbeat {
            term,
            commit: count(from)?,
            round: count(from)?,
        },
        8 => Message::HeartbeatAnswer {
            term,
            round: count(from)?,
            last: count(from)?,
            counts: from.flag()?,
        },
        9 => Message::Snapshot {
            term,
            at: read_position(from)?,
            offset: from.number()?,
            total: from.number()?,
            part: from.bytes()?,
        },
        10 => Message::SnapshotPart {
            term,
            at: read_position(from)?,
            received: from.number()?,
            counts: from.flag()?,
        },
        _ => return Err(malformed()),
    })
}

fn position(out: &mut Writer, at: &Position) {
    out.number(at.term).number(at.index);
}

fn read_position(from: &mut Reader) -> Result<Position> {
    Ok(Position {
        term: count(from)?,
        index: count(from)?,
    })
}

fn status(out: &mut Writer, about: &Status) {
    out.text(&about.names)
        .number(about.nonce)
        .maybe(about.cluster, |out, cluster| {
            out.wide(cluster);
        })
        .list(&about.founders, |out, nonce| {
            out.number(*nonce);
        })
        .number(about.term);
    position(out, &about.last);
}

fn read_status(from: &mut Reader) -> Result<Status> {
    Ok(Status {
        names: from.text()?,
        nonce: from.number()?,
        cluster: from.maybe(Reader::wide)?,
        founders: from.list(8, Reader::number)?,
        term: count(from)?,
        last: read_position(from)?,
    })
}

/// A term, an index or a round: what is counted up by one.
///
/// # Errors
/// No cluster gets so far, and whoever believed it could not count on.
fn count(from: &mut Reader) -> Result<u64> {
    match from.number()? {
        number if number <= LAST => Ok(number),
        _ => Err(malformed()),
    }
}

/// A million a second for a thousand years are far below.
const LAST: u64 = 1 << 62;

#[cfg(test)]
mod tests;
