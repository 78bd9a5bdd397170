//! Steps as the operations of one `multi`, given what the znodes are now. Pure.

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, Expect, Result, TransactionOp};

use super::{
    node,
    wire::{Reader, Record, Stat, op},
};
use crate::kv_step;

/// A znode as it was read; `None` where there is none.
pub(super) type Found = Option<(Bytes, Stat)>;

/// A `multi`.
#[derive(Debug, Default)]
pub(super) struct Plan {
    operations: Vec<(i32, Record)>,
    pub(super) deleted: usize,
}

impl Plan {
    /// # Errors
    /// [`ErrorKind::Conflict`] when a condition does not hold.
    pub(super) fn of(
        steps: &[TransactionOp],
        found: &[Found],
        guard: i32,
        acl: &Acl,
    ) -> Result<Self> {
        let mut plan = Self::default();
        let (mut creates, mut conditional) = (false, false);
        for (step, found) in steps.iter().zip(found) {
            let (key, expect) = (kv_step::key(step), kv_step::expect(step));
            let is_key = found.as_ref().is_some_and(|(data, _)| !data.is_empty());
            let revision = found
                .as_ref()
                .filter(|_| is_key)
                .map(|(_, stat)| node::revision(stat.modified));
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => revision.is_none(),
                Expect::Revision(wanted) => revision == Some(wanted),
            };
            if !holds {
                let error = Error::new(ErrorKind::Conflict, "the key is not as expected");
                return Err(error
                    .with_context("key", key.escape_debug())
                    .with_backend("zookeeper"));
            }
            conditional |= expect != Expect::Any;
            let path = node::path(key);
            match step {
                TransactionOp::Put { value, options, .. } => {
                    let owner = options.lease.map_or(0, |lease| lease.0);
                    creates |= plan.put(&path, &node::data(value), owner, found, acl)?;
                }
                TransactionOp::Delete { .. } if is_key => plan.delete(&path, found),
                TransactionOp::Delete { .. } => {}
                TransactionOp::Check { expect, .. } => plan.check(&path, *expect, found),
                _ => return Err(Error::unsupported("a step that this store does not know")),
            }
        }
        if creates {
            let version = if conditional { guard } else { ANY };
            let raise = Record::default().text(node::GUARD).bytes(&[]).int(version);
            plan.operations.push((op::SET_DATA, raise));
        } else if conditional {
            let check = Record::default().text(node::GUARD).int(guard);
            plan.operations.push((op::CHECK, check));
        }
        Ok(plan)
    }

    /// Whether a znode is created.
    fn put(
        &mut self,
        path: &str,
        data: &[u8],
        owner: u128,
        found: &Found,
        acl: &Acl,
    ) -> Result<bool> {
        if let Some((_, stat)) = found {
            if u128::from(stat.owner.cast_unsigned()) == owner {
                let set = Record::default().text(path).bytes(data).int(stat.version);
                self.operations.push((op::SET_DATA, set));
                return Ok(false);
            }
            if stat.children > 0 {
                return Err(super::failure::of(-108).with_context("path", path));
            }
            // The owner of a znode is for life.
            let delete = Record::default().text(path).int(stat.version);
            self.operations.push((op::DELETE, delete));
        }
        let create = acl.write(Record::default().text(path).bytes(data));
        let create = create.int(i32::from(owner != 0));
        self.operations.push((op::CREATE, create));
        Ok(true)
    }

    fn delete(&mut self, path: &str, found: &Found) {
        let Some((_, stat)) = found else { return };
        self.deleted += 1;
        self.operations.push(match stat.children {
            0 => (op::DELETE, Record::default().text(path).int(stat.version)),
            // Keys below it: it stays as their directory.
            _ => (
                op::SET_DATA,
                Record::default().text(path).bytes(&[]).int(stat.version),
            ),
        });
    }

    /// What is found must still be there when the rest is done; what is not, the guard watches over.
    fn check(&mut self, path: &str, expect: Expect, found: &Found) {
        if let (Some((_, stat)), true) = (found, expect != Expect::Any) {
            let check = Record::default().text(path).int(stat.version);
            self.operations.push((op::CHECK, check));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    pub(super) fn record(&self) -> Record {
        let mut record = Record::default();
        for (kind, operation) in &self.operations {
            record = record.int(*kind).flag(false).int(-1);
            record.0.extend_from_slice(&operation.0);
        }
        record.int(-1).flag(true).int(-1)
    }
}

/// The error code of a `multi`, 0 when it was done: the answer's own code does not tell, the results
/// do. In one that failed, each is an error: 0 before the culprit, "inconsistent" behind it.
pub(super) fn outcome(reply: &mut Reader) -> Result<i32> {
    loop {
        let (kind, done, _) = (reply.int()?, reply.flag()?, reply.int()?);
        if done || kind != FAILED {
            return Ok(0);
        }
        let code = reply.int()?;
        if code != 0 && code != INCONSISTENT {
            return Ok(code);
        }
    }
}

/// The kind of a result that is an error.
const FAILED: i32 = -1;

/// `RUNTIMEINCONSISTENCY`: another operation of the `multi` failed.
const INCONSISTENT: i32 = -2;

/// Who may do what with the znodes that we make.
#[derive(Clone, Copy, Debug)]
pub(super) enum Acl {
    /// Anybody everything, as Swarm does.
    Open,
    /// Who has our user and password everything, others nothing.
    Creator,
}

impl Acl {
    pub(super) fn write(self, record: Record) -> Record {
        let (scheme, id) = match self {
            Self::Open => ("world", "anyone"),
            Self::Creator => ("auth", ""),
        };
        record.int(1).int(ALL).text(scheme).text(id)
    }
}

const ALL: i32 = 31;

/// Whatever the version is.
const ANY: i32 = -1;
