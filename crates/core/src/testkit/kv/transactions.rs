//! Several keys in one step.

use crate::testkit::suite::does_not_apply;
use bytes::Bytes;

use crate::{ErrorKind, Expect, PutOptions, TransactionOp};

use super::{Harness, steps::*};

fn put_step<H: Harness>(harness: &H, key: &str, options: PutOptions) -> TransactionOp {
    TransactionOp::put(at(harness, key), Bytes::from_static(b"new"), options)
}

fn delete_step<H: Harness>(harness: &H, key: &str, expect: Expect) -> TransactionOp {
    TransactionOp::delete(at(harness, key), expect)
}

fn check_step<H: Harness>(harness: &H, key: &str, expect: Expect) -> TransactionOp {
    TransactionOp::check(at(harness, key), expect)
}

/// When all conditions hold, all steps are done, and seen at the returned revision.
pub async fn a_transaction_does_all<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return does_not_apply("it has no transactions");
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
        return does_not_apply("it has no transactions");
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

/// A write can depend on keys that it leaves alone: on what they are, and on their absence.
pub async fn a_check_guards_the_other_steps<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return does_not_apply("it has no transactions");
    }
    let lease = grant(harness, &store).await;
    let leased = PutOptions::default().with_lease(lease.id);
    let old = put_with(harness, &store, "lock", "a", leased).await;
    let before = get(harness, &store, "lock").await;
    let guarded = |expect: Expect, absent: &str, key: &str| {
        vec![
            check_step(harness, "lock", expect),
            put_step(harness, key, PutOptions::default()),
            check_step(harness, absent, Expect::Absent),
        ]
    };
    let steps = guarded(Expect::Revision(old), "none", "x");
    let done = store.transact(steps).await.expect("both conditions hold");
    assert!(done > old, "{done:?} is not behind {old:?}");
    assert_eq!(get(harness, &store, "lock").await, before, "left alone");
    assert_eq!(get(harness, &store, "none").await, None);
    // A deletion alone tells no older revision, either.
    let steps = vec![
        check_step(harness, "lock", Expect::Revision(old)),
        delete_step(harness, "x", Expect::Any),
    ];
    assert!(store.transact(steps).await.expect("it holds") >= done);

    put(harness, &store, "x", "1").await;
    let new = put_with(harness, &store, "lock", "b", leased).await;
    let before = all(harness, &store).await.entries;
    for steps in [
        guarded(Expect::Revision(old), "none", "y"),
        guarded(Expect::Absent, "none", "y"),
        guarded(Expect::Revision(new), "x", "y"),
    ] {
        let shown = format!("{steps:?}");
        let error = store.transact(steps).await.expect_err(&shown);
        assert_eq!(error.kind(), ErrorKind::Conflict, "{shown}");
        assert_eq!(all(harness, &store).await.entries, before, "{shown}");
    }
    store.revoke(lease.id).await.expect("revoked");
    let steps = guarded(Expect::Revision(new), "none", "y");
    let error = store.transact(steps).await.expect_err("its lease ended");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(get(harness, &store, "y").await, None);
}

/// Nothing but conditions: they are looked at, and no key is another afterwards.
pub async fn a_check_alone_writes_nothing<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return does_not_apply("it has no transactions");
    }
    let old = put(harness, &store, "a", "1").await;
    let new = put(harness, &store, "a", "2").await;
    let before = all(harness, &store).await;
    for (key, expect, holds) in [
        ("a", Expect::Any, true),
        ("a", Expect::Revision(new), true),
        ("a", Expect::Revision(old), false),
        ("a", Expect::Absent, false),
        ("b", Expect::Any, true),
        ("b", Expect::Absent, true),
        ("b", Expect::Revision(new), false),
        ("c/d", Expect::Absent, true),
    ] {
        let done = store.transact(vec![check_step(harness, key, expect)]).await;
        match done {
            Ok(at) => assert!(holds && at >= new, "{key} {expect:?}: {at:?}"),
            Err(error) => {
                assert!(!holds, "{key} {expect:?}: {error}");
                assert_eq!(error.kind(), ErrorKind::Conflict);
            }
        }
    }
    assert_eq!(all(harness, &store).await.entries, before.entries);
    let mut watch = Reader::new(&store, &harness.prefix(), Some(before.revision))
        .knowing(at(harness, "a"), new);
    put(harness, &store, "z", "1").await;
    let seen = text(&watch.next().await);
    assert_eq!(seen, format!("{}=1", at(harness, "z")), "no other change");
}

/// Two steps on one key have no meaning that all stores share.
pub async fn a_key_twice_in_a_transaction_is_refused<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return does_not_apply("it has no transactions");
    }
    let steps = vec![
        put_step(harness, "a", PutOptions::default()),
        delete_step(harness, "a", Expect::Any),
    ];
    let error = store.transact(steps).await.expect_err("a key twice");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let steps = vec![
        check_step(harness, "a", Expect::Absent),
        put_step(harness, "a", PutOptions::default()),
    ];
    let error = store
        .transact(steps)
        .await
        .expect_err("checked and written");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(get(harness, &store, "a").await, None);
}

/// A store that has none says so, and its capabilities did before.
pub async fn without_transactions_they_are_unsupported<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if store.capabilities().transactions {
        return does_not_apply("it has transactions");
    }
    let steps = vec![put_step(harness, "a", PutOptions::default())];
    let error = store.transact(steps).await.expect_err("not offered");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(get(harness, &store, "a").await, None);
}
