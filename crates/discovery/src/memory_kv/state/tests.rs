use bytes::Bytes;
use longshore_core::PutOptions;
use proptest::prelude::*;

use super::*;

fn put(key: &str, value: &str) -> TransactionOp {
    TransactionOp::put(
        key,
        Bytes::copy_from_slice(value.as_bytes()),
        PutOptions::default(),
    )
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1000 + seconds)
}

#[test]
fn who_is_behind_the_history_must_read_again() {
    let mut state = State::new(KvLimits::default().with_history(3));
    for number in 0..5 {
        state.apply(vec![put("a", &number.to_string())]).unwrap();
    }
    assert!(matches!(
        state.changes_after(Revision(1), ""),
        Told::Forgotten {
            now_at: Revision(5)
        }
    ));
    let Told::Events { events, up_to } = state.changes_after(Revision(2), "") else {
        panic!("the last three changes are remembered");
    };
    assert_eq!((events.len(), up_to), (3, Revision(5)));
}

#[test]
fn a_revision_that_never_was_must_read_again() {
    let state = State::new(KvLimits::default());
    assert!(matches!(
        state.changes_after(Revision(9), ""),
        Told::Forgotten { .. }
    ));
}

#[test]
fn a_full_store_refuses_growth_and_takes_less() {
    let mut state = State::new(KvLimits::default().with_bytes(10));
    state.apply(vec![put("a", "12345678")]).unwrap();
    let error = state.apply(vec![put("b", "1")]).unwrap_err();
    assert_eq!(
        (error.kind(), state.bytes),
        (ErrorKind::ResourceExhausted, 9)
    );
    state.apply(vec![put("a", "1")]).unwrap();
    state.apply(vec![put("b", "1")]).unwrap();
}

#[test]
fn leases_are_bounded() {
    let mut state = State::new(KvLimits::default().with_leases(1));
    let lease = state.grant(Duration::from_secs(1), at(0)).unwrap();
    let error = state.grant(Duration::from_secs(1), at(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    state.revoke(lease.id);
    state.grant(Duration::from_secs(1), at(0)).unwrap();
}

#[test]
fn a_transaction_has_a_bounded_number_of_steps() {
    let mut state = State::new(KvLimits::default());
    let steps = |count: usize| (0..count).map(|n| put(&n.to_string(), "")).collect();
    state.apply(steps(128)).unwrap();
    assert_eq!(
        state.apply(steps(129)).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Option<u8>),
    Delete(u8),
    Grant(u8),
    KeepAlive(u8),
    Revoke(u8),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..6, proptest::option::of(0u8..4)).prop_map(|(key, lease)| Step::Put(key, lease)),
        (0u8..6).prop_map(Step::Delete),
        (1u8..10).prop_map(Step::Grant),
        (0u8..4).prop_map(Step::KeepAlive),
        (0u8..4).prop_map(Step::Revoke),
        (0u8..5).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Whoever applies the changes of a watch has what the store has; sizes add up; no key outlives
    /// its lease.
    #[test]
    fn changes_add_up_to_the_state(steps in proptest::collection::vec(step(), 0..80)) {
        let mut state = State::new(KvLimits::default());
        let (mut leases, mut now) = (Vec::<LeaseId>::new(), at(0));
        for step in steps {
            state.expire(now);
            let lease = |number: u8| leases.get(usize::from(number)).copied();
            match step {
                Step::Put(key, number) => {
                    let options = PutOptions::default();
                    let options = match number.and_then(lease) {
                        Some(id) => options.with_lease(id),
                        None => options,
                    };
                    let (key, value) = (key.to_string(), Bytes::from_static(b"value"));
                    // Refused when the lease has ended.
                    let _ = state.apply(vec![TransactionOp::Put { key, value, options }]);
                }
                Step::Delete(key) => {
                    let key = key.to_string();
                    state.apply(vec![TransactionOp::Delete { key, expect: Expect::Any }]).unwrap();
                }
                Step::Grant(seconds) => {
                    let ttl = Duration::from_secs(seconds.into());
                    leases.push(state.grant(ttl, now).unwrap().id);
                }
                Step::KeepAlive(number) => {
                    if let Some(id) = lease(number) {
                        let _ = state.keep_alive(id, now);
                    }
                }
                Step::Revoke(number) => {
                    if let Some(id) = lease(number) {
                        state.revoke(id);
                    }
                }
                Step::Pass(seconds) => now = now.after(Duration::from_secs(seconds.into())),
            }
        }
        state.expire(now);
        let Told::Events { events, up_to } = state.changes_after(Revision(0), "") else {
            panic!("a short history is not forgotten");
        };
        prop_assert_eq!(up_to, state.revision());
        let mut seen = BTreeMap::new();
        let mut last = Revision(0);
        for event in events {
            let revision = match event {
                KvEvent::Put(entry) => {
                    let revision = entry.revision;
                    seen.insert(entry.key.clone(), entry);
                    revision
                }
                KvEvent::Deleted { key, revision } => {
                    prop_assert!(seen.remove(&key).is_some(), "{} deleted twice", key);
                    revision
                }
                other => panic!("{other:?}"),
            };
            prop_assert!(revision > last);
            last = revision;
        }
        prop_assert_eq!(&seen, &state.entries);
        prop_assert_eq!(state.bytes, state.entries.values().map(size).sum::<usize>());
        for entry in state.entries.values() {
            if let Some(lease) = entry.lease {
                prop_assert!(state.leases.check(lease).is_ok());
            }
        }
        prop_assert!(state.next_deadline().is_none_or(|ends| ends > now));
    }
}
