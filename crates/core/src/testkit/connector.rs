//! The rules of [`Connector`].

use crate::testkit::suite::does_not_apply;
use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{BoxByteStream, Clock, ClockExt, Connector, ErrorKind, SystemClock};

/// Gives the suite a connector and the engine's side of its streams.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The connector under test.
    fn connector(&self) -> Arc<dyn Connector>;

    /// The engine's end of the next stream, in the order in which they were opened.
    async fn accept(&self) -> BoxByteStream;

    /// Makes the engine unreachable for new streams. `false` if the harness can't.
    async fn go_down(&self) -> bool;

    /// Undoes [`go_down`](Self::go_down).
    async fn come_back(&self);

    /// The clock for the rules' own limits.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }
}

/// Two calls give two streams, whose bytes do not mix.
pub async fn every_call_gives_a_fresh_stream(harness: &dyn Harness) {
    within(harness, async {
        let (mut first, mut first_peer) = pair(harness).await;
        let (mut second, mut second_peer) = pair(harness).await;
        for (near, far, text) in [
            (&mut second, &mut second_peer, b"two"),
            (&mut first, &mut first_peer, b"one"),
        ] {
            send(near, text).await;
            assert_eq!(receive(far, 3).await, text);
            send(far, text).await;
            assert_eq!(receive(near, 3).await, text);
        }
    })
    .await;
}

/// More than any buffer on the way, both ways at a time, arrives whole and in order.
pub async fn bytes_arrive_whole_and_in_order(harness: &dyn Harness) {
    within(harness, async {
        let (near, far) = pair(harness).await;
        let (there, back) = (pattern(1), pattern(2));
        let (near, far) = tokio::join!(exchange(near, &there), exchange(far, &back));
        assert!(near == back && far == there, "bytes were changed or lost");
    })
    .await;
}

/// The end of the input is told, and the answer to it still arrives.
pub async fn a_half_close_lets_the_answer_through(harness: &dyn Harness) {
    within(harness, async {
        let (mut near, mut far) = pair(harness).await;
        send(&mut near, b"question").await;
        near.shutdown().await.expect("a half-close");
        assert_eq!(to_end(&mut far).await, b"question");
        send(&mut far, b"answer").await;
        far.shutdown().await.expect("a close");
        assert_eq!(to_end(&mut near).await, b"answer");
    })
    .await;
}

/// An engine that has nothing more to say can still be told something.
pub async fn a_half_close_by_the_engine_lets_input_through(harness: &dyn Harness) {
    within(harness, async {
        let (mut near, mut far) = pair(harness).await;
        send(&mut far, b"last words").await;
        far.shutdown().await.expect("a half-close");
        assert_eq!(to_end(&mut near).await, b"last words");
        send(&mut near, b"more input").await;
        near.shutdown().await.expect("a close");
        assert_eq!(to_end(&mut far).await, b"more input");
    })
    .await;
}

/// A dropped stream is closed: the engine reads its end (or a reset) and does not wait for ever.
pub async fn a_dropped_stream_is_closed(harness: &dyn Harness) {
    within(harness, async {
        let (near, mut far) = pair(harness).await;
        drop(near);
        let mut byte = [0];
        assert!(!matches!(far.read(&mut byte).await, Ok(1..)));
    })
    .await;
}

/// Closing one stream leaves the others alone.
pub async fn closing_one_stream_leaves_the_others_alone(harness: &dyn Harness) {
    within(harness, async {
        let (first, first_peer) = pair(harness).await;
        let (mut second, mut second_peer) = pair(harness).await;
        drop((first, first_peer));
        send(&mut second, b"still").await;
        assert_eq!(receive(&mut second_peer, 5).await, b"still");
        send(&mut second_peer, b"here").await;
        assert_eq!(receive(&mut second, 4).await, b"here");
    })
    .await;
}

/// An engine that can't be reached is told as such, and as worth another try.
pub async fn an_unreachable_engine_is_unavailable(harness: &dyn Harness) {
    if !harness.go_down().await {
        return does_not_apply("its engine can't be stopped here");
    }
    within(harness, async {
        let Err(error) = harness.connector().connect().await else {
            panic!("nobody is there, and yet it connected");
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.is_retryable());
        let place = harness.connector().describe();
        assert!(error.to_string().contains(&place), "{error} names {place}");
    })
    .await;
    harness.come_back().await;
}

/// After a failure the next call tries again.
pub async fn after_a_failure_the_next_call_tries_again(harness: &dyn Harness) {
    if !harness.go_down().await {
        return does_not_apply("its engine can't be stopped here");
    }
    within(harness, async {
        let connector = harness.connector();
        for _ in 0..2 {
            assert!(connector.connect().await.is_err());
        }
        harness.come_back().await;
        let (mut near, mut far) = pair(harness).await;
        send(&mut near, b"again").await;
        assert_eq!(receive(&mut far, 5).await, b"again");
    })
    .await;
}

/// A call that is given up has no effect on later ones.
pub async fn a_dropped_call_leaves_the_connector_usable(harness: &dyn Harness) {
    within(harness, async {
        let connector = harness.connector();
        let mut given_up = connector.connect();
        // Polled once, so that it has begun; what it opened at once is closed again.
        drop(futures::poll!(&mut given_up));
        drop(given_up);
        let opened = async {
            let mut near = connector.connect().await.expect("a stream");
            send(&mut near, b"mine").await;
            near
        };
        let accepted = async {
            // The one given up may have reached the engine first; it has nothing to say.
            loop {
                let mut far = harness.accept().await;
                let mut bytes = [0; 4];
                if far.read_exact(&mut bytes).await.is_ok() {
                    return bytes;
                }
            }
        };
        let (near, bytes) = tokio::join!(opened, accepted);
        assert_eq!(&bytes, b"mine");
        drop(near);
    })
    .await;
}

/// It says where it leads, always the same.
pub async fn it_says_where_it_leads(harness: &dyn Harness) {
    let place = harness.connector().describe();
    assert!(place.contains("://"), "{place:?} is no address");
    assert_eq!(harness.connector().describe(), place);
}

/// Both ends of a new stream.
async fn pair(harness: &dyn Harness) -> (BoxByteStream, BoxByteStream) {
    let connector = harness.connector();
    // Together: a handshake may need both sides.
    let (near, far) = tokio::join!(connector.connect(), harness.accept());
    (near.expect("a stream"), far)
}

async fn send(stream: &mut BoxByteStream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("a write");
    stream.flush().await.expect("a flush");
}

async fn receive(stream: &mut BoxByteStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.expect("a read");
    bytes
}

async fn to_end(stream: &mut BoxByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("a read");
    bytes
}

/// Sends these bytes and reads what the other side sends, to its end.
async fn exchange(stream: BoxByteStream, bytes: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut received = Vec::new();
    let (sent, read) = tokio::join!(
        async {
            write.write_all(bytes).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut received)
    );
    sent.expect("a write");
    read.expect("a read");
    received
}

/// A mebibyte and a bit, the same in every run.
fn pattern(seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..(1 << 20) + 17)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

async fn within<F>(harness: &dyn Harness, rule: F)
where
    F: Future<Output = ()> + Send,
{
    harness
        .clock()
        .timeout(Duration::from_secs(60), "the rule", rule)
        .await
        .expect("the rule in time");
}

/// Runs the rules of [`Connector`](crate::Connector) against a harness.
#[macro_export]
macro_rules! connector_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            connector,
            $harness,
            [
                every_call_gives_a_fresh_stream,
                bytes_arrive_whole_and_in_order,
                a_half_close_lets_the_answer_through,
                a_half_close_by_the_engine_lets_input_through,
                a_dropped_stream_is_closed,
                closing_one_stream_leaves_the_others_alone,
                an_unreachable_engine_is_unavailable,
                after_a_failure_the_next_call_tries_again,
                a_dropped_call_leaves_the_connector_usable,
                it_says_where_it_leads,
            ]
        );
    };
}
