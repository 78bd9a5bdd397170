use crate::testkit::suite::does_not_apply;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Harness, connect, streams::open, within};
use crate::{BoxByteStream, ClockExt, CloseReason, ErrorKind, StreamTarget};

/// Reads to the end, which must be an error.
async fn expect_broken(harness: &dyn Harness, stream: &mut BoxByteStream) {
    let mut sink = Vec::new();
    within(
        harness,
        "the end of a stream",
        stream.read_to_end(&mut sink),
    )
    .await
    .expect_err("a clean end although the carrier ended");
}

/// An end of file would say that all bytes had come.
pub async fn closing_ends_streams_with_an_error_on_both_sides(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    near.write_all(b"half a").await.expect("it writes");
    let mut bytes = [0; 6];
    within(harness, "reading", far.read_exact(&mut bytes))
        .await
        .expect("it reads");
    session.dialer.close("test").await;
    expect_broken(harness, &mut near).await;
    expect_broken(harness, &mut far).await;
    near.write_all(b"x")
        .await
        .expect_err("nothing can be written");
    far.write_all(b"x")
        .await
        .expect_err("nothing can be written");
}

/// The reason given to `close` is the reason read at both ends, by any number of readers.
pub async fn a_closed_carrier_says_why_on_both_sides(harness: &dyn Harness) {
    let session = connect(harness).await;
    session.listener.close("replaced by a newer session").await;
    let why = "replaced by a newer session".to_owned();
    for _ in 0..2 {
        assert_eq!(
            session.listener.closed().await,
            CloseReason::Local(why.clone())
        );
        let seen = within(harness, "the end", session.dialer.closed()).await;
        assert_eq!(seen, CloseReason::Peer(why.clone()));
    }
}

/// The first reason stays.
pub async fn closing_twice_is_no_error(harness: &dyn Harness) {
    let session = connect(harness).await;
    session.dialer.close("one").await;
    session.dialer.close("two").await;
    assert_eq!(
        session.dialer.closed().await,
        CloseReason::Local("one".to_owned())
    );
    within(harness, "the end", session.listener.closed()).await;
    session.listener.close("three").await;
}

/// After the end nothing hangs.
pub async fn open_and_accept_after_the_end_say_closed(harness: &dyn Harness) {
    let session = connect(harness).await;
    session.dialer.close("test").await;
    within(harness, "the end", session.listener.closed()).await;
    for carrier in [&session.dialer, &session.listener] {
        let opened = within(harness, "open", carrier.open(&StreamTarget::Engine)).await;
        assert_eq!(opened.err().expect("no stream").kind(), ErrorKind::Closed);
        let accepted = within(harness, "accept", carrier.accept()).await;
        assert_eq!(accepted.expect_err("no stream").kind(), ErrorKind::Closed);
    }
}

/// Nobody waits for a carrier that is gone.
pub async fn waiting_calls_end_with_the_carrier(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, far) = open(harness, &session).await;
    let waiting = {
        let (one, two) = (session.listener.clone(), session.listener.clone());
        let mut far = far;
        tokio::spawn(async move {
            let mut byte = [0];
            let (accepted, also, read) =
                tokio::join!(one.accept(), two.accept(), far.read(&mut byte));
            assert!(accepted.is_err() && also.is_err() && read.is_err());
        })
    };
    harness.clock().sleep(Duration::from_millis(20)).await;
    session.dialer.close("test").await;
    within(harness, "the waiting calls", waiting)
        .await
        .expect("all of them ended with an error");
    expect_broken(harness, &mut near).await;
}

/// What had come to its end before the carrier did can still be read to it.
pub async fn an_end_that_was_reached_stays_clean(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    near.write_all(b"all of it").await.expect("it writes");
    near.shutdown().await.expect("it shuts down");
    let mut text = [0; 3];
    within(harness, "reading", far.read_exact(&mut text))
        .await
        .expect("it reads");
    // The rest travelled with the first bytes or soon after.
    harness.clock().sleep(Duration::from_millis(100)).await;
    session.dialer.close("test").await;
    within(harness, "the end", session.listener.closed()).await;
    let mut rest = String::new();
    within(harness, "reading", far.read_to_string(&mut rest))
        .await
        .expect("a clean end");
    assert_eq!(rest, " of it");
}

/// A network that fails is not the same as a peer that has finished.
pub async fn a_lost_connection_is_not_a_clean_end(harness: &dyn Harness) {
    if !harness.breaks() {
        return does_not_apply("its connections don't break");
    }
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    harness.reset().await;
    expect_broken(harness, &mut near).await;
    expect_broken(harness, &mut far).await;
    for carrier in [&session.dialer, &session.listener] {
        let reason = within(harness, "the end", carrier.closed()).await;
        assert!(
            matches!(reason, CloseReason::Broken(_) | CloseReason::Silent),
            "a lost connection reads as {reason:?}"
        );
    }
}

/// A carrier that looks open and leads nowhere is found without anybody using it.
pub async fn a_peer_that_falls_silent_is_found(harness: &dyn Harness) {
    if !harness.breaks() {
        return does_not_apply("its connections don't break");
    }
    let session = connect(harness).await;
    let (mut near, mut far) = open(harness, &session).await;
    harness.silence().await;
    let start = harness.clock().now();
    let both = async { tokio::join!(session.dialer.closed(), session.listener.closed()) };
    let reasons = within(harness, "finding out", both).await;
    let took = harness.clock().now().since(start);
    assert!(took <= harness.detection(), "it took {took:?}");
    assert_eq!(reasons, (CloseReason::Silent, CloseReason::Silent));
    expect_broken(harness, &mut near).await;
    expect_broken(harness, &mut far).await;
}
