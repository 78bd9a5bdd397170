//! Commands as bytes, in the log and on the way to the leader.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::{Expect, LeaseId, PutOptions, Result, Revision, TransactionOp};

use super::super::{
    codec::{Reader, Writer, malformed},
    command::{Action, Command, RequestId},
};

pub(in super::super) fn encode_command(command: &Command) -> Bytes {
    let mut out = Writer::default();
    out.byte(VERSION).maybe(command.request, |out, request| {
        out.byte(request.member)
            .number(request.incarnation)
            .number(request.number);
    });
    out.number(command.settled);
    match &command.action {
        Action::Apply(steps) => write_steps(out.byte(1), steps),
        Action::Grant(ttl) => {
            let micros = u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX);
            out.byte(2).number(micros);
        }
        Action::Revoke(lease) => {
            out.byte(3).wide(lease.0);
        }
        Action::Expire(leases) => {
            out.byte(4).list(leases, |out, lease| {
                out.wide(lease.0);
            });
        }
    }
    out.finish()
}

/// # Errors
/// It is not what [`encode_command`] makes.
pub(in super::super) fn decode_command(bytes: Bytes) -> Result<Command> {
    let mut from = Reader::new(bytes);
    if from.byte()? != VERSION {
        return Err(malformed());
    }
    let request = from.maybe(|from| {
        Ok(RequestId {
            member: from.byte()?,
            incarnation: from.number()?,
            number: from.number()?,
        })
    })?;
    let settled = from.number()?;
    let action = match from.byte()? {
        1 => Action::Apply(read_steps(&mut from)?),
        2 => Action::Grant(Duration::from_micros(from.number()?)),
        3 => Action::Revoke(LeaseId(from.wide()?)),
        4 => Action::Expire(from.list(16, |from| Ok(LeaseId(from.wide()?)))?),
        _ => return Err(malformed()),
    };
    from.end()?;
    Ok(Command {
        request,
        settled,
        action,
    })
}

pub(in super::super) fn write_steps(out: &mut Writer, steps: &[TransactionOp]) {
    out.list(steps, |out, step| match step {
        TransactionOp::Put {
            key,
            value,
            options,
        } => {
            expect(out.byte(1).text(key).bytes(value), options.expect);
            out.maybe(options.lease, |out, lease| {
                out.wide(lease.0);
            });
        }
        TransactionOp::Delete {
            key,
            expect: wanted,
        } => expect(out.byte(2).text(key), *wanted),
        TransactionOp::Check {
            key,
            expect: wanted,
        } => expect(out.byte(3).text(key), *wanted),
        // Refused where it comes in; read as malformed.
        _ => drop(out.byte(0)),
    });
}

pub(in super::super) fn read_steps(from: &mut Reader) -> Result<Vec<TransactionOp>> {
    from.list(10, |from| {
        Ok(match from.byte()? {
            1 => {
                let key = from.text()?;
                // A value that goes on living must not keep a whole message with it.
                let value = Bytes::copy_from_slice(&from.bytes()?);
                let mut options = PutOptions::default().with_expect(read_expect(from)?);
                options.lease = from.maybe(Reader::wide)?.map(LeaseId);
                TransactionOp::Put {
                    key,
                    value,
                    options,
                }
            }
            2 => TransactionOp::delete(from.text()?, read_expect(from)?),
            3 => TransactionOp::check(from.text()?, read_expect(from)?),
            _ => return Err(malformed()),
        })
    })
}

fn expect(out: &mut Writer, expect: Expect) {
    match expect {
        Expect::Any => out.byte(0),
        Expect::Absent => out.byte(1),
        Expect::Revision(revision) => out.byte(2).number(revision.0),
    };
}

fn read_expect(from: &mut Reader) -> Result<Expect> {
    match from.byte()? {
        0 => Ok(Expect::Any),
        1 => Ok(Expect::Absent),
        2 => Ok(Expect::Revision(Revision(from.number()?))),
        _ => Err(malformed()),
    }
}

/// Of commands in the log.
const VERSION: u8 = 1;
