//! A peer that sends whatever it likes. Each case ends in a bounded state and a clear reason.

use bytes::BufMut;
use longshore_core::CloseReason;

use super::super::*;
use crate::frame::{FIN, MAX_DATA, header, kind};

const NOW: Timestamp = Timestamp::from_secs(1_000);

fn hello() -> Hello {
    MuxOptions::default().hello()
}

/// A listener that has said and heard hello.
fn victim() -> Mux {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    mux.handle_input(&hello().encode(), NOW);
    assert!(mux.is_open());
    while mux.poll_output(NOW).is_some() {}
    mux
}

fn open(mux: &mut Mux, id: u32) {
    let mut out = BytesMut::new();
    frame::put_open(&mut out, id, "engine", 0, 0);
    mux.handle_input(&out, NOW);
}

fn data(mux: &mut Mux, id: u32, length: usize, flags: u8) {
    let mut out = BytesMut::from(&header(kind::DATA, flags, length, id)[..]);
    out.put_bytes(7, length);
    mux.handle_input(&out, NOW);
}

/// The carrier has ended for this reason, and the peer is told.
#[track_caller]
fn expect_end(mut mux: Mux, reason: &str) {
    match mux.close_reason() {
        Some(CloseReason::Broken(text)) => assert!(text.contains(reason), "{text}"),
        other => panic!("expected an end with {reason:?}, got {other:?}"),
    }
    let mut said = Vec::new();
    while let Some(bytes) = mux.poll_output(NOW) {
        said.extend_from_slice(&bytes);
    }
    assert!(
        String::from_utf8_lossy(&said).contains(reason),
        "the goodbye says why"
    );
    assert_eq!(mux.unread_bytes(), 0);
}

#[test]
fn garbage_instead_of_hello() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    mux.handle_input(b"GET / HTTP/1.1\r\n\r\n", NOW);
    expect_end(mux, "does not speak longshore's tunnel protocol");
}

#[test]
fn a_hello_of_another_protocol() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    let mut bytes = BytesMut::from(&header(kind::HELLO, 0, 20, 0)[..]);
    bytes.put_bytes(b'x', 20);
    mux.handle_input(&bytes, NOW);
    expect_end(mux, "does not speak longshore's tunnel protocol");
}

#[test]
fn frames_before_hello() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    open(&mut mux, 1);
    expect_end(mux, "a frame before HELLO");
}

#[test]
fn a_second_hello() {
    let mut mux = victim();
    mux.handle_input(&hello().encode(), NOW);
    expect_end(mux, "a second HELLO");
}

#[test]
fn a_version_that_is_not_spoken_here() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    let hello = Hello {
        lowest_version: 2,
        highest_version: 7,
        ..hello()
    };
    mux.handle_input(&hello.encode(), NOW);
    expect_end(mux, "this side speaks 1, the peer 2 to 7");
}

#[test]
fn no_hello_at_all() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    let deadline = mux.next_deadline().unwrap();
    assert_eq!(deadline, NOW.after(Duration::from_secs(10)));
    mux.handle_timeout(deadline);
    assert_eq!(mux.close_reason(), Some(&CloseReason::Silent));
}

#[test]
fn an_oversized_frame() {
    let mut mux = victim();
    open(&mut mux, 1);
    mux.handle_input(&header(kind::DATA, 0, MAX_DATA + 1, 1), NOW);
    expect_end(mux, "frame kind 0x03 with a payload of 16385 bytes");
}

#[test]
fn an_unknown_critical_frame() {
    let mut mux = victim();
    mux.handle_input(&header(0x30, 0, 0, 0), NOW);
    expect_end(mux, "unknown critical frame kind 0x30");
}

#[test]
fn unknown_skippable_frames_are_skipped() {
    let mut mux = victim();
    for _ in 0..100 {
        let mut out = BytesMut::from(&header(0xfe, 0xaa, 3, 12345)[..]);
        out.put_slice(b"new");
        mux.handle_input(&out, NOW);
    }
    assert!(mux.is_open());
}

#[test]
fn floods_of_frames_that_serve_nothing() {
    type Flood = (&'static str, fn(&mut Mux));
    let floods: [Flood; 4] = [
        ("a flood of frames of unknown kinds", |mux| {
            mux.handle_input(&header(0x80, 0, 0, 0), NOW);
        }),
        ("a flood of empty frames", |mux| data(mux, 1, 0, 0)),
        ("a flood of pings", |mux| {
            let mut out = BytesMut::new();
            frame::put_ping(&mut out, 1);
            mux.handle_input(&out, NOW);
            while mux.poll_output(NOW).is_some() {}
        }),
        ("a flood of credits of nothing", |mux| {
            let mut out = BytesMut::new();
            frame::put_credit(&mut out, 1, 0, 256 * 1024);
            mux.handle_input(&out, NOW);
        }),
    ];
    for (reason, send) in floods {
        let mut mux = victim();
        open(&mut mux, 1);
        let mut count = 0;
        while mux.is_open() {
            send(&mut mux);
            count += 1;
            assert!(count < 5_000, "{reason} goes on");
        }
        assert!(count > 1_000, "{reason}: {count} are no flood");
        assert!(
            mux.close_reason().unwrap().to_string().contains(reason),
            "{mux:?}"
        );
    }
}

/// Sends credits until the carrier ends, and says how many it took.
fn flood_of_credits(mut mux: Mux, credit: impl Fn(u32) -> (u32, u32)) -> u32 {
    let mut count = 0;
    while mux.is_open() {
        let (consumed, window) = credit(count);
        let mut out = BytesMut::new();
        frame::put_credit(&mut out, 1, consumed, window);
        mux.handle_input(&out, NOW);
        count += 1;
        assert!(count < 5_000, "the flood goes on");
    }
    let reason = mux.close_reason().unwrap().to_string();
    assert!(reason.contains("a flood of credits of nothing"), "{reason}");
    count
}

#[test]
fn a_window_that_goes_to_and_fro_is_a_flood() {
    let mut mux = victim();
    open(&mut mux, 1);
    let count = flood_of_credits(mux, |count| (0, 1000 + count % 2));
    assert!(count > 1_000);
}

#[test]
fn credit_in_crumbs_is_a_flood() {
    let mut mux = victim();
    open(&mut mux, 1);
    let mut out = BytesMut::new();
    frame::put_credit(&mut out, 1, 0, 256 * 1024);
    mux.handle_input(&out, NOW);
    assert!(mux.accept().is_some());
    assert_eq!(mux.write(1, &[7; 10_000]).unwrap(), 10_000);
    while mux.poll_output(NOW).is_some() {}
    let count = flood_of_credits(mux, |_| (1, 256 * 1024));
    assert!(count > 1_000);
}

#[test]
fn a_peer_that_asks_and_does_not_read() {
    let options = MuxOptions {
        nuisance_burst: u32::MAX,
        ..Default::default()
    };
    let mut mux = Mux::new(Side::Listener, options, NOW);
    mux.handle_input(&hello().encode(), NOW);
    let mut out = BytesMut::new();
    frame::put_ping(&mut out, 1);
    let mut count = 0;
    while mux.is_open() {
        mux.handle_input(&out, NOW);
        count += 1;
        assert!(count < 10_000);
    }
    assert!(mux.control.len() < 70_000);
    expect_end(mux, "sends and does not read");
}

#[test]
fn more_streams_than_allowed() {
    let mut mux = victim();
    for n in 0..1024 {
        open(&mut mux, 1 + 2 * n);
    }
    assert!(mux.is_open());
    open(&mut mux, 1 + 2 * 1024);
    expect_end(mux, "more than 1024 streams open at once");
}

#[test]
fn rapid_resets() {
    let mut mux = victim();
    let mut out = BytesMut::new();
    let mut n = 0;
    while mux.is_open() {
        open(&mut mux, 1 + 2 * n);
        out.clear();
        frame::put_reset(&mut out, 1 + 2 * n, frame::ResetCode::Dropped);
        mux.handle_input(&out, NOW);
        assert!(mux.streams.len() <= 1 && mux.incoming.is_empty());
        n += 1;
        assert!(n < 5_000);
    }
    expect_end(mux, "a flood of resets of streams just opened");
}

/// Streams that are taken and reset free their place at once, but not what their users hold.
#[test]
fn rapid_resets_of_streams_that_were_taken() {
    let mut mux = victim();
    let mut out = BytesMut::new();
    let mut n = 0;
    while mux.is_open() {
        open(&mut mux, 1 + 2 * n);
        mux.accept();
        out.clear();
        frame::put_reset(&mut out, 1 + 2 * n, frame::ResetCode::Dropped);
        mux.handle_input(&out, NOW);
        assert!(
            mux.streams.len() <= 2048,
            "users hold {} streams",
            mux.streams.len()
        );
        while mux.poll_output(NOW).is_some() {}
        n += 1;
        assert!(n < 10_000);
    }
    assert!(
        mux.close_reason()
            .unwrap()
            .to_string()
            .contains("streams that are refused")
    );
}

#[test]
fn stream_ids_of_the_wrong_side_or_used() {
    let mut mux = victim();
    open(&mut mux, 2);
    expect_end(mux, "stream id 2, which is not the peer's");
    for used in [5, 3] {
        let mut mux = victim();
        open(&mut mux, 5);
        open(&mut mux, used);
        expect_end(mux, &format!("the used stream id {used}"));
    }
}

#[test]
fn frames_for_streams_that_never_were() {
    let mut mux = victim();
    data(&mut mux, 9, 1, 0);
    expect_end(mux, "DATA on stream 9, never opened");
    let mut mux = victim();
    data(&mut mux, 2, 1, 0);
    expect_end(mux, "DATA on stream 2, never opened");
    let mut mux = victim();
    let mut out = BytesMut::new();
    frame::put_credit(&mut out, 4, 1, 1);
    mux.handle_input(&out, NOW);
    expect_end(mux, "CREDIT on stream 4, never opened");
    let mut mux = victim();
    let mut out = BytesMut::new();
    frame::put_reset(&mut out, 4, frame::ResetCode::Dropped);
    mux.handle_input(&out, NOW);
    expect_end(mux, "RESET of stream 4, never opened");
}

#[test]
fn data_after_the_end() {
    let mut mux = victim();
    open(&mut mux, 1);
    data(&mut mux, 1, 1, FIN);
    let mut again = victim();
    open(&mut again, 1);
    data(&mut again, 1, 1, FIN);
    data(&mut mux, 1, 1, 0);
    expect_end(mux, "DATA after the end of stream 1");
    data(&mut again, 1, 0, FIN);
    expect_end(again, "a second end of stream 1");
}

#[test]
fn more_data_than_credit_for_one_stream() {
    let mut mux = victim();
    open(&mut mux, 1);
    for _ in 0..16 {
        data(&mut mux, 1, MAX_DATA, 0);
    }
    assert!(mux.is_open());
    assert_eq!(mux.unread_bytes(), 256 * 1024);
    data(&mut mux, 1, 1, 0);
    assert!(
        mux.close_reason()
            .unwrap()
            .to_string()
            .contains("more data on stream 1")
    );
}

#[test]
fn more_data_than_credit_for_all_streams() {
    let mut mux = victim();
    let mut id = 1;
    while mux.is_open() {
        open(&mut mux, id);
        for _ in 0..16 {
            data(&mut mux, id, MAX_DATA, 0);
            assert!(mux.unread_bytes() <= 16 << 20);
        }
        id += 2;
        assert!(id < 1000);
    }
    assert!(
        mux.close_reason()
            .unwrap()
            .to_string()
            .contains("than it has credit for")
    );
}

#[test]
fn more_credit_than_was_sent() {
    for (consumed, window) in [(1, 1000), (u32::MAX, 1000), (0, u32::MAX)] {
        let mut mux = victim();
        open(&mut mux, 1);
        let mut out = BytesMut::new();
        frame::put_credit(&mut out, 1, consumed, window);
        mux.handle_input(&out, NOW);
        expect_end(mux, "credit overflow on stream 1");
    }
}

#[test]
fn credit_too_small_to_work_with() {
    let mut mux = Mux::new(Side::Listener, MuxOptions::default(), NOW);
    mux.handle_input(
        &Hello {
            stream_credit: 0,
            ..hello()
        }
        .encode(),
        NOW,
    );
    expect_end(mux, "a credit below 1024 bytes");
}

#[test]
fn a_goodbye_ends_everything_that_comes_after() {
    let mut mux = victim();
    open(&mut mux, 1);
    let mut out = BytesMut::new();
    frame::put_go_away(&mut out, GoAwayCode::Closed, 0, "bye\u{1b}[31m");
    frame::put_open(&mut out, 3, "engine", 0, 0);
    mux.handle_input(&out, NOW);
    assert_eq!(
        mux.close_reason(),
        Some(&CloseReason::Peer("bye\\u{1b}[31m".to_owned()))
    );
    assert_eq!(mux.accept(), None);
    assert!(mux.poll_output(NOW).is_none());
}

/// Small frames hold no more memory than their bytes.
#[test]
fn one_byte_frames() {
    let mut mux = victim();
    open(&mut mux, 1);
    for _ in 0..10_000 {
        data(&mut mux, 1, 1, 0);
    }
    assert!(mux.is_open());
    assert_eq!(mux.unread_bytes(), 10_000);
}
