use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::frame::{self, GoAwayCode};

/// An [`Item`] that owns its bytes, with the parts of one stream's data joined.
#[derive(Debug, PartialEq)]
enum Seen {
    Item(String),
    Data(u32, Vec<u8>),
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Seen>, FrameError> {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    for mut input in pieces {
        while let Some(item) = decoder.next(&mut input)? {
            match item {
                Item::Data { stream, bytes } => match seen.last_mut() {
                    Some(Seen::Data(last, joined)) if *last == stream => {
                        joined.extend_from_slice(bytes);
                    }
                    _ => seen.push(Seen::Data(stream, bytes.to_vec())),
                },
                other => seen.push(Seen::Item(format!("{other:?}"))),
            }
        }
        assert!(input.is_empty(), "without an item all input is taken");
    }
    Ok(seen)
}

/// One of each frame.
fn every_frame() -> Vec<u8> {
    let hello = Hello {
        lowest_version: 1,
        highest_version: 3,
        max_streams: 5,
        stream_credit: 70_000,
        carrier_credit: 1 << 20,
    };
    let mut out = hello.encode();
    frame::put_open(&mut out, 1, "service:web", 5, FIN);
    out.put_slice(b"first");
    frame::put_open(&mut out, 3, "gopher", 0, 0);
    out.put_slice(&frame::header(kind::DATA, 0, 7, 3));
    out.put_slice(b"content");
    out.put_slice(&frame::header(kind::DATA, FIN, 0, 3));
    frame::put_credit(&mut out, 3, 7, 70_000);
    frame::put_reset(&mut out, 3, ResetCode::Dropped);
    frame::put_ping(&mut out, 0x0102_0304_0506_0708);
    frame::put_pong(&mut out, 9);
    out.put_slice(&frame::header(0x99, 0xff, 4, 77));
    out.put_slice(b"new!");
    frame::put_go_away(&mut out, GoAwayCode::Draining, 4, "maintenance");
    out.to_vec()
}

#[test]
fn frames_are_found_at_every_split() {
    let bytes = every_frame();
    let whole = decode([&bytes[..]]).unwrap();
    assert_eq!(whole.len(), 13, "{whole:#?}");
    for at in 0..=bytes.len() {
        assert_eq!(
            decode([&bytes[..at], &bytes[at..]]).unwrap(),
            whole,
            "split at {at}"
        );
    }
    assert_eq!(decode(bytes.chunks(1)).unwrap(), whole);
}

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let seen = decode([&every_frame()[..]]).unwrap();
    let texts: Vec<String> = seen.iter().map(|seen| format!("{seen:?}")).collect();
    for part in [
        "max_streams: 5, stream_credit: 70000",
        "Open { stream: 1, target: Some(Service(\\\"web\\\")) }",
        "Data(1, [102, 105, 114, 115, 116])",
        "Fin { stream: 1 }",
        "Open { stream: 3, target: None }",
        "Credit { stream: 3, consumed: 7, window: 70000 }",
        "Reset { stream: 3, code: Dropped }",
        "Ping(72623859790382856)",
        "Pong(9)",
        "Skipped",
        "GoAway { code: Draining, last: 4, text: \\\"maintenance\\\" }",
    ] {
        assert!(
            texts.iter().any(|text| text.contains(part)),
            "{part} in {texts:#?}"
        );
    }
}

#[track_caller]
fn refuse(header: [u8; HEADER], error: FrameError) {
    assert_eq!(decode([&header[..]]), Err(error));
}

#[test]
fn bad_headers_are_refused_before_any_payload() {
    refuse(frame::header(0x7f, 0, 0, 1), FrameError::UnknownKind(0x7f));
    refuse(
        frame::header(kind::DATA, 0x80, 1, 1),
        FrameError::UnknownFlags(kind::DATA, 0x80),
    );
    refuse(
        frame::header(kind::PING, FIN, 8, 0),
        FrameError::UnknownFlags(kind::PING, FIN),
    );
    let long = MAX_DATA + 1;
    refuse(
        frame::header(kind::DATA, 0, long, 1),
        FrameError::Length(kind::DATA, long),
    );
    refuse(
        frame::header(kind::HELLO, 0, 257, 0),
        FrameError::Length(kind::HELLO, 257),
    );
    refuse(
        frame::header(kind::GOAWAY, 0, 65_535, 0),
        FrameError::Length(kind::GOAWAY, 65_535),
    );
    refuse(
        frame::header(kind::CREDIT, 0, 7, 1),
        FrameError::Length(kind::CREDIT, 7),
    );
    refuse(
        frame::header(kind::DATA, 0, 1, 0),
        FrameError::StreamId(kind::DATA, 0),
    );
    refuse(
        frame::header(kind::PONG, 0, 8, 5),
        FrameError::StreamId(kind::PONG, 5),
    );
    // ngrok 1.x: a signed 64-bit length of 2^63 - 1.
    refuse(
        *b"\x7f\xff\xff\xff\xff\xff\xff\xff",
        FrameError::UnknownKind(0x7f),
    );
}

#[test]
fn an_open_frame_holds_its_target() {
    let mut out = BytesMut::new();
    out.put_slice(&frame::header(kind::OPEN, 0, 4, 1));
    out.put_u16(3);
    assert_eq!(decode([&out[..]]), Err(FrameError::Length(kind::OPEN, 3)));
    let mut out = BytesMut::new();
    frame::put_open(&mut out, 1, "engine", MAX_DATA + 1, 0);
    out.put_slice(&[0; 64]);
    assert!(matches!(
        decode([&out[..]]),
        Err(FrameError::Length(kind::OPEN, _))
    ));
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut decoder = Decoder::new();
    let mut input = &frame::header(kind::OPEN, 0, 2 + MAX_TARGET + MAX_DATA, 1)[..];
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.scratch.capacity(), 0);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cuts in prop::collection::vec(1usize..50, 1..20),
    ) {
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        let mut sizes = cuts.iter().cycle();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(decode(pieces), decode([&bytes[..]]));
    }
}
