//! What makes a step wrong, whatever the store holds. Pure.

use std::collections::BTreeSet;

use longshore_core::{Error, Result, TransactionOp};

const MOST_STEPS: usize = 128;
const LONGEST_KEY: usize = 1024;
const LARGEST_VALUE: usize = 1 << 20;

/// Checks keys, values and their number.
pub(super) fn check(steps: &[TransactionOp]) -> Result<()> {
    if steps.len() > MOST_STEPS {
        let message = format!(
            "a transaction has at most {MOST_STEPS} steps, not {}",
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
            && value.len() > LARGEST_VALUE
        {
            return Err(
                Error::invalid(format!("a value has at most {LARGEST_VALUE} bytes"))
                    .with_context("key", shown(key))
                    .with_context("bytes", value.len()),
            );
        }
    }
    Ok(())
}

pub(super) fn key(step: &TransactionOp) -> &str {
    match step {
        TransactionOp::Put { key, .. } | TransactionOp::Delete { key, .. } => key,
        // `TransactionOp` may grow; the empty key is refused.
        _ => "",
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
