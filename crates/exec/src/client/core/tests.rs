use longshore_core::OutputKind;
use proptest::prelude::*;

use super::*;
use crate::session::GapCause;

proptest! {
    /// The entry of the fuzz target: a hostile gateway does no more than get itself refused.
    #[test]
    fn a_hostile_gateway_is_refused(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
        kinds in prop::collection::vec(0x81u8..0x8b, 40),
    ) {
        let mut core = ClientCore::new(Open::default());
        core.connect();
        let ready = ReadyFrame { session: "s".into(), secret: Some("x".into()), base: 0, head: 0, in_next: 0, caps: vec![], in_window: 99 };
        prop_assert_eq!(core.handle(ServerFrame::Ready(ready)).unwrap(), ClientEvent::Ready);
        core.write(&[7; 300]);
        for (mut frame, kind) in frames.into_iter().zip(kinds) {
            frame.insert(0, kind);
            if let Ok(frame) = ServerFrame::decode(frame.into())
                && core.handle(frame).is_err()
            {
                core.disconnected();
                core.connect();
            }
            while core.poll_frame().is_some() {}
            prop_assert!(core.unsafe_input.len() <= MOST_INPUT);
        }
    }
}

/// A client that has `before`, lost its connection, and came back to a log from `base` to `head`.
fn back(before: u64, base: u64, head: u64) -> ClientCore {
    let ready = |base, head| {
        ServerFrame::Ready(ReadyFrame {
            session: "s".into(),
            secret: Some("x".into()),
            base,
            head,
            in_next: 0,
            caps: vec![],
            in_window: 99,
        })
    };
    let mut core = ClientCore::new(Open::default());
    core.connect();
    assert_eq!(core.missed(), None);
    core.handle(ready(0, 0)).unwrap();
    assert_eq!(core.missed(), Some(0));
    output(&mut core, 0, before);
    core.disconnected();
    assert_eq!(core.missed(), None);
    core.connect();
    core.handle(ready(base, head)).unwrap();
    core
}

fn output(core: &mut ClientCore, from: u64, bytes: u64) {
    let bytes = vec![b'x'; bytes as usize].into();
    let frame = ServerFrame::Output(from, OutputKind::Stdout, bytes);
    core.handle(frame).unwrap();
}

#[test]
fn what_a_cut_has_cost_is_known_when_it_was_told() {
    // The gateway has kept all that is missing here.
    assert_eq!(back(10, 4, 90).missed(), Some(0));
    assert_eq!(back(10, 10, 10).missed(), Some(0));
    // What it has not comes from a record,
    let mut core = back(10, 50, 90);
    assert_eq!(core.missed(), None);
    output(&mut core, 10, 30);
    assert_eq!(core.missed(), None);
    output(&mut core, 40, 30);
    assert_eq!(core.missed(), Some(0));
    // or does not, or in part.
    let mut core = back(10, 50, 90);
    output(&mut core, 10, 5);
    let gap = |from, to| ServerFrame::Gap(from, to, GapCause::Trimmed);
    core.handle(gap(15, 50)).unwrap();
    assert_eq!(core.missed(), Some(35));
    // What is dropped while the connection is there is no cut's doing.
    output(&mut core, 50, 5);
    core.handle(gap(55, 60)).unwrap();
    assert_eq!(core.missed(), Some(35));
    core.disconnected();
    assert_eq!(core.missed(), None);
}

#[cfg(all(feature = "compression", feature = "gateway"))]
mod packed {
    use super::*;
    use crate::{
        protocol::{Encoder, Outgoing, native::NativeEncoder},
        session::{EndReason, SessionEnd, ViewerEvent},
    };

    type Log = Vec<(OutputKind, u8)>;

    /// What a gateway sends from an offset on, in pieces of a size, and the end.
    fn tell(log: &Log, from: usize, piece: usize, encoder: &mut NativeEncoder) -> Outgoing {
        let mut out = Outgoing::default();
        let mut offset = from;
        while offset < log.len() {
            let kind = log[offset].0;
            let same = log[offset..].iter().take(piece);
            let bytes: Bytes = same
                .take_while(|(other, _)| *other == kind)
                .map(|(_, byte)| *byte)
                .collect();
            let length = bytes.len();
            let event = ViewerEvent::Output {
                offset: offset as u64,
                kind,
                bytes,
            };
            encoder.event(event, &mut out);
            offset += length;
        }
        encoder.event(
            ViewerEvent::Ended(SessionEnd::new(EndReason::Exited)),
            &mut out,
        );
        out
    }

    fn ready(at: usize) -> ServerFrame {
        ServerFrame::Ready(ReadyFrame {
            session: "s".into(),
            secret: Some("x".into()),
            base: 0,
            head: at as u64,
            in_next: 0,
            caps: vec![],
            in_window: 99,
        })
    }

    fn open(compress: bool) -> Open {
        Open {
            compress,
            ..Open::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the program prints, in whatever pieces it is sent, wherever the connection is
        /// cut: the same bytes of the same outputs, once, and the end behind them.
        #[test]
        fn any_cut_and_any_pieces_give_the_same_bytes(
            parts in prop::collection::vec(
                (any::<bool>(), prop_oneof!["[ab日]{0,6}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)], 1usize..120),
                0..12,
            ),
            piece in 1usize..5000,
            cuts in prop::collection::vec(0usize..20, 0..6),
            text in any::<bool>(),
        ) {
            let mut log = Log::new();
            for (error, bytes, times) in parts {
                let kind = if error { OutputKind::Stderr } else { OutputKind::Stdout };
                log.extend(bytes.repeat(times).into_iter().map(|byte| (kind, byte)));
            }
            let mut core = ClientCore::new(open(true));
            let mut got = Log::new();
            let mut ended = false;
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let want = match core.connect() {
                    ClientFrame::Resume(resume) => {
                        prop_assert!(resume.compress);
                        resume.want as usize
                    }
                    _ => 0,
                };
                prop_assert_eq!(want, got.len());
                core.handle(ready(log.len())).unwrap();
                let mut encoder = NativeEncoder::new(want as u64).with_text(text).with_compression(true);
                let out = tell(&log, want, piece, &mut encoder);
                for message in out.messages.into_iter().take(cut) {
                    match core.handle(ServerFrame::decode(message).unwrap()).unwrap() {
                        ClientEvent::Output(output) => {
                            core.consumed(output.bytes.len());
                            got.extend(output.bytes.iter().map(|byte| (output.kind, *byte)));
                        }
                        ClientEvent::Ended(_) => ended = true,
                        other => panic!("{other:?}"),
                    }
                }
                if ended {
                    break;
                }
                core.disconnected();
            }
            prop_assert!(ended);
            prop_assert_eq!(got, log);
        }
    }

    #[test]
    fn what_was_not_asked_for_and_what_is_too_much_is_refused() {
        let mut encoder = NativeEncoder::new(0).with_compression(true);
        let log: Log = vec![(OutputKind::Stdout, b'x'); 8000];
        let frame = tell(&log, 0, 8000, &mut encoder).messages.remove(0);
        assert_eq!(frame[0], 0x88);
        let handle = |open: Open, frame: &Bytes| {
            let mut core = ClientCore::new(open);
            core.connect();
            core.handle(ready(0)).unwrap();
            core.handle(ServerFrame::decode(frame.clone()).unwrap())
        };
        assert!(handle(open(true), &frame).is_ok());
        let refused = handle(open(false), &frame).unwrap_err();
        assert!(refused.to_string().contains("not asked for"), "{refused}");
        // A length beyond all windows is refused before anything is inflated.
        let mut bomb = frame.to_vec();
        bomb[10..14].copy_from_slice(&u32::MAX.to_be_bytes());
        let refused = handle(open(true), &bomb.into()).unwrap_err();
        assert!(refused.to_string().contains("unacknowledged"), "{refused}");
    }
}
