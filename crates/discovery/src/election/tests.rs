//! The driver over the store in memory, on paused time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore_core::{
    Clock, ClockExt, ErrorKind, Expect, KvStore, PutOptions, SeededRandom, Shutdown, SystemClock,
    decorate::{Fault, Faulty, LayerExt},
};

use super::*;
use crate::MemoryKv;

const TTL: Duration = Duration::from_secs(9);
const KEY: &str = "docker/swarm/leader";

struct Lab {
    clock: Arc<dyn Clock>,
    store: Arc<MemoryKv>,
}

struct Member {
    election: Election,
    shutdown: Shutdown,
}

impl Lab {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Arc::new(MemoryKv::new(clock.clone()));
        Self { clock, store }
    }

    fn start(&self, store: Arc<dyn KvStore>, options: ElectionOptions) -> Member {
        let random = Arc::new(SeededRandom::new(options.key.len() as u64));
        let election = Election::new(store, options, self.clock.clone(), random).unwrap();
        let (shutdown, running) = (Shutdown::new(), election.clone());
        let until = shutdown.clone();
        shutdown.spawn(async move { running.run(&until).await });
        Member { election, shutdown }
    }

    fn candidate(&self, address: &str) -> Member {
        let options = ElectionOptions::candidate("", address).with_ttl(TTL);
        self.start(self.store.clone(), options)
    }

    async fn pass(&self, by: Duration) {
        self.clock.sleep(by).await;
    }
}

impl Member {
    async fn resign(&self, lab: &Lab) {
        assert!(self.shutdown.finish(&*lab.clock, TTL).await);
    }
}

#[tokio::test(start_paused = true)]
async fn l1_key_and_value_are_swarms_and_observers_learn_the_leader() {
    let lab = Lab::new();
    let a = lab.candidate("10.0.0.1:4000");
    let watching = ElectionOptions::observer("").with_ttl(TTL);
    let observer = lab.start(lab.store.clone(), watching);
    let leadership = a.election.elected().await.unwrap();
    let entry = lab.store.get(KEY).await.unwrap().unwrap();
    assert_eq!(entry.value, "10.0.0.1:4000");
    assert!(entry.lease.is_some());
    assert_eq!(observer.election.leader().await, "10.0.0.1:4000");
    let error = observer.election.elected().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(leadership.check().unwrap(), leadership.token());
    assert_eq!(ElectionOptions::observer("/a/b/").key, format!("a/b/{KEY}"));
}

#[tokio::test(start_paused = true)]
async fn l5_a_clean_shutdown_frees_the_lock_at_once() {
    let lab = Lab::new();
    let a = lab.candidate("a:1");
    let first = a.election.elected().await.unwrap();
    let b = lab.candidate("b:1");
    lab.pass(TTL).await;
    assert!(b.election.leadership().is_none());
    let start = lab.clock.now();
    a.resign(&lab).await;
    assert_eq!(first.check().unwrap_err().kind(), ErrorKind::Stale);
    let second = b.election.elected().await.unwrap();
    assert!(lab.clock.now().since(start) < TTL / 10);
    assert!(second.token() > first.token());
}

#[tokio::test(start_paused = true)]
async fn l2_a_leader_that_cannot_renew_steps_down_before_its_lease_ends() {
    let lab = Lab::new();
    let store = Faulty::new(lab.clock.clone(), 1, Fault::refusing(1.0)).wrap(lab.store.clone());
    let faulty = store.layer();
    faulty.suspend();
    let a = lab.start(
        store.clone(),
        ElectionOptions::candidate("", "a:1").with_ttl(TTL),
    );
    let first = a.election.elected().await.unwrap();
    let b = lab.candidate("b:1");
    lab.pass(TTL * 3).await;
    assert!(first.is_valid(), "renewed");
    faulty.resume();
    first.ended().await;
    let entry = lab.store.get(KEY).await.unwrap().unwrap();
    assert_eq!(entry.value, "a:1", "it stepped down after its lease");
    let second = b.election.elected().await.unwrap();
    assert!(second.token() > first.token());
    assert!(a.election.state().last_error.is_some());
    // It learns who leads when it reaches the store again, without a restart.
    lab.pass(TTL).await;
    assert_eq!(a.election.state().leader, None, "nobody could be asked");
    faulty.suspend();
    assert_eq!(a.election.leader().await, "b:1");
}

/// L3: every write takes longer than is usually waited for, and less than the time to live allows.
#[tokio::test(start_paused = true)]
async fn l3_a_slow_store_has_a_leader_too() {
    let lab = Lab::new();
    let slow = Fault::none().with_latency(TTL / 5..=TTL / 4);
    let writes = ["kv.grant", "kv.put", "kv.keep_alive", "kv.revoke"];
    let faulty = Faulty::new(lab.clock.clone(), 1, Fault::none());
    let faulty = writes.into_iter().fold(faulty, |faulty, write| {
        faulty.with_fault(write, slow.clone())
    });
    let store = faulty.wrap(lab.store.clone());
    let options = ElectionOptions::candidate("", "a:1").with_ttl(TTL);
    let a = lab.start(store.clone(), options);
    let waited = lab
        .clock
        .timeout(TTL * 10, "a leader", a.election.elected());
    let first = waited.await.unwrap().unwrap();
    lab.pass(TTL * 20).await;
    assert!(first.is_valid(), "renewed as slowly");
}

#[tokio::test(start_paused = true)]
async fn l3_a_record_without_a_live_lease_counts_as_absent() {
    let lab = Lab::new();
    let stale = PutOptions::default();
    lab.store
        .put(KEY, Bytes::from("dead:1"), stale)
        .await
        .unwrap();
    let observer = lab.start(lab.store.clone(), ElectionOptions::observer(""));
    lab.pass(TTL).await;
    assert_eq!(observer.election.state().leader, None);
    let a = lab.candidate("a:1");
    a.election.elected().await.unwrap();
    assert_eq!(observer.election.leader().await, "a:1");
}

#[tokio::test(start_paused = true)]
async fn l3_a_record_that_was_deleted_or_replaced_ends_the_leadership() {
    let lab = Lab::new();
    let a = lab.candidate("a:1");
    let first = a.election.elected().await.unwrap();
    lab.store.delete(KEY, Expect::Any).await.unwrap();
    lab.pass(TTL / 10).await;
    assert!(!first.is_valid(), "the lease lives on, the record does not");
    let second = a.election.elected().await.unwrap();
    assert!(second.token() > first.token());
}

/// A watch that tells nothing any more, and a record that came loose from its lease: only the
/// reading that belongs to each renewal can find out.
#[test]
fn l3_a_renewal_counts_only_once_the_lock_was_read() {
    use super::{
        call::{Answer, Call, Input, Output},
        machine::Machine,
    };
    use longshore_core::{KvEntry, Lease, LeaseId, Revision, Timestamp};
    let at = |millis: u64| Timestamp::from_secs(1000).after(Duration::from_millis(millis));
    let options = ElectionOptions::candidate("", "a:1").with_ttl(TTL);
    let mut machine = Machine::new(options, Arc::new(SeededRandom::new(1)), at(0));
    let next = |machine: &mut Machine, answer: Option<Answer>, now| {
        if let Some(answer) = answer {
            machine.handle(Input::Answer(Ok(answer)), now);
        }
        while let Some(output) = machine.poll_output() {
            if let Output::Call(call) = output {
                return Some(call);
            }
        }
        None
    };
    let mut ours = KvEntry::new(KEY, "a:1", Revision(1));
    ours.lease = Some(LeaseId(7));
    let token = KvEntry::new("t", "41", Revision(9));
    assert_eq!(next(&mut machine, None, at(0)), Some(Call::ReadLock));
    let granted = Answer::Granted(Lease::new(LeaseId(7), TTL));
    for (answer, call) in [
        (Answer::Lock(None), Call::Grant),
        (
            granted,
            Call::TakeLock {
                lease: LeaseId(7),
                expect: Expect::Absent,
            },
        ),
        (Answer::Taken, Call::ReadToken),
    ] {
        assert_eq!(next(&mut machine, Some(answer), at(1)), Some(call));
    }
    let write = next(&mut machine, Some(Answer::Token(Some(token))), at(1));
    assert!(matches!(write, Some(Call::WriteToken { token, .. }) if token > 41));
    let confirm = next(&mut machine, Some(Answer::TokenWritten), at(1));
    assert_eq!(confirm, Some(Call::ReadLock));
    assert_eq!(machine.leading(at(1)), None, "not before it was confirmed");
    assert_eq!(
        next(&mut machine, Some(Answer::Lock(Some(ours.clone()))), at(1)),
        None
    );
    let (_, until) = machine.leading(at(1)).unwrap();
    machine.handle(Input::Tick, at(3400));
    assert_eq!(
        next(&mut machine, None, at(3400)),
        Some(Call::KeepAlive(LeaseId(7)))
    );
    let verify = next(&mut machine, Some(Answer::KeptAlive), at(3500));
    assert_eq!(verify, Some(Call::ReadLock));
    assert_eq!(machine.leading(at(3500)).unwrap().1, until, "not yet");
    next(&mut machine, Some(Answer::Lock(Some(ours))), at(3500));
    let longer = machine.leading(at(3500)).unwrap().1;
    assert_eq!(longer.since(until), Duration::from_millis(3399));
    machine.handle(Input::Tick, at(6900));
    next(&mut machine, None, at(6900));
    next(&mut machine, Some(Answer::KeptAlive), at(6900));
    next(&mut machine, Some(Answer::Lock(None)), at(6900));
    assert_eq!(machine.leading(at(6900)), None);
}

#[tokio::test(start_paused = true)]
async fn only_a_store_without_a_past_makes_the_first_leader_wait() {
    let lab = Lab::new();
    let start = lab.clock.now();
    let a = lab.candidate("a:1");
    a.election.elected().await.unwrap();
    assert!(lab.clock.now().since(start) >= TTL);
    a.resign(&lab).await;
    let start = lab.clock.now();
    let b = lab.candidate("b:1");
    b.election.elected().await.unwrap();
    assert!(lab.clock.now().since(start) < TTL / 10);

    let other = Lab::new();
    let options = ElectionOptions::candidate("", "c:1").with_new_store(NewStore::ActAtOnce);
    let c = other.start(other.store.clone(), options);
    let start = other.clock.now();
    c.election.elected().await.unwrap();
    assert!(other.clock.now().since(start) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_leads_no_more() {
    let lab = Lab::new();
    let options = ElectionOptions::candidate("", "a:1").with_ttl(TTL);
    let random = Arc::new(SeededRandom::new(1));
    let election = Election::new(lab.store.clone(), options, lab.clock.clone(), random).unwrap();
    let shutdown = Shutdown::new();
    let leadership = tokio::select! {
        leadership = election.elected() => leadership.unwrap(),
        _ = election.run(&shutdown) => unreachable!("nobody asked it to end"),
    };
    leadership.ended().await;
    assert!(!leadership.is_valid());
    assert_eq!(election.state().leading, None);
}

#[test]
fn bad_options_are_named() {
    let lab = Lab {
        clock: Arc::new(longshore_core::testkit::ManualClock::default()),
        store: Arc::new(MemoryKv::new(Arc::new(
            longshore_core::testkit::ManualClock::default(),
        ))),
    };
    let good = || ElectionOptions::candidate("", "a:1");
    for (options, text) in [
        (good().with_ttl(Duration::from_millis(5)), "100ms"),
        (good().with_margin(0.7), "0.7"),
        (good().with_margin(f64::NAN), "NaN"),
        (good().with_key(""), "1 to 512 bytes"),
        (ElectionOptions::candidate("", ""), "1 to 512 bytes"),
    ] {
        let random = Arc::new(SeededRandom::new(1));
        let error = Election::new(lab.store.clone(), options, lab.clock.clone(), random)
            .expect_err("out of bounds");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains(text), "{error}");
    }
}
