use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Harness, Session, connect, within};
use crate::{BoxByteStream, Carrier, ClockExt, ErrorKind, Random, SeededRandom, StreamTarget};

/// Opens a stream and takes it at the other end.
pub(super) async fn open(
    harness: &dyn Harness,
    session: &Session,
) -> (BoxByteStream, BoxByteStream) {
    let near = session
        .dialer
        .open(&StreamTarget::Engine)
        .await
        .expect("it opens");
    let far = within(harness, "accepting", session.listener.accept())
        .await
        .expect("it arrives");
    (near, far.stream)
}

/// Bytes that show when they are out of order, and differ by seed.
pub(super) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededRandom::new(seed).fill(&mut bytes);
    bytes
}

/// The peer is told what a stream is for.
pub async fn the_target_reaches_the_peer(harness: &dyn Harness) {
    let session = connect(harness).await;
    let long = "s".repeat(255);
    for target in [
        StreamTarget::Engine,
        StreamTarget::Control,
        StreamTarget::Service("web/80".to_owned()),
        StreamTarget::Service(long),
    ] {
        let _near = session.dialer.open(&target).await.expect("it opens");
        let far = within(harness, "accepting", session.listener.accept())
            .await
            .expect("arrives");
        assert_eq!(far.target, target);
    }
}

/// Who dialled does not decide who opens streams: a control plane opens them to nodes that dialled.
pub async fn streams_open_from_both_sides(harness: &dyn Harness) {
    let session = connect(harness).await;
    let ends: [(&dyn Carrier, &dyn Carrier); 2] = [
        (&*session.dialer, &*session.listener),
        (&*session.listener, &*session.dialer),
    ];
    for (opener, taker) in ends {
        let mut near = opener.open(&StreamTarget::Control).await.expect("it opens");
        let mut far = within(harness, "accepting", taker.accept())
            .await
            .expect("it arrives")
            .stream;
        near.write_all(b"ping").await.expect("it writes");
        let mut bytes = [0; 4];
        within(harness, "reading", far.read_exact(&mut bytes))
            .await
            .expect("it reads");
        assert_eq!(&bytes, b"ping");
        far.write_all(b"pong").await.expect("it answers");
        within(harness, "reading", near.read_exact(&mut bytes))
            .await
            .expect("the answer comes");
        assert_eq!(&bytes, b"pong");
    }
}

/// A stream is written to at once, before the peer knows of it.
pub async fn the_first_bytes_need_no_answer(harness: &dyn Harness) {
    let session = connect(harness).await;
    let mut near = session
        .dialer
        .open(&StreamTarget::Engine)
        .await
        .expect("it opens");
    within(harness, "writing", near.write_all(b"GET /_ping"))
        .await
        .expect("nobody has accepted");
    near.shutdown().await.expect("it shuts down");
    let mut far = within(harness, "accepting", session.listener.accept())
        .await
        .expect("it arrives")
        .stream;
    let mut text = String::new();
    within(harness, "reading", far.read_to_string(&mut text))
        .await
        .expect("it reads");
    assert_eq!(text, "GET /_ping");
}

/// Both directions at once, in pieces that fit no frame.
pub async fn bytes_arrive_in_order_and_unchanged(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (near, far) = open(harness, &session).await;
    let carry = |stream: BoxByteStream, send: Vec<u8>, chunk: usize| async move {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let write = async {
            for piece in send.chunks(chunk) {
                writer.write_all(piece).await?;
            }
            writer.shutdown().await
        };
        let mut received = Vec::new();
        let (wrote, read) = tokio::join!(write, reader.read_to_end(&mut received));
        wrote.expect("it writes");
        read.expect("it reads");
        received
    };
    let (there, back) = (pattern(1, 2_000_003), pattern(2, 1_000_001));
    let both = async {
        tokio::join!(
            carry(near, there.clone(), 70_001),
            carry(far, back.clone(), 1_021)
        )
    };
    let (at_near, at_far) = within(harness, "carrying", both).await;
    assert!(at_far == there, "bytes towards the listener were changed");
    assert!(at_near == back, "bytes towards the dialler were changed");
}

/// The end of one direction leaves the other alone.
pub async fn half_close_works_in_both_directions(harness: &dyn Harness) {
    let session = connect(harness).await;
    for dialer_first in [true, false] {
        let (near, far) = open(harness, &session).await;
        let (mut first, mut second) = if dialer_first {
            (near, far)
        } else {
            (far, near)
        };
        first.write_all(b"question").await.expect("it writes");
        first.shutdown().await.expect("it shuts down");
        let mut text = String::new();
        within(harness, "the end", second.read_to_string(&mut text))
            .await
            .expect("a clean end");
        assert_eq!(text, "question");
        // Long after: the other direction is still open.
        harness.clock().sleep(Duration::from_millis(20)).await;
        second
            .write_all(b"answer")
            .await
            .expect("the other direction is open");
        second.shutdown().await.expect("it shuts down");
        text.clear();
        within(harness, "the answer", first.read_to_string(&mut text))
            .await
            .expect("clean end");
        assert_eq!(text, "answer");
    }
}

/// A reader and a writer at the other end both learn of it; it is no clean end.
pub async fn a_dropped_stream_is_seen_by_the_peer(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, far) = open(harness, &session).await;
    drop(far);
    let mut byte = [0];
    within(harness, "reading", near.read(&mut byte))
        .await
        .expect_err("a reset, not an end");
    let endless = async {
        loop {
            if near.write_all(&[0; 1024]).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(harness, "writing", endless).await;
}

/// Refusing is dropping what `accept` gave.
pub async fn a_refused_stream_shows_as_a_reset(harness: &dyn Harness) {
    let session = connect(harness).await;
    let mut near = session
        .dialer
        .open(&StreamTarget::Service("unknown".to_owned()))
        .await
        .expect("it opens");
    drop(
        within(harness, "accepting", session.listener.accept())
            .await
            .expect("it arrives"),
    );
    let mut byte = [0];
    within(harness, "reading", near.read(&mut byte))
        .await
        .expect_err("a reset, not an end");
    open(harness, &session).await;
}

/// What was written before a shutdown arrives, also when the writer has dropped the stream since.
pub async fn a_peer_that_only_reads_may_leave_after_its_shutdown(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    let sent = pattern(3, 30_000);
    within(harness, "writing", near.write_all(&sent))
        .await
        .expect("it writes");
    near.shutdown().await.expect("it shuts down");
    drop(near);
    let mut received = Vec::new();
    within(harness, "reading", far.read_to_end(&mut received))
        .await
        .expect("a clean end");
    assert!(received == sent);
}

/// `accept` of a carrier is cancel safe.
pub async fn a_dropped_accept_loses_no_stream(harness: &dyn Harness) {
    let session = connect(harness).await;
    for round in 0..5 {
        let clock = harness.clock();
        let early = clock
            .timeout(
                Duration::from_millis(1),
                "accept",
                session.listener.accept(),
            )
            .await;
        assert!(early.is_err(), "nobody has opened yet");
        let target = StreamTarget::Service(format!("round-{round}"));
        let _near = session.dialer.open(&target).await.expect("it opens");
        let far = within(harness, "accepting", session.listener.accept())
            .await
            .expect("arrives");
        assert_eq!(far.target, target);
    }
}

/// The limit that a transport declares is kept, and says which kind of trouble it is.
pub async fn streams_above_the_limit_are_refused(harness: &dyn Harness) {
    let session = connect(harness).await;
    let limit = harness.listener().capabilities().max_streams;
    let mut open = Vec::new();
    for _ in 0..limit {
        open.push(
            session
                .dialer
                .open(&StreamTarget::Engine)
                .await
                .expect("below the limit"),
        );
    }
    let Err(error) = session.dialer.open(&StreamTarget::Engine).await else {
        panic!("more than {limit} streams");
    };
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}

/// An ended stream counts no more, whichever way it ended.
pub async fn places_come_back_when_streams_end(harness: &dyn Harness) {
    let session = connect(harness).await;
    let limit = harness.listener().capabilities().max_streams;
    let serve = async {
        // Answers and ends every other stream, and drops the rest.
        let mut count = 0u32;
        while let Ok(mut incoming) = session.listener.accept().await {
            count += 1;
            if count.is_multiple_of(2) {
                let mut text = Vec::new();
                let _ = incoming.stream.read_to_end(&mut text).await;
                let _ = incoming.stream.write_all(&text).await;
                let _ = incoming.stream.shutdown().await;
            }
        }
    };
    let ask = async {
        for _ in 0..limit.saturating_mul(2) + 10 {
            let mut near = session
                .dialer
                .open(&StreamTarget::Engine)
                .await
                .expect("a free place");
            let _ = near.write_all(b"hello").await;
            let _ = near.shutdown().await;
            let mut text = Vec::new();
            let _ = near.read_to_end(&mut text).await;
        }
    };
    let either = async {
        tokio::select! {
            () = serve => panic!("the carrier ended"),
            () = ask => {}
        }
    };
    within(harness, "opening and ending", either).await;
}
