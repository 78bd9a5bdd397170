use longshore_core::{CloseReason, StreamTarget};

use super::{
    super::*,
    pair::{DIALER, LISTENER, Pair},
};
use crate::frame::ResetCode;

fn pair() -> Pair {
    Pair::new(MuxOptions::default(), Duration::from_millis(10), 1).open_for_business()
}

#[test]
fn the_first_bytes_travel_with_the_opening_frame() {
    let mut pair = pair();
    let id = pair.ends[DIALER].open(&StreamTarget::Engine).unwrap();
    pair.ends[DIALER].write(id, b"GET / HTTP/1.1").unwrap();
    pair.ends[DIALER].finish(id).unwrap();
    let now = pair.now;
    let frame = pair.ends[DIALER].poll_output(now).unwrap();
    pair.ends[LISTENER].handle_input(&frame, now);
    assert_eq!(pair.ends[LISTENER].accept().unwrap().0, id);
    assert_eq!(pair.read_all(LISTENER, id), b"GET / HTTP/1.1");
    let end = pair.ends[LISTENER].read(id, &mut Vec::new());
    assert_eq!(end, Ok(ReadOutcome::End));
}

#[test]
fn a_complete_stream_leaves_nothing_behind() {
    let mut pair = pair();
    for _ in 0..10 {
        let id = pair.stream();
        for end in [DIALER, LISTENER] {
            pair.ends[end].write(id, &[1; 5000]).unwrap();
            pair.ends[end].finish(id).unwrap();
        }
        pair.settle();
        for end in [DIALER, LISTENER] {
            assert_eq!(pair.read_all(end, id).len(), 5000);
        }
        pair.settle();
        for end in &mut pair.ends {
            assert_eq!(end.open_streams(), 0);
            end.release(id);
            assert!(end.streams.is_empty());
            assert_eq!(end.kept_peers, 0);
        }
    }
}

#[test]
fn control_goes_before_data_and_streams_take_turns() {
    let mut pair = pair();
    let (one, two) = (pair.stream(), pair.stream());
    let dialer = &mut pair.ends[DIALER];
    dialer.write(one, &[1; 60_000]).unwrap();
    dialer.write(two, &[2; 60_000]).unwrap();
    let mut order = Vec::new();
    let now = pair.now;
    for _ in 0..4 {
        let frame = dialer.poll_output(now).unwrap();
        order.push(u32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]));
    }
    assert_eq!(order, [one, two, one, two]);
    dialer.reset(one, ResetCode::Dropped);
    let next = dialer.poll_output(now).unwrap();
    assert_eq!(next[0], frame::kind::RESET);
}

#[test]
fn the_round_trip_is_measured() {
    let pair = pair();
    for end in &pair.ends {
        assert_eq!(end.round_trip(), Some(Duration::from_millis(20)));
    }
}

#[test]
fn an_idle_carrier_stays_up_for_a_day() {
    let mut pair = pair();
    let id = pair.stream();
    pair.run(Duration::from_secs(86_400));
    assert!(pair.ends.iter().all(Mux::is_open));
    pair.ends[DIALER].write(id, b"still here").unwrap();
    pair.settle();
    assert_eq!(pair.read_all(LISTENER, id), b"still here");
}

#[test]
fn silence_in_both_directions_is_found_by_both() {
    let mut pair = pair();
    pair.lost = [true, true];
    pair.run(Duration::from_secs(15));
    for end in &pair.ends {
        assert_eq!(end.close_reason(), Some(&CloseReason::Silent));
    }
}

#[test]
fn silence_in_one_direction_is_found_by_both() {
    for silent in [DIALER, LISTENER] {
        let mut pair = pair();
        pair.lost[silent] = true;
        pair.run(Duration::from_secs(16));
        // The deaf side gives up by itself, and its goodbye reaches the other.
        assert_eq!(
            pair.ends[1 - silent].close_reason(),
            Some(&CloseReason::Silent)
        );
        assert!(pair.ends[silent].close_reason().is_some());
    }
}

#[test]
fn silence_is_found_sooner_when_something_waits_for_an_answer() {
    let mut pair = pair();
    let id = pair.stream();
    pair.run(Duration::from_secs(5));
    pair.lost = [true, true];
    pair.ends[DIALER].write(id, b"anybody there?").unwrap();
    pair.run(Duration::from_millis(3_200));
    assert_eq!(pair.ends[DIALER].close_reason(), Some(&CloseReason::Silent));
}

/// 100 kbit/s, where a full window takes 20 s to arrive: slow is not dead.
#[test]
fn a_slow_upload_is_not_taken_for_a_dead_peer() {
    let latency = Duration::from_millis(300);
    let mut pair = Pair::new(MuxOptions::default(), latency, 1).with_rate(12_500);
    pair.run(Duration::from_secs(5));
    let id = pair.ends[DIALER].open(&StreamTarget::Engine).unwrap();
    let mut sent = 0;
    let mut received = 0;
    while received < 1_000_000 {
        if sent < 1_000_000 {
            sent += pair.ends[DIALER].write(id, &[9; 10_000]).unwrap();
        }
        pair.run(Duration::from_millis(500));
        pair.ends[LISTENER].accept();
        received += pair.read_all(LISTENER, id).len();
        assert!(
            pair.ends.iter().all(Mux::is_open),
            "{:?}",
            pair.ends[DIALER].close_reason()
        );
    }
}

#[test]
fn credit_grows_on_a_long_path_and_returns_when_the_reader_is_slow() {
    let latency = Duration::from_millis(50);
    let mut pair = Pair::new(MuxOptions::default(), latency, 1).open_for_business();
    let id = pair.stream();
    let mut received = 0usize;
    let start = pair.now;
    while pair.now.since(start) < Duration::from_secs(5) {
        while pair.ends[DIALER].write(id, &[3; 65_536]).unwrap() > 0 {
            pair.send();
        }
        received += pair.read_all(LISTENER, id).len();
        pair.step(Timestamp::from_micros(u64::MAX));
    }
    // With 256 KiB for ever it would be 13 MB.
    assert!(received > 150_000_000, "{received} bytes in 5 s");
    assert!(pair.ends[LISTENER].streams[&id].window.size > 4 << 20);
    assert!(pair.ends[LISTENER].unread_bytes() <= 16 << 20);

    pair.settle();
    for _ in 0..100 {
        let mut some = bytes::BytesMut::zeroed(200_000);
        let _ = pair.ends[LISTENER].read(id, &mut &mut some[..]);
        pair.run(Duration::from_secs(1));
    }
    assert_eq!(pair.ends[LISTENER].streams[&id].window.size, 256 * 1024);
}

#[test]
fn after_drain_open_streams_go_on_and_new_ones_are_refused() {
    let mut pair = pair();
    let id = pair.stream();
    pair.ends[LISTENER].drain();
    // Under way when the goodbye comes.
    let late = pair.ends[DIALER].open(&StreamTarget::Engine).unwrap();
    pair.settle();
    assert_eq!(
        pair.ends[DIALER].open(&StreamTarget::Engine),
        Err(OpenError::Draining)
    );
    let refused = pair.ends[DIALER].read(late, &mut Vec::new());
    assert_eq!(refused, Err(StreamError::Reset(ResetCode::Refused)));
    pair.ends[DIALER].write(id, b"go on").unwrap();
    pair.settle();
    assert_eq!(pair.read_all(LISTENER, id), b"go on");
}

#[test]
fn a_released_stream_that_was_shut_down_still_delivers() {
    let mut pair = pair();
    let id = pair.stream();
    pair.ends[DIALER].write(id, &[5; 60_000]).unwrap();
    pair.ends[DIALER].finish(id).unwrap();
    pair.ends[DIALER].release(id);
    pair.settle();
    assert_eq!(pair.read_all(LISTENER, id).len(), 60_000);
    assert_eq!(
        pair.ends[LISTENER].read(id, &mut Vec::new()),
        Ok(ReadOutcome::End)
    );
    // Nobody reads the answer any more, and its writer learns of it.
    pair.ends[LISTENER].write(id, b"thanks").unwrap();
    pair.settle();
    let reset = StreamError::Reset(ResetCode::Dropped);
    assert_eq!(pair.ends[LISTENER].write(id, b"really"), Err(reset));
    assert!(pair.ends[DIALER].streams.is_empty());
}

#[test]
fn an_unknown_target_ends_the_stream_and_not_the_carrier() {
    let mut pair = pair();
    let mut out = BytesMut::new();
    frame::put_open(&mut out, 1, "teleport:x", 0, 0);
    pair.ends[LISTENER].handle_input(&out, pair.now);
    let answer = pair.ends[LISTENER].poll_output(pair.now).unwrap();
    assert_eq!(answer[0], frame::kind::RESET);
    assert!(pair.ends[LISTENER].is_open());
    assert_eq!(pair.ends[LISTENER].accept(), None);
}
