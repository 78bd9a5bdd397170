//! The rules of [`AuditSink`].

use crate::testkit::suite::does_not_apply;
use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use futures::future;

use crate::{
    Action, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, Identity, Labels, Target, Timestamp,
};

/// What an audit sink's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A sink with an empty log. Every call gives a new one; all of them chain alike.
    async fn fresh(&self) -> Arc<dyn AuditSink>;

    /// The same log opened again after its process ended; `None` for a log that does not outlive it.
    async fn reopened(&self, _sink: Arc<dyn AuditSink>) -> Option<Arc<dyn AuditSink>> {
        None
    }
}

/// Makes one test of each rule for the harness: `audit_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! audit_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            audit,
            $harness,
            [
                numbers_rise_by_one_from_zero,
                the_hash_is_long_lower_case_hexadecimal,
                the_same_records_give_the_same_hashes,
                the_same_record_twice_gives_two_hashes,
                every_field_counts,
                fields_do_not_run_into_each_other,
                a_changed_record_changes_every_later_hash,
                a_removed_record_changes_every_later_hash,
                reordered_records_change_every_later_hash,
                concurrent_writers_lose_nothing,
                the_chain_goes_on_after_reopening,
            ]
        );
    };
}

fn event(number: u64) -> AuditEvent {
    let target = Target::new("container", format!("web-{number}"))
        .with_labels(Labels::new().with("zone", "eu"));
    AuditEvent::new(
        Timestamp::from_secs(1_790_000_000 + number),
        Identity::new("alice", "tls"),
        Action::Write,
        "POST /containers/create",
        target,
        AuditOutcome::Done,
    )
    .with_node("node-1")
}

async fn write(sink: &Arc<dyn AuditSink>, event: AuditEvent) -> AuditReceipt {
    sink.record(event).await.expect("a sound record is taken")
}

async fn hashes<H: Harness>(harness: &H, events: &[AuditEvent]) -> Vec<String> {
    let sink = harness.fresh().await;
    let mut hashes = Vec::new();
    for event in events {
        hashes.push(write(&sink, event.clone()).await.hash);
    }
    hashes
}

/// 0, 1, 2, …: a gap is a missing record.
pub async fn numbers_rise_by_one_from_zero<H: Harness>(harness: &H) {
    let sink = harness.fresh().await;
    for number in 0..20 {
        assert_eq!(write(&sink, event(number)).await.sequence, number);
    }
}

/// At least 256 bits, in the form that the trait names.
pub async fn the_hash_is_long_lower_case_hexadecimal<H: Harness>(harness: &H) {
    let hash = write(&harness.fresh().await, event(0)).await.hash;
    assert!(hash.len() >= 64, "{hash}: a chain needs at least 256 bits");
    assert!(
        hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{hash}"
    );
}

/// Anybody can compute the chain again from the records.
pub async fn the_same_records_give_the_same_hashes<H: Harness>(harness: &H) {
    let events: Vec<_> = (0..10).map(event).collect();
    assert_eq!(
        hashes(harness, &events).await,
        hashes(harness, &events).await
    );
}

/// The place in the chain counts, not the record alone.
pub async fn the_same_record_twice_gives_two_hashes<H: Harness>(harness: &H) {
    let found = hashes(harness, &[event(0), event(0)]).await;
    assert_ne!(found[0], found[1]);
}

/// One change of a record.
type Change = fn(&mut AuditEvent);

/// Whatever is changed in a record changes its hash.
pub async fn every_field_counts<H: Harness>(harness: &H) {
    let changes: [(&str, Change); 11] = [
        ("at", |event| event.at = Timestamp::from_secs(1)),
        ("who.subject", |event| {
            event.who.subject = "mallory".to_owned();
        }),
        ("who.proof", |event| event.who.proof = "token".to_owned()),
        ("action", |event| event.action = Action::Read),
        ("operation", |event| {
            event.operation = "GET /info".to_owned();
        }),
        ("target.kind", |event| {
            event.target.kind = "image".to_owned();
        }),
        ("target.name", |event| event.target.name = "db".to_owned()),
        ("target.labels", |event| {
            event.target.labels.insert("zone", "us");
        }),
        ("node", |event| event.node = None),
        ("outcome", |event| {
            event.outcome = AuditOutcome::Denied("policy".to_owned());
        }),
        ("outcome's reason", |event| {
            event.outcome = AuditOutcome::Denied("other".to_owned());
        }),
    ];
    let mut seen = BTreeSet::from([hashes(harness, &[event(0)]).await.remove(0)]);
    for (field, change) in changes {
        let mut changed = event(0);
        change(&mut changed);
        let hash = hashes(harness, &[changed]).await.remove(0);
        assert!(seen.insert(hash), "another {field} gives the same hash");
    }
}

/// Moving a character from one field to the next changes the hash.
pub async fn fields_do_not_run_into_each_other<H: Harness>(harness: &H) {
    let mut left = event(0);
    left.target.kind = "image".to_owned();
    left.target.name = "ab".to_owned();
    let mut right = event(0);
    right.target.kind = "imagea".to_owned();
    right.target.name = "b".to_owned();
    assert_ne!(
        hashes(harness, &[left]).await,
        hashes(harness, &[right]).await
    );

    let mut label = event(0);
    label.target.labels = Labels::new().with("a", "b=c");
    let mut other = event(0);
    other.target.labels = Labels::new().with("a=b", "c");
    assert_ne!(
        hashes(harness, &[label]).await,
        hashes(harness, &[other]).await
    );
}

/// Hashes before the change stay, all from there on differ.
#[track_caller]
fn differ_from(kept: &[String], changed: &[String], from: usize) {
    for (index, (kept, changed)) in kept.iter().zip(changed).enumerate() {
        assert_eq!(
            kept == changed,
            index < from,
            "record {index}, change at {from}"
        );
    }
}

/// Forging a record means forging all that follow.
pub async fn a_changed_record_changes_every_later_hash<H: Harness>(harness: &H) {
    let events: Vec<_> = (0..8).map(event).collect();
    let mut forged = events.clone();
    forged[3].who.subject = "mallory".to_owned();
    differ_from(
        &hashes(harness, &events).await,
        &hashes(harness, &forged).await,
        3,
    );
}

/// Taking a record out shows in all that follow.
pub async fn a_removed_record_changes_every_later_hash<H: Harness>(harness: &H) {
    let events: Vec<_> = (0..8).map(event).collect();
    let mut shorter = events.clone();
    shorter.remove(3);
    differ_from(
        &hashes(harness, &events).await,
        &hashes(harness, &shorter).await,
        3,
    );
    let kept: BTreeSet<_> = hashes(harness, &events).await.into_iter().skip(3).collect();
    let after = hashes(harness, &shorter).await;
    assert!(
        after[3..].iter().all(|hash| !kept.contains(hash)),
        "a later hash survived"
    );
}

/// Swapping records shows in all that follow.
pub async fn reordered_records_change_every_later_hash<H: Harness>(harness: &H) {
    let events: Vec<_> = (0..8).map(event).collect();
    let mut swapped = events.clone();
    swapped.swap(2, 3);
    differ_from(
        &hashes(harness, &events).await,
        &hashes(harness, &swapped).await,
        2,
    );
}

/// A hundred writers at once: every record has its own number and its own hash.
pub async fn concurrent_writers_lose_nothing<H: Harness>(harness: &H) {
    let sink = harness.fresh().await;
    let writers = (0..100).map(|number| {
        let sink = sink.clone();
        tokio::spawn(async move { write(&sink, event(number)).await })
    });
    let receipts: Vec<AuditReceipt> = future::join_all(writers)
        .await
        .into_iter()
        .map(|receipt| receipt.expect("no writer panics"))
        .collect();
    let numbers: BTreeSet<u64> = receipts.iter().map(|receipt| receipt.sequence).collect();
    assert_eq!(numbers, (0..100).collect());
    let hashes: BTreeSet<&str> = receipts
        .iter()
        .map(|receipt| receipt.hash.as_str())
        .collect();
    assert_eq!(hashes.len(), 100);
    assert_eq!(write(&sink, event(100)).await.sequence, 100);
}

/// A log that outlives its process continues its numbers and its chain.
pub async fn the_chain_goes_on_after_reopening<H: Harness>(harness: &H) {
    let events: Vec<_> = (0..6).map(event).collect();
    let whole = hashes(harness, &events).await;
    let sink = harness.fresh().await;
    for event in &events[..3] {
        write(&sink, event.clone()).await;
    }
    let Some(sink) = harness.reopened(sink).await else {
        return does_not_apply("nothing of it outlives its process");
    };
    for (index, event) in events.iter().enumerate().skip(3) {
        let receipt = write(&sink, event.clone()).await;
        assert_eq!(
            (receipt.sequence, &receipt.hash),
            (index as u64, &whole[index])
        );
    }
}
