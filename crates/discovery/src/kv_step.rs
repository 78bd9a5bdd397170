//! What makes a step wrong, whatever the store holds. Pure.

use std::collections::BTreeSet;

use longshore_core::{Error, KvCapabilities, Result, TransactionOp};

const LONGEST_KEY: usize = 1024;

/// Checks keys, values and their number against what a store can do.
pub(crate) fn check(steps: &[TransactionOp], can: &KvCapabilities) -> Result<()> {
    let (most_steps, largest) = (can.most_steps, can.largest_value);
    if steps.len() > most_steps {
        let message = format!(
            "a transaction has at most {most_steps} steps, not {}",
            steps.len()
        );
        return Err(Error::invalid(message));
    }
    let mut keys = BTreeSet::new();
    for step in steps {
        let key = key(step);
        check_key(key)?;
        if !keys.insert(key) {
            return Err(Error::invalid("a transaction has one step for a key")
                .with_context("key", shown(key)));
        }
        if let TransactionOp::Put { value, .. } = step
            && value.len() > largest
        {
            return Err(
                Error::invalid(format!("a value has at most {largest} bytes"))
                    .with_context("key", shown(key))
                    .with_context("bytes", value.len()),
            );
        }
    }
    Ok(())
}

pub(crate) fn key(step: &TransactionOp) -> &str {
    match step {
        TransactionOp::Put { key, .. }
        | TransactionOp::Delete { key, .. }
        | TransactionOp::Check { key, .. } => key,
        // `TransactionOp` may grow; the empty key is refused.
        _ => "",
    }
}

#[cfg(any(
    feature = "etcd",
    feature = "consul",
    feature = "zookeeper",
    feature = "redb"
))]
pub(crate) fn expect(step: &TransactionOp) -> longshore_core::Expect {
    match step {
        TransactionOp::Put { options, .. } => options.expect,
        TransactionOp::Delete { expect, .. } | TransactionOp::Check { expect, .. } => *expect,
        _ => longshore_core::Expect::Any,
    }
}

fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > LONGEST_KEY || key.contains('\0') {
        let message = format!("a key has 1 to {LONGEST_KEY} bytes and no NUL");
        return Err(Error::invalid(message).with_context("key", shown(key)));
    }
    Ok(())
}

fn shown(key: &str) -> String {
    key.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}
