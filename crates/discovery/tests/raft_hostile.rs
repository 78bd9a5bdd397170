//! What a member of the replicated store does with clients that mean no good, and when it breaks
//! itself; on paused time.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Error, KvStore, PutOptions, Result, SystemClock, Timestamp,
};
use longshore_discovery::{RaftAccess, RaftIncoming, RaftKv, RaftNetwork, RaftOptions, RaftPeer};
use tokio::{
    io::{AsyncWriteExt, DuplexStream},
    sync::{Mutex, mpsc},
};

/// The network of a member that is alone: clients dial it.
#[derive(Debug)]
struct Alone(Mutex<mpsc::UnboundedReceiver<RaftIncoming>>);

#[async_trait]
impl RaftNetwork for Alone {
    async fn dial(&self, _: &str) -> Result<BoxByteStream> {
        Err(Error::unavailable("there is nobody else"))
    }

    async fn accept(&self) -> Result<RaftIncoming> {
        let incoming = self.0.lock().await.recv().await;
        incoming.ok_or_else(|| Error::closed("nobody dials any more"))
    }
}

fn alone(clock: Arc<dyn Clock>) -> (RaftKv, mpsc::UnboundedSender<RaftIncoming>) {
    let (dial, dialled) = mpsc::unbounded_channel();
    let options = RaftOptions::new("a", ["a"], clock).unwrap();
    let store = RaftKv::start(options, Arc::new(Alone(Mutex::new(dialled)))).unwrap();
    (store, dial)
}

async fn client(dial: &mpsc::UnboundedSender<RaftIncoming>) -> DuplexStream {
    let (mut near, far) = tokio::io::duplex(64 << 10);
    let peer = RaftPeer::new(Box::new(far), RaftAccess::Client);
    dial.send(RaftIncoming::new(async { Ok(peer) })).unwrap();
    near.write_all(b"LSRF\x01\x02\x00").await.unwrap();
    near
}

/// A question for a key, as it is on the wire.
fn get(number: u64, key: &str) -> Vec<u8> {
    let mut question = number.to_be_bytes().to_vec();
    question.push(1);
    question.extend((key.len() as u64).to_be_bytes());
    question.extend(key.as_bytes());
    let mut frame = u32::try_from(question.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    frame.extend(question);
    frame
}

/// L7: a client that asks and never reads makes a member keep its answers for a bounded time.
#[tokio::test(start_paused = true)]
async fn l7_a_client_that_takes_no_answers_is_cut_off() {
    let clock = SystemClock::new();
    let (store, dial) = alone(Arc::new(clock));
    let value = vec![7; 256 << 10].into();
    store.put("k", value, PutOptions::default()).await.unwrap();
    let mut client = client(&dial).await;
    let asking = async {
        for number in 0.. {
            if client.write_all(&get(number, "k")).await.is_err() {
                return;
            }
        }
    };
    clock
        .timeout(Duration::from_secs(60), "being cut off", asking)
        .await
        .unwrap();
    assert!(store.get("k").await.unwrap().is_some());
}

/// Breaks in whoever waits, once it is told to.
#[derive(Debug)]
struct Trap {
    clock: SystemClock,
    set: AtomicBool,
}

#[async_trait]
impl Clock for Trap {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        assert!(!self.set.load(Ordering::Relaxed), "the trap");
        self.clock.sleep_until(deadline).await;
    }
}

/// L7: where a member breaks, its callers are told and do not wait for ever.
#[tokio::test(start_paused = true)]
async fn l7_nobody_waits_for_a_member_that_panicked() {
    let clock = SystemClock::new();
    let trap = Arc::new(Trap {
        clock,
        set: AtomicBool::new(false),
    });
    let (store, _dial) = alone(trap.clone());
    store
        .put("k", "1".into(), PutOptions::default())
        .await
        .unwrap();
    trap.set.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let put = store.put("k", "2".into(), PutOptions::default());
        // The first may still be carried out.
        let _ = clock
            .timeout(Duration::from_secs(60), "an answer", put)
            .await
            .unwrap();
    }
    let error = store.get("k").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
