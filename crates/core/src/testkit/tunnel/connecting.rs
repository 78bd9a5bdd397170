use crate::testkit::suite::does_not_apply;
use std::time::Duration;

use super::{Harness, connect, join, within};
use crate::{ClockExt, ErrorKind};

/// A port 0 asked for is replaced by the port given.
pub async fn a_free_port_is_given_and_told(harness: &dyn Harness) {
    let asked = harness.listen_at();
    let first = harness.listener().listen(&asked).await.expect("it listens");
    let second = harness
        .listener()
        .listen(&asked)
        .await
        .expect("it listens again");
    assert_ne!(first.local().port(), 0);
    assert_ne!(first.local(), second.local());
    assert_eq!(first.local().host(), asked.host());
}

/// Two listeners at one address would share its peers by chance.
pub async fn an_address_in_use_is_refused(harness: &dyn Harness) {
    let first = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let second = harness.listener().listen(&first.local()).await;
    assert_eq!(
        second.expect_err("the address is in use").kind(),
        ErrorKind::AlreadyExists
    );
}

/// A listener that is dropped gives its address back.
pub async fn an_address_is_free_after_its_listener(harness: &dyn Harness) {
    let first = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let at = first.local();
    drop(first);
    harness
        .listener()
        .listen(&at)
        .await
        .expect("the address is free again");
}

/// Nobody there is a passing state: the node may come back.
pub async fn dialling_nobody_is_unavailable(harness: &dyn Harness) {
    let transport = harness.dialer();
    let error = within(harness, "dialling", transport.dial(&harness.nobody()))
        .await
        .expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.is_retryable());
}

/// Each side knows the other by the identity it proved (or claimed).
pub async fn both_sides_learn_who_the_other_is(harness: &dyn Harness) {
    let session = connect(harness).await;
    let (dialer, listener) = harness.nodes();
    assert_eq!(session.dialer.peer().node, listener);
    assert_eq!(session.listener.peer().node, dialer);
}

/// Carriers of one listener are apart from each other.
pub async fn one_listener_serves_many_peers(harness: &dyn Harness) {
    let listening = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let to = harness.route(listening.local()).await;
    let (first, first_accepted) = join(harness, &listening, &to).await;
    let (second, second_accepted) = join(harness, &listening, &to).await;
    first.close("done").await;
    within(harness, "the first end", first_accepted.closed()).await;
    let opened = second.open(&crate::StreamTarget::Control).await;
    assert!(opened.is_ok(), "the other carrier goes on");
    within(harness, "accepting", second_accepted.accept())
        .await
        .expect("a stream arrives");
}

/// `accept` of a listener is cancel safe.
pub async fn a_dropped_accept_of_the_listener_loses_no_connection(harness: &dyn Harness) {
    let listening = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let to = harness.route(listening.local()).await;
    for _ in 0..3 {
        // The wait is dropped before anybody dials.
        let wait = harness.clock();
        let early = wait
            .timeout(Duration::from_millis(1), "accept", listening.accept())
            .await;
        assert!(early.is_err(), "nobody has dialled yet");
        join(harness, &listening, &to).await;
    }
}

/// A peer that connects and says nothing keeps no other waiting: `accept` does no handshake.
pub async fn a_peer_that_does_not_speak_holds_up_no_other(harness: &dyn Harness) {
    let listening = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let mut silent = Vec::new();
    for _ in 0..8 {
        let Some(peer) = harness.silent_peer(&listening.local()).await else {
            return does_not_apply("nobody can be silent on it");
        };
        silent.push(peer);
    }
    let to = harness.route(listening.local()).await;
    let serve = {
        let listening = listening.clone();
        tokio::spawn(async move {
            loop {
                let Ok(pending) = listening.accept().await else {
                    return;
                };
                tokio::spawn(async move {
                    if let Ok(carrier) = pending.handshake().await {
                        carrier.closed().await;
                    }
                });
            }
        })
    };
    let transport = harness.dialer();
    let start = harness.clock().now();
    within(harness, "dialling", transport.dial(&to))
        .await
        .expect("it connects all the same");
    let took = harness.clock().now().since(start);
    assert!(
        took < Duration::from_secs(5),
        "a good peer waited {took:?} for silent ones"
    );
    serve.abort();
}

/// A handshake with somebody who has left fails and does not hang.
pub async fn a_peer_that_leaves_before_the_handshake_is_an_error(harness: &dyn Harness) {
    let listening = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let Some(peer) = harness.silent_peer(&listening.local()).await else {
        return does_not_apply("nobody can be silent on it");
    };
    let pending = within(harness, "accepting", listening.accept())
        .await
        .expect("a connection arrives");
    drop(peer);
    within(harness, "the handshake", pending.handshake())
        .await
        .expect_err("the peer has left");
}
