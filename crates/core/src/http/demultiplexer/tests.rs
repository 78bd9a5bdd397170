use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Feeds the pieces and joins what comes out, by output.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut frames = Demultiplexer::new();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(output) = frames.next(&mut piece)? {
            match output.kind {
                OutputKind::Stdout => stdout.extend_from_slice(&output.bytes),
                OutputKind::Stderr => stderr.extend_from_slice(&output.bytes),
            }
        }
    }
    frames.finish()?;
    Ok((stdout, stderr))
}

#[test]
fn frames_cut_at_every_byte_say_the_same() {
    let stream = [
        frame(1, b"\0\0\0\0\x7f\xff\xff\xffNUL-first"),
        frame(2, b"\x01\0\0\0\0\0\0\x04"),
        frame(1, b""),
        frame(0, b"zero"),
    ]
    .concat();
    let expected = (
        b"\0\0\0\0\x7f\xff\xff\xffNUL-firstzero".to_vec(),
        b"\x01\0\0\0\0\0\0\x04".to_vec(),
    );
    for place in 0..=stream.len() {
        let (front, back) = stream.split_at(place);
        assert_eq!(decode([front, back]).unwrap(), expected);
    }
    assert_eq!(decode(stream.chunks(1)).unwrap(), expected);
}

#[test]
fn a_large_frame_streams_through() {
    let payload: Vec<u8> = (0..16 << 20).map(|index| (index % 251) as u8).collect();
    let stream = frame(1, &payload);
    let (stdout, _) = decode(stream.chunks(65_536)).unwrap();
    assert!(stdout == payload);
}

#[test]
fn an_announced_length_costs_nothing_and_payload_does_not_wait_for_it() {
    let mut frames = Demultiplexer::new();
    let mut piece = Bytes::from_static(b"\x01\0\0\0\xff\xff\xff\xffabc");
    let output = frames.next(&mut piece).unwrap().unwrap();
    assert_eq!(output.bytes, "abc");
    assert_eq!(frames.finish().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn what_is_no_header_is_refused_at_its_first_wrong_byte() {
    for bad in [
        &b"\x03"[..],
        b"hello",
        b"\x01\x01",
        b"\x01\0\0\x05",
        b"\xff",
    ] {
        let mut piece = Bytes::copy_from_slice(bad);
        let error = Demultiplexer::new().next(&mut piece).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{bad:?}");
    }
}

proptest! {
    /// Any frames, cut anywhere, come out as they went in.
    #[test]
    fn any_frames_cut_anywhere_come_out_whole(
        frames in prop::collection::vec((0..3u8, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        cuts in prop::collection::vec(1..50usize, 1..40),
    ) {
        let mut stream = BytesMut::new();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for (kind, payload) in &frames {
            stream.put_slice(&frame(*kind, payload));
            let output = if *kind == 2 { &mut stderr } else { &mut stdout };
            output.extend_from_slice(payload);
        }
        let mut rest = &stream[..];
        let mut pieces = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, tail) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = tail;
        }
        prop_assert_eq!(decode(pieces).unwrap(), (stdout, stderr));
    }

    /// Any bytes at all: no panic, and never more out than in.
    #[test]
    fn hostile_bytes_do_no_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let total: usize = pieces.iter().map(Vec::len).sum();
        if let Ok((stdout, stderr)) = decode(pieces.iter().map(Vec::as_slice)) {
            prop_assert!(stdout.len() + stderr.len() <= total);
        }
    }
}
