//! Which operations a step is. Pure.

use longshore_core::{Error, Expect, Result, TransactionOp};

use super::{
    session,
    wire::{KvOperation, Operation, encode},
};
use crate::{kv_step, store::KeyPath};

/// A transaction takes 64 operations (Consul's `maxTxnOps`), and a step at most three.
pub(super) const MOST_STEPS: usize = 21;

/// A transaction, with what each operation is for.
pub(super) struct Plan {
    pub(super) operations: Vec<Operation>,
    pub(super) purposes: Vec<Purpose>,
    /// Whether a key is written: only then the answer has the transaction's own index in it.
    pub(super) puts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Condition,
    Write,
    /// A write that needs its lease.
    Tie,
}

/// A key is deleted before it is written again: that takes it off whatever session held it, and makes
/// a change of the same value, which Consul would otherwise take for none.
pub(super) fn of(steps: &[TransactionOp]) -> Result<Plan> {
    let mut plan = Plan {
        operations: Vec::new(),
        purposes: Vec::new(),
        puts: false,
    };
    for step in steps {
        let key = KeyPath::encode(kv_step::key(step));
        let mut add = |purpose, kv: KvOperation| {
            plan.purposes.push(purpose);
            plan.operations.push(Operation {
                kv: KvOperation {
                    key: key.clone(),
                    ..kv
                },
            });
        };
        let expect = kv_step::expect(step);
        let condition = match expect {
            Expect::Any => None,
            Expect::Absent => Some(("check-not-exists", None)),
            Expect::Revision(revision) => Some(("check-index", Some(revision.0))),
        };
        if let Some((verb, index)) = condition {
            let check = KvOperation {
                verb,
                index,
                ..KvOperation::default()
            };
            add(Purpose::Condition, check);
        }
        if matches!(step, TransactionOp::Check { .. }) {
            continue;
        }
        if expect != Expect::Absent {
            let delete = KvOperation {
                verb: "delete",
                ..KvOperation::default()
            };
            add(Purpose::Write, delete);
        }
        match step {
            TransactionOp::Put { value, options, .. } => {
                let (purpose, verb) = match options.lease {
                    Some(_) => (Purpose::Tie, "lock"),
                    None => (Purpose::Write, "set"),
                };
                let write = KvOperation {
                    verb,
                    value: Some(encode(value)),
                    session: options.lease.map(session::format),
                    ..KvOperation::default()
                };
                add(purpose, write);
                plan.puts = true;
            }
            TransactionOp::Delete { .. } | TransactionOp::Check { .. } => {}
            _ => return Err(Error::unsupported("a step that this store does not know")),
        }
    }
    Ok(plan)
}
