//! The rules of [`TunnelTransport`], [`TunnelListener`], and [`Carrier`].

use std::{any::Any, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Carrier, Clock, ClockExt, Endpoint, NodeId, TunnelListener, TunnelTransport};

mod connecting;
mod ending;
mod flow;
mod streams;

pub use connecting::{
    a_dropped_accept_of_the_listener_loses_no_connection, a_free_port_is_given_and_told,
    a_peer_that_does_not_speak_holds_up_no_other,
    a_peer_that_leaves_before_the_handshake_is_an_error, an_address_in_use_is_refused,
    an_address_is_free_after_its_listener, both_sides_learn_who_the_other_is,
    dialling_nobody_is_unavailable, one_listener_serves_many_peers,
};
pub use ending::{
    a_closed_carrier_says_why_on_both_sides, a_lost_connection_is_not_a_clean_end,
    a_peer_that_falls_silent_is_found, an_end_that_was_reached_stays_clean,
    closing_ends_streams_with_an_error_on_both_sides, closing_twice_is_no_error,
    open_and_accept_after_the_end_say_closed, waiting_calls_end_with_the_carrier,
};
pub use flow::{
    a_stream_that_is_not_read_holds_up_no_other, a_writer_waits_for_its_reader,
    many_streams_at_once_keep_their_bytes, many_unread_streams_leave_room_for_another,
};
pub use streams::{
    a_dropped_accept_loses_no_stream, a_dropped_stream_is_seen_by_the_peer,
    a_peer_that_only_reads_may_leave_after_its_shutdown, a_refused_stream_shows_as_a_reset,
    bytes_arrive_in_order_and_unchanged, half_close_works_in_both_directions,
    places_come_back_when_streams_end, streams_above_the_limit_are_refused,
    streams_open_from_both_sides, the_first_bytes_need_no_answer, the_target_reaches_the_peer,
};

/// Gives the suite two ends of a network, and ways to break it.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The transport of the end that dials.
    fn dialer(&self) -> Arc<dyn TunnelTransport>;

    /// The transport of the end that listens.
    fn listener(&self) -> Arc<dyn TunnelTransport>;

    /// Who the dialling and the listening end are.
    fn nodes(&self) -> (NodeId, NodeId);

    /// Where to listen, with port 0.
    fn listen_at(&self) -> Endpoint;

    /// A place where nobody listens.
    fn nobody(&self) -> Endpoint;

    /// The clock that the transports live by.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Where to dial in order to reach a listener: itself, or something in front of it that can
    /// break the connection.
    async fn route(&self, to: Endpoint) -> Endpoint {
        to
    }

    /// Whether [`reset`](Self::reset) and [`silence`](Self::silence) do something.
    fn breaks(&self) -> bool {
        false
    }

    /// Breaks all connections in a way that both ends notice.
    async fn reset(&self) {}

    /// Swallows everything that is sent from now on, in both directions.
    async fn silence(&self) {}

    /// Within which time a silent peer must be found.
    fn detection(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Connects and then says nothing, until it is dropped; `None` when there is no such thing.
    async fn silent_peer(&self, _listener: &Endpoint) -> Option<Box<dyn Any + Send>> {
        None
    }
}

/// Two ends that are connected.
pub(super) struct Session {
    pub(super) dialer: Arc<dyn Carrier>,
    pub(super) listener: Arc<dyn Carrier>,
    _listening: Arc<dyn TunnelListener>,
}

pub(super) async fn connect(harness: &dyn Harness) -> Session {
    let listening = harness
        .listener()
        .listen(&harness.listen_at())
        .await
        .expect("it listens");
    let to = harness.route(listening.local()).await;
    let (dialer, listener) = join(harness, &listening, &to).await;
    Session {
        dialer,
        listener,
        _listening: listening,
    }
}

/// Dials `to` and accepts at `listening`.
pub(super) async fn join(
    harness: &dyn Harness,
    listening: &Arc<dyn TunnelListener>,
    to: &Endpoint,
) -> (Arc<dyn Carrier>, Arc<dyn Carrier>) {
    let transport = harness.dialer();
    let dial = transport.dial(to);
    let accept = async { listening.accept().await?.handshake().await };
    let both = async { tokio::join!(dial, accept) };
    let (dialer, listener) = within(harness, "connecting", both).await;
    (
        dialer.expect("the dialler connects"),
        listener.expect("the listener shakes hands"),
    )
}

/// Panics when `future` takes longer than any rule may.
#[track_caller]
pub(super) fn within<'a, F>(
    harness: &dyn Harness,
    what: &'static str,
    future: F,
) -> impl Future<Output = F::Output> + Send + use<'a, F>
where
    F: Future + Send + 'a,
    F::Output: Send,
{
    let clock = harness.clock();
    let caller = std::panic::Location::caller();
    async move {
        match clock.timeout(PATIENCE, what, future).await {
            Ok(output) => output,
            Err(error) => panic!("{error}, at {caller}"),
        }
    }
}

/// Longer than any detection and handshake.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the rules of [`TunnelTransport`](crate::TunnelTransport) against a harness.
///
/// ```ignore
/// longshore_core::tunnel_suite!(paused, MyHarness::new());
/// ```
#[macro_export]
macro_rules! tunnel_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            tunnel,
            $harness,
            [
                a_free_port_is_given_and_told,
                an_address_in_use_is_refused,
                an_address_is_free_after_its_listener,
                dialling_nobody_is_unavailable,
                both_sides_learn_who_the_other_is,
                one_listener_serves_many_peers,
                a_dropped_accept_of_the_listener_loses_no_connection,
                a_peer_that_does_not_speak_holds_up_no_other,
                a_peer_that_leaves_before_the_handshake_is_an_error,
                the_target_reaches_the_peer,
                streams_open_from_both_sides,
                the_first_bytes_need_no_answer,
                bytes_arrive_in_order_and_unchanged,
                half_close_works_in_both_directions,
                a_dropped_stream_is_seen_by_the_peer,
                a_refused_stream_shows_as_a_reset,
                a_peer_that_only_reads_may_leave_after_its_shutdown,
                a_dropped_accept_loses_no_stream,
                streams_above_the_limit_are_refused,
                places_come_back_when_streams_end,
                a_stream_that_is_not_read_holds_up_no_other,
                many_unread_streams_leave_room_for_another,
                a_writer_waits_for_its_reader,
                many_streams_at_once_keep_their_bytes,
                closing_ends_streams_with_an_error_on_both_sides,
                a_closed_carrier_says_why_on_both_sides,
                closing_twice_is_no_error,
                open_and_accept_after_the_end_say_closed,
                waiting_calls_end_with_the_carrier,
                an_end_that_was_reached_stays_clean,
                a_lost_connection_is_not_a_clean_end,
                a_peer_that_falls_silent_is_found,
            ]
        );
    };
}
