//! What each decorator does, and that it does nothing else.
#![cfg(feature = "testkit")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future};
use longshore_core::{
    AttachRequest, Backoff, BoxByteStream, Carrier, Cleanup, Clock, ClockExt, Discovery, Engine,
    Error, ErrorKind, ExecBackend, ExecRequest, ExecSession, KvStore, Membership, PutOptions,
    Result, Revision, SeededRandom, StreamTarget, SystemClock, TunnelTransport, WorkloadId,
    decorate::{Fault, Faulty, LayerExt, Retry, Timeout, Traced},
    testkit::mocks::{MockCarrier, MockDiscovery, MockEngine, MockKvStore, MockTunnelTransport},
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn retry(attempts: u32) -> Retry {
    Retry::new(clock(), Arc::new(SeededRandom::new(1)))
        .with_attempts(NonZeroU32::new(attempts).unwrap())
        .with_backoff(Backoff::new(
            Duration::from_millis(100),
            Duration::from_secs(1),
        ))
}

/// A store whose reads fail this often before they succeed.
fn failing_reads(times: usize, kind: ErrorKind) -> (Arc<dyn KvStore>, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut mock = MockKvStore::new();
    let counted = calls.clone();
    mock.expect_get().returning(move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) < times {
            return Err(Error::new(kind, "not now"));
        }
        Ok(None)
    });
    (Arc::new(mock), calls)
}

mod retry {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_is_made_again_until_it_succeeds() {
        let (store, calls) = failing_reads(3, ErrorKind::Unavailable);
        let start = tokio::time::Instant::now();
        retry(5).wrap(store).get("a").await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        let waited = start.elapsed();
        assert!(
            waited >= Duration::from_millis(10 + 20 + 40),
            "{waited:?}: no pauses"
        );
        assert!(
            waited <= Duration::from_millis(100 + 200 + 400 + 3),
            "{waited:?}: long pauses"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_bounded_and_counted_in_the_error() {
        let (store, calls) = failing_reads(usize::MAX, ErrorKind::Unavailable);
        let error = retry(3).wrap(store).get("a").await.unwrap_err();
        assert_eq!(calls.load(Ordering::Relaxed), 3);
        assert_eq!(
            (error.kind(), error.context("attempts")),
            (ErrorKind::Unavailable, Some("3"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_is_final_is_returned_at_once() {
        let (store, calls) = failing_reads(usize::MAX, ErrorKind::PermissionDenied);
        let error = retry(5).wrap(store).get("a").await.unwrap_err();
        assert_eq!(
            (calls.load(Ordering::Relaxed), error.kind()),
            (1, ErrorKind::PermissionDenied)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_never_made_twice() {
        let mut mock = MockKvStore::new();
        mock.expect_put()
            .times(1)
            .returning(|_, _, _| Err(Error::unavailable("lost")));
        mock.expect_transact()
            .times(1)
            .returning(|_| Err(Error::unavailable("lost")));
        mock.expect_delete()
            .times(1)
            .returning(|_, _| Err(Error::unavailable("lost")));
        mock.expect_grant()
            .times(1)
            .returning(|_| Err(Error::unavailable("lost")));
        let store = retry(5).wrap(Arc::new(mock));
        store
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap_err();
        store.transact(Vec::new()).await.unwrap_err();
        store
            .delete("a", longshore_core::Expect::Any)
            .await
            .unwrap_err();
        store.grant(Duration::from_secs(1)).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_never_creates_kills_removes_or_renames_twice() {
        let id = WorkloadId::new("c1").unwrap();
        let mut mock = MockEngine::new();
        let lost = || Error::unavailable("lost");
        mock.expect_create()
            .times(1)
            .returning(move |_| Err(lost()));
        mock.expect_kill()
            .times(1)
            .returning(move |_, _| Err(lost()));
        mock.expect_remove()
            .times(1)
            .returning(move |_, _| Err(lost()));
        mock.expect_rename()
            .times(1)
            .returning(move |_, _| Err(lost()));
        mock.expect_start().times(5).returning(move |_| Err(lost()));
        let engine = retry(5).wrap(Arc::new(mock));
        let name = longshore_core::WorkloadName::new("web").unwrap();
        engine
            .create(&longshore_core::WorkloadSpec::new("host"))
            .await
            .unwrap_err();
        engine
            .kill(&id, longshore_core::Signal::TERM)
            .await
            .unwrap_err();
        engine
            .remove(&id, longshore_core::RemoveOptions::default())
            .await
            .unwrap_err();
        engine.rename(&id, &name).await.unwrap_err();
        engine.start(&id).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_call_ends_the_tries() {
        let (store, calls) = failing_reads(usize::MAX, ErrorKind::Unavailable);
        let store = retry(1000).wrap(store);
        let limited = clock();
        limited
            .timeout(Duration::from_millis(150), "test", store.get("a"))
            .await
            .unwrap_err();
        let made = calls.load(Ordering::Relaxed);
        limited.sleep(Duration::from_secs(60)).await;
        assert_eq!(calls.load(Ordering::Relaxed), made);
    }
}

mod timeout {
    use super::*;

    /// A store whose calls take this long.
    #[derive(Debug)]
    struct Slow(Duration);

    fn slow(duration: Duration) -> Arc<dyn Discovery> {
        let mut mock = MockDiscovery::new();
        mock.expect_list().returning(|| Ok(Membership::default()));
        let latency = Fault::none().with_latency(duration..=duration);
        Faulty::new(clock(), 1, latency).wrap(Arc::new(mock))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_too_slow_is_named() {
        let discovery =
            Timeout::new(clock(), Duration::from_secs(1)).wrap(slow(Duration::from_secs(2)));
        let error = discovery.list().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.operation(), Some("discovery.list"));
        assert!(error.message().contains("discovery.list"), "{error}");
        assert!(error.is_retryable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_in_time_passes() {
        let discovery =
            Timeout::new(clock(), Duration::from_secs(3)).wrap(slow(Duration::from_secs(2)));
        discovery.list().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_operation_can_have_another_limit() {
        let limits = Timeout::new(clock(), Duration::from_secs(1))
            .with_limit("discovery.list", Duration::from_secs(5));
        limits
            .wrap(slow(Duration::from_secs(2)))
            .list()
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_write_has_an_unknown_outcome_and_is_not_retryable() {
        let mut mock = MockKvStore::new();
        mock.expect_put().returning(|_, _, _| Ok(Revision(1)));
        let latency = Duration::from_secs(2)..=Duration::from_secs(2);
        let slow =
            Faulty::new(clock(), 1, Fault::none().with_latency(latency)).wrap(Arc::new(mock));
        let store = Timeout::new(clock(), Duration::from_secs(1)).wrap(slow);
        let error = store
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Timeout, false)
        );
        assert_eq!(error.context("outcome"), Some("unknown"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_has_its_grace_on_top_and_a_wait_has_no_limit() {
        let mut mock = MockEngine::new();
        mock.expect_stop().returning(|_, _| Ok(()));
        mock.expect_wait()
            .returning(|_| Ok(longshore_core::ExitStatus::exited(0)));
        let latency = Duration::from_secs(8)..=Duration::from_secs(8);
        let slow =
            Faulty::new(clock(), 1, Fault::none().with_latency(latency)).wrap(Arc::new(mock));
        let engine = Timeout::new(clock(), Duration::from_secs(1)).wrap(slow);
        let id = WorkloadId::new("c1").unwrap();
        engine.stop(&id, Duration::from_secs(10)).await.unwrap();
        engine.wait(&id).await.unwrap();
        engine.stop(&id, Duration::from_secs(2)).await.unwrap_err();
    }

    #[test]
    fn layers_show_what_they_are() {
        let layer = Timeout::new(clock(), Duration::from_secs(1));
        let decorated = layer.wrap(Arc::new(Slow(Duration::ZERO)));
        assert!(format!("{decorated:?}").contains("Slow"), "{decorated:?}");
        assert_eq!(decorated.inner().0, Duration::ZERO);
    }
}

mod faulty {
    use super::*;

    fn store() -> (Arc<MockKvStore>, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let mut mock = MockKvStore::new();
        mock.expect_put()
            .returning(move |_, _, _| Ok(Revision(counted.fetch_add(1, Ordering::Relaxed) as u64)));
        mock.expect_get().returning(|_| Ok(None));
        (Arc::new(mock), calls)
    }

    async fn outcomes(seed: u64) -> Vec<bool> {
        let store = Faulty::new(clock(), seed, Fault::refusing(0.5)).wrap(store().0);
        let calls = (0..64).map(|_| store.get("a"));
        future::join_all(calls)
            .await
            .iter()
            .map(Result::is_ok)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_seed_gives_the_same_faults() {
        let first = outcomes(7).await;
        assert_eq!(first, outcomes(7).await);
        assert_ne!(first, outcomes(8).await);
        let failed = first.iter().filter(|ok| !**ok).count();
        assert!((16..48).contains(&failed), "{failed} of 64 at one half");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_call_has_no_effect_and_a_lost_one_has() {
        let (inner, calls) = store();
        let faulty = Faulty::new(clock(), 1, Fault::refusing(1.0)).wrap(inner.clone());
        faulty
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap_err();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let faulty = Faulty::new(clock(), 1, Fault::none().with_lost(1.0)).wrap(inner);
        faulty
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap_err();
        assert_eq!(
            (calls.load(Ordering::Relaxed), faulty.layer().injected()),
            (1, 1)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_set_by_operation_and_can_be_suspended() {
        let fault = Fault::refusing(1.0).with_kind(ErrorKind::ResourceExhausted);
        let faulty = Faulty::new(clock(), 1, Fault::none()).with_fault("kv.get", fault);
        let store = faulty.wrap(store().0);
        store
            .put("a", "1".into(), PutOptions::default())
            .await
            .unwrap();
        assert_eq!(
            store.get("a").await.unwrap_err().kind(),
            ErrorKind::ResourceExhausted
        );
        store.layer().suspend();
        store.get("a").await.unwrap();
        store.layer().resume();
        store.get("a").await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn latency_lies_within_its_range() {
        let latency = Duration::from_millis(50)..=Duration::from_millis(90);
        let store = Faulty::new(clock(), 3, Fault::none().with_latency(latency)).wrap(store().0);
        for _ in 0..32 {
            let start = tokio::time::Instant::now();
            store.get("a").await.unwrap();
            let took = start.elapsed();
            // tokio's timer works in whole milliseconds, rounded up.
            assert!((50..=92).contains(&took.as_millis()), "{took:?}");
        }
    }
}

mod traced {
    use super::*;
    use tracing::{
        Event, Metadata, Subscriber, field, span,
        subscriber::{Interest, set_default},
    };

    /// Writes down the fields of spans and events.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl field::Visit for Notes {
        fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push(format!("{field}={value:?}"));
        }
    }

    impl Subscriber for Notes {
        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            Interest::sometimes()
        }
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("longshore_core")
        }
        fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
            attributes.record(&mut self.clone());
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, values: &span::Record<'_>) {
            values.record(&mut self.clone());
        }
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    impl Notes {
        fn has(&self, note: &str) -> bool {
            self.0.lock().unwrap().iter().any(|found| found == note)
        }
    }

    fn traced(store: Arc<dyn KvStore>) -> Arc<dyn KvStore> {
        Traced::new(clock()).wrap(store)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_a_span_with_operation_subject_and_outcome() {
        let notes = Notes::default();
        let _guard = set_default(notes.clone());
        let (store, _) = failing_reads(1, ErrorKind::Unavailable);
        let store = traced(store);
        store.get("secret-free").await.unwrap_err();
        for note in [
            "operation=\"kv.get\"",
            "subject=secret-free",
            "outcome=\"unavailable\"",
            "error=not now",
        ] {
            assert!(notes.has(note), "{note} is missing in {:?}", notes.0);
        }
        store.get("a").await.unwrap();
        assert!(
            notes.has("outcome=\"ok\"") && notes.has("micros=0"),
            "{:?}",
            notes.0
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_says_so() {
        let notes = Notes::default();
        let _guard = set_default(notes.clone());
        let (store, _) = failing_reads(0, ErrorKind::Unavailable);
        let hour = Duration::from_secs(3600);
        let slow = Faulty::new(clock(), 1, Fault::none().with_latency(hour..=hour)).wrap(store);
        assert!(traced(slow).get("a").now_or_never().is_none());
        assert!(notes.has("outcome=\"dropped\""), "{:?}", notes.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_not_recorded() {
        let notes = Notes::default();
        let _guard = set_default(notes.clone());
        let mut mock = MockKvStore::new();
        mock.expect_put().returning(|_, _, _| Ok(Revision(1)));
        let store = traced(Arc::new(mock));
        store
            .put("a", "pa55word".into(), PutOptions::default())
            .await
            .unwrap();
        assert!(notes.has("operation=\"kv.put\""));
        assert!(
            !format!("{:?}", notes.0).contains("pa55word"),
            "{:?}",
            notes.0
        );
    }
}

mod transport {
    use super::*;

    /// A transport whose carriers open streams, counting what was asked of them.
    fn transport(opened: &Arc<AtomicUsize>) -> Arc<dyn TunnelTransport> {
        let mut mock = MockTunnelTransport::new();
        let opened = opened.clone();
        mock.expect_dial().returning(move |_| {
            let mut carrier = MockCarrier::new();
            let opened = opened.clone();
            carrier.expect_open().returning(move |_| {
                opened.fetch_add(1, Ordering::Relaxed);
                Ok(Box::new(tokio::io::duplex(1).0) as BoxByteStream)
            });
            Ok(Arc::new(carrier))
        });
        Arc::new(mock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_dialled_carrier_shares_the_layer_of_its_transport() {
        let opened = Arc::new(AtomicUsize::new(0));
        let fault = Fault::refusing(1.0).with_kind(ErrorKind::ResourceExhausted);
        let transport = Faulty::new(clock(), 1, Fault::none())
            .with_fault("tunnel.open", fault)
            .wrap(transport(&opened));
        let carrier: Arc<dyn Carrier> = transport.dial(&"a:1".parse().unwrap()).await.unwrap();
        let error = carrier.open(&StreamTarget::Engine).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(
            (opened.load(Ordering::Relaxed), transport.layer().injected()),
            (0, 1)
        );
        transport.layer().suspend();
        carrier.open(&StreamTarget::Engine).await.unwrap();
        assert_eq!(opened.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dialling_and_opening_are_tried_again() {
        let opened = Arc::new(AtomicUsize::new(0));
        let faulty = Faulty::new(clock(), 5, Fault::refusing(0.7)).wrap(transport(&opened));
        let transport = retry(100).wrap(faulty.clone());
        let carrier = transport.dial(&"a:1".parse().unwrap()).await.unwrap();
        for _ in 0..10 {
            carrier.open(&StreamTarget::Control).await.unwrap();
        }
        assert_eq!(opened.load(Ordering::Relaxed), 10);
        assert!(
            faulty.layer().injected() > 5,
            "{}",
            faulty.layer().injected()
        );
    }
}

/// Nor does it hide what the inner backend says of itself.
#[test]
fn an_exec_backends_default_cleanup_is_told_through_a_decorator() {
    #[derive(Debug)]
    struct Keeps;

    #[async_trait::async_trait]
    impl ExecBackend for Keeps {
        async fn exec(&self, _: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
            Err(Error::unsupported("nothing runs here"))
        }

        async fn attach(&self, _: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
            Err(Error::unsupported("nothing runs here"))
        }

        fn default_cleanup(&self) -> Option<Cleanup> {
            Some(Cleanup::Foreground)
        }
    }

    let inner: Arc<dyn ExecBackend> = Arc::new(Keeps);
    let decorated = retry(3).wrap(inner);
    assert_eq!(decorated.default_cleanup(), Some(Cleanup::Foreground));
}
