//! Several keys in one step.

use bytes::Bytes;

use crate::{ErrorKind, Expect, PutOptions, TransactionOp};

use super::{Harness, steps::*};

fn put_step<H: Harness>(harness: &H, key: &str, options: PutOptions) -> TransactionOp {
    TransactionOp::Put {
        key: at(harness, key),
        value: Bytes::from_static(b"new"),
        options,
    }
}

fn delete_step<H: Harness>(harness: &H, key: &str, expect: Expect) -> TransactionOp {
    TransactionOp::Delete {
        key: at(harness, key),
        expect,
    }
}

/// When all conditions hold, all steps are done, and seen at the returned revision.
pub async fn a_transaction_does_all<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let old = put(harness, &store, "a", "1").await;
    put(harness, &store, "b", "1").await;
    let steps = vec![
        put_step(harness, "a", if_at(old)),
        delete_step(harness, "b", Expect::Any),
        put_step(harness, "c", if_absent()),
    ];
    let done = store.transact(steps).await.expect("all conditions hold");
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), [at(harness, "a"), at(harness, "c")]);
    assert!(
        range
            .entries
            .iter()
            .all(|entry| entry.value == "new" && entry.revision > old)
    );
    assert!(done > old && range.revision >= done);
}

/// One false condition, wherever it stands, and nothing is done.
pub async fn a_transaction_does_nothing_if_one_condition_fails<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let old = put(harness, &store, "a", "1").await;
    put(harness, &store, "a", "2").await;
    put(harness, &store, "b", "1").await;
    let before = all(harness, &store).await;
    for place in 0..3 {
        let mut steps = vec![
            put_step(harness, "c", if_absent()),
            delete_step(harness, "b", Expect::Any),
        ];
        steps.insert(place, put_step(harness, "a", if_at(old)));
        let error = store.transact(steps).await.expect_err("a false condition");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let after = all(harness, &store).await;
        assert_eq!(
            (after.entries, after.revision),
            (before.entries.clone(), before.revision)
        );
    }
}

/// Two steps on one key have no meaning that all stores share.
pub async fn a_key_twice_in_a_transaction_is_refused<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let steps = vec![
        put_step(harness, "a", PutOptions::default()),
        delete_step(harness, "a", Expect::Any),
    ];
    let error = store.transact(steps).await.expect_err("a key twice");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(get(harness, &store, "a").await, None);
}

/// A store that has none says so, and its capabilities did before.
pub async fn without_transactions_they_are_unsupported<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if store.capabilities().transactions {
        return;
    }
    let steps = vec![put_step(harness, "a", PutOptions::default())];
    let error = store.transact(steps).await.expect_err("not offered");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(get(harness, &store, "a").await, None);
}
