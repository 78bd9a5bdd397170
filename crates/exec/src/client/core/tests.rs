use bytes::Bytes;
use longshore_core::{Cleanup, ErrorKind, OutputKind};
use proptest::prelude::*;

use super::*;
use crate::{
    protocol::native::{ExitFrame, NoticeFrame, PersonFrame},
    session::{EndReason, GapCause},
};

proptest! {
    /// The entry of the fuzz target: a hostile gateway does no more than get itself refused.
    #[test]
    fn a_hostile_gateway_is_refused(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40),
        kinds in prop::collection::vec(0x81u8..0x8b, 40),
    ) {
        let mut core = ClientCore::new(Open::default());
        core.connect();
        let ready = ReadyFrame { session: "s".into(), secret: Some("x".into()), base: 0, head: 0, in_next: 0, in_own: 0, caps: vec![], in_window: 99 };
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
            prop_assert!(core.unsafe_input.len() <= sending::MOST_INPUT);
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
            in_own: 0,
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

fn joins(core: &mut ClientCore, secret: bool, in_next: u64, in_own: u64) {
    core.connect();
    let ready = ReadyFrame {
        session: "s".into(),
        secret: secret.then(|| "x".into()),
        base: 0,
        head: 0,
        in_next,
        in_own,
        caps: vec!["people".into()],
        in_window: 99,
    };
    core.handle(ServerFrame::Ready(ready)).unwrap();
}

/// An older gateway passes over what it does not know; its client must not take that for a yes.
#[test]
fn a_cleanup_that_the_gateway_knows_nothing_of_is_refused() {
    for (asked, caps, followed) in [
        (None, vec!["signal"], true),
        (Some(Cleanup::Tree), vec!["signal", "resume"], false),
        (Some(Cleanup::Nothing), vec!["resume", "cleanup"], true),
    ] {
        let mut core = ClientCore::new(Open {
            cleanup: asked,
            ..Open::default()
        });
        core.connect();
        assert!(core.check_cleanup().is_ok(), "nothing is known yet");
        let ready = ReadyFrame {
            session: "s".into(),
            secret: Some("x".into()),
            base: 0,
            head: 0,
            in_next: 0,
            in_own: 0,
            caps: caps.into_iter().map(str::to_owned).collect(),
            in_window: 99,
        };
        core.handle(ServerFrame::Ready(ready)).unwrap();
        let told = core.check_cleanup();
        assert_eq!(told.is_ok(), followed, "{asked:?}");
        if let Err(error) = told {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("cleanup tree"), "{error}");
        }
    }
}

fn notice(core: &mut ClientCore, code: &str, in_next: Option<u64>) {
    let notice = NoticeFrame {
        level: "info".into(),
        code: code.into(),
        text: String::new(),
        viewer: None,
        in_next,
        people: vec![],
    };
    core.handle(ServerFrame::Notice(notice)).unwrap();
}

/// What it sends of input: from where, and what.
fn sends(core: &mut ClientCore) -> Vec<(u64, Bytes)> {
    let frames = std::iter::from_fn(|| core.poll_frame());
    let input = frames.filter_map(|frame| match frame {
        ClientFrame::Input(offset, bytes) => Some((offset, bytes)),
        _ => None,
    });
    input.collect()
}

#[test]
fn who_is_granted_the_right_goes_on_where_the_input_is() {
    let mut core = ClientCore::new(Open::default());
    joins(&mut core, false, 3, 0);
    core.write(b"before");
    assert_eq!(sends(&mut core), []);
    notice(&mut core, "may-write", Some(5));
    core.handle(ServerFrame::InputAck(5)).unwrap();
    core.write(b"ab");
    assert_eq!(sends(&mut core), [(5, "ab".into())]);
    core.handle(ServerFrame::InputAck(7)).unwrap();
    core.write(b"c");
    assert_eq!(sends(&mut core), [(7, "c".into())]);
    core.handle(ServerFrame::InputAck(9)).unwrap_err();
}

#[test]
fn what_was_typed_without_the_right_never_runs() {
    let mut core = ClientCore::new(Open::default());
    joins(&mut core, true, 0, 0);
    core.resize(TerminalSize::new(80, 24));
    core.write(b"ab");
    assert_eq!(sends(&mut core), [(0, "ab".into())]);
    core.handle(ServerFrame::InputAck(2)).unwrap();
    core.write(b"lost");
    assert_eq!(sends(&mut core), [(2, "lost".into())]);
    notice(&mut core, "read-only", None);
    core.write(b"mute");
    assert_eq!(sends(&mut core), []);
    // Also not after a resume, with or without somebody else's input before it.
    core.disconnected();
    joins(&mut core, true, 2, 0);
    assert_eq!(sends(&mut core), []);
    core.write(b"c");
    assert_eq!(sends(&mut core), [(2, "c".into())]);
    core.handle(ServerFrame::InputAck(3)).unwrap();
    notice(&mut core, "read-only", None);
    notice(&mut core, "may-write", Some(40));
    // The terminal had another size meanwhile.
    let size = ClientFrame::Resize(TerminalSize::new(80, 24));
    assert_eq!(core.poll_frame(), Some(size));
    core.write(b"d");
    assert_eq!(sends(&mut core), [(40, "d".into())]);
}

/// A word that was on its way when the right changed hands twice.
#[test]
fn input_that_was_taken_all_the_same_is_no_fault() {
    let mut core = ClientCore::new(Open::default());
    joins(&mut core, true, 0, 0);
    core.write(b"abc");
    assert_eq!(sends(&mut core), [(0, "abc".into())]);
    notice(&mut core, "may-write", Some(0));
    core.handle(ServerFrame::InputAck(3)).unwrap();
    core.write(b"d");
    assert_eq!(sends(&mut core), [(3, "d".into())]);
}

#[test]
fn an_owner_who_was_cut_hears_that_others_typed() {
    // More than this one ever typed.
    let mut core = ClientCore::new(Open::default());
    joins(&mut core, true, 0, 0);
    core.write(b"abc");
    sends(&mut core);
    core.disconnected();
    joins(&mut core, true, 50, 50);
    assert_eq!(sends(&mut core), []);
    core.write(b"d");
    assert_eq!(sends(&mut core), [(50, "d".into())]);
    // Less than this one typed and did not send, but not its own; once told, it is over.
    core.write(&[b'x'; 200]);
    sends(&mut core);
    core.disconnected();
    joins(&mut core, true, 70, 70);
    assert_eq!(sends(&mut core), []);
    core.write(b"e");
    core.disconnected();
    joins(&mut core, true, 70, 70);
    assert_eq!(sends(&mut core), [(70, "e".into())]);
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

/// Looks on, from this offset of the log on.
fn looks_on(core: &mut ClientCore, base: u64, head: u64) -> ClientFrame {
    let first = core.connect();
    let ready = ReadyFrame {
        session: "s".into(),
        secret: None,
        base,
        head,
        in_next: 0,
        in_own: 0,
        caps: vec!["people".into()],
        in_window: 99,
    };
    core.handle(ServerFrame::Ready(ready)).unwrap();
    first
}

/// What of a piece of output reaches the user.
fn told(core: &mut ClientCore, from: u64, bytes: u64) -> Option<usize> {
    let bytes = vec![b'x'; bytes as usize].into();
    let frame = ServerFrame::Output(from, OutputKind::Stdout, bytes);
    match core.handle(frame).unwrap() {
        ClientEvent::Output(output) => {
            core.consumed(output.bytes.len());
            Some(output.bytes.len())
        }
        ClientEvent::Nothing => None,
        other => panic!("{other:?}"),
    }
}

fn acks(core: &mut ClientCore) -> Vec<u64> {
    let frames = std::iter::from_fn(|| core.poll_frame());
    let acks = frames.filter_map(|frame| match frame {
        ClientFrame::Ack(offset) => Some(offset),
        _ => None,
    });
    acks.collect()
}

#[test]
fn who_looks_on_joins_anew_and_sees_nothing_twice() {
    let mut core = ClientCore::new(Open::look_on("s", false));
    looks_on(&mut core, 10, 30);
    assert_eq!(told(&mut core, 10, 20), Some(20));
    assert_eq!(acks(&mut core), [30]);
    core.disconnected();
    assert!(core.can_resume() && core.looks_on());
    let first = looks_on(&mut core, 15, 40);
    assert!(matches!(first, ClientFrame::Open(_)), "{first:?}");
    assert_eq!((core.take_skipped(), core.missed()), (None, Some(0)));
    // It comes from the oldest on; no more is acknowledged than came on this connection.
    assert_eq!(told(&mut core, 15, 5), None);
    assert_eq!(acks(&mut core), [20]);
    assert_eq!(told(&mut core, 20, 12), Some(2));
    assert_eq!(told(&mut core, 32, 8), Some(8));
    assert_eq!(acks(&mut core), [40]);
    let end = SessionEnd::new(EndReason::Exited);
    let exit = |out_len| {
        ServerFrame::Exit(ExitFrame {
            end: end.clone(),
            out_len,
        })
    };
    core.handle(exit(39)).unwrap_err();
    core.handle(exit(40)).unwrap();
    assert!(!core.can_resume());
}

#[test]
fn what_a_late_onlooker_has_missed_is_told() {
    let mut core = ClientCore::new(Open::look_on("s", true));
    looks_on(&mut core, 0, 5);
    assert_eq!(told(&mut core, 0, 5), Some(5));
    core.disconnected();
    looks_on(&mut core, 100, 120);
    assert_eq!((core.take_skipped(), core.take_skipped()), (Some(95), None));
    assert_eq!(core.missed(), Some(95));
    assert_eq!(told(&mut core, 100, 20), Some(20));
    assert_eq!(acks(&mut core), [120]);
    // A gap of which a part is known is as long as the rest of it.
    core.disconnected();
    looks_on(&mut core, 110, 200);
    let gap = ServerFrame::Gap(110, 150, GapCause::Trimmed);
    assert_eq!(core.handle(gap).unwrap(), ClientEvent::Gap(30));
    assert_eq!(told(&mut core, 150, 1), Some(1));
}

#[test]
fn offsets_that_no_session_reaches_are_refused() {
    let ready = |base, in_next| {
        ServerFrame::Ready(ReadyFrame {
            session: "s".into(),
            secret: None,
            base,
            head: base,
            in_next,
            in_own: 0,
            caps: vec![],
            in_window: u64::MAX,
        })
    };
    let mut core = ClientCore::new(Open::look_on("s", true));
    core.connect();
    core.handle(ready(u64::MAX, 0)).unwrap_err();
    core.handle(ready(0, u64::MAX)).unwrap_err();
    core.handle(ready(0, 0)).unwrap();
    let gap = ServerFrame::Gap(0, u64::MAX - 2, GapCause::Trimmed);
    core.handle(gap).unwrap_err();
    let notice = NoticeFrame {
        level: "info".into(),
        code: "may-write".into(),
        text: String::new(),
        viewer: None,
        in_next: Some(u64::MAX),
        people: vec![],
    };
    core.handle(ServerFrame::Notice(notice)).unwrap_err();
    output(&mut core, 0, 5);
}

#[test]
fn the_terminal_s_size_is_told_again_with_the_right_to_write() {
    let mut open = Open::default();
    (open.cols, open.rows) = (80, 24);
    let mut core = ClientCore::new(open);
    joins(&mut core, true, 0, 0);
    assert_eq!(core.poll_frame(), None, "OPEN has told it");
    notice(&mut core, "read-only", None);
    assert_eq!(core.poll_frame(), None);
    notice(&mut core, "may-write", Some(3));
    let size = ClientFrame::Resize(TerminalSize::new(80, 24));
    assert_eq!(core.poll_frame(), Some(size));
    assert_eq!(core.poll_frame(), None);
}

fn here(core: &mut ClientCore, people: &[(u64, bool, bool)]) -> ClientEvent {
    let people = people.iter().map(|&(viewer, writes, you)| PersonFrame {
        viewer,
        who: Some(format!("p{viewer}\x1b[2J")),
        holds: viewer == 0,
        writes,
        looks: false,
        you,
    });
    let notice = NoticeFrame {
        level: "info".into(),
        code: "here".into(),
        text: String::new(),
        viewer: None,
        in_next: None,
        people: people.collect(),
    };
    core.handle(ServerFrame::Notice(notice)).unwrap()
}

fn refused(core: &mut ClientCore) -> ClientEvent {
    let notice = NoticeFrame {
        level: "info".into(),
        code: "not-granted".into(),
        text: String::new(),
        viewer: None,
        in_next: None,
        people: vec![],
    };
    core.handle(ServerFrame::Notice(notice)).unwrap()
}

#[test]
fn each_answer_is_for_its_own_question() {
    let mut core = ClientCore::new(Open::default());
    core.pass(None).unwrap_err();
    joins(&mut core, true, 0, 0);
    let [bob, eve] = [1, 2].map(ViewerId::new);
    core.pass(Some(bob)).unwrap();
    core.pass(Some(eve)).unwrap();
    core.pass(None).unwrap();
    assert_eq!(core.poll_frame(), Some(ClientFrame::Grant(1)));
    // The next one waits for the answer, which is not whoever comes meanwhile.
    assert_eq!(core.poll_frame(), None);
    let before = [(0, true, true), (1, false, false)];
    assert_eq!(here(&mut core, &before), ClientEvent::Company);
    let after = [(0, false, true), (1, true, false)];
    assert_eq!(here(&mut core, &after), ClientEvent::Passed(true));
    let company = core.company();
    assert_eq!(company.writer().unwrap().connection, bob);
    assert!(
        !company
            .writer()
            .unwrap()
            .name
            .as_ref()
            .unwrap()
            .contains('\x1b')
    );
    assert_eq!(core.poll_frame(), Some(ClientFrame::Grant(2)));
    assert_eq!(refused(&mut core), ClientEvent::Passed(false));
    assert_eq!(core.poll_frame(), Some(ClientFrame::TakeBack));
    assert_eq!(here(&mut core, &before), ClientEvent::Passed(true));
    // What is not answered when the connection breaks is not asked again.
    core.pass(Some(bob)).unwrap();
    assert_eq!(core.poll_frame(), Some(ClientFrame::Grant(1)));
    core.disconnected();
    joins(&mut core, true, 0, 0);
    assert_eq!(core.poll_frame(), None);
    (0..16).for_each(|_| core.pass(None).unwrap());
    core.pass(None).unwrap_err();
}

#[test]
fn an_answer_that_comes_late_is_not_the_next_one_s() {
    let mut core = ClientCore::new(Open::default());
    joins(&mut core, true, 0, 0);
    let [bob, eve] = [1, 2].map(ViewerId::new);
    let grants = |core: &mut ClientCore, to: ViewerId| {
        core.pass(Some(to)).unwrap();
        assert_eq!(core.poll_frame(), Some(ClientFrame::Grant(to.number())));
    };
    // A refusal.
    grants(&mut core, bob);
    core.give_up_passes();
    grants(&mut core, eve);
    assert_eq!(refused(&mut core), ClientEvent::Nothing);
    let eve_writes = [(0, false, true), (1, false, false), (2, true, false)];
    assert_eq!(here(&mut core, &eve_writes), ClientEvent::Passed(true));
    // Somebody got it after all.
    grants(&mut core, bob);
    core.give_up_passes();
    grants(&mut core, eve);
    let bob_writes = [(0, false, true), (1, true, false), (2, false, false)];
    assert_eq!(here(&mut core, &bob_writes), ClientEvent::Company);
    assert_eq!(refused(&mut core), ClientEvent::Passed(false));
    // One that was seen only by what came behind it.
    grants(&mut core, bob);
    assert_eq!(here(&mut core, &bob_writes), ClientEvent::Passed(true));
    core.pass(None).unwrap();
    assert_eq!(core.poll_frame(), Some(ClientFrame::TakeBack));
    core.give_up_passes();
    grants(&mut core, eve);
    assert_eq!(here(&mut core, &eve_writes), ClientEvent::Passed(true));
    grants(&mut core, bob);
    assert_eq!(refused(&mut core), ClientEvent::Passed(false));
    // A new connection owes nothing; and no gateway can owe without end.
    grants(&mut core, bob);
    core.disconnected();
    joins(&mut core, true, 0, 0);
    grants(&mut core, bob);
    assert_eq!(refused(&mut core), ClientEvent::Passed(false));
    for _ in 0..16 {
        grants(&mut core, bob);
        core.give_up_passes();
    }
    core.pass(Some(bob)).unwrap_err();
}

#[test]
fn whoever_looks_on_ends_no_input_but_its_own() {
    for (mode, ends) in [
        (OpenMode::Exec, true),
        (OpenMode::Approve, false),
        (OpenMode::Watch, false),
    ] {
        let mut core = ClientCore::new(Open {
            mode,
            stdin: true,
            ..Open::default()
        });
        joins(&mut core, true, 0, 0);
        core.end_input();
        let end = ends.then_some(ClientFrame::InputEnd(0));
        assert_eq!(core.poll_frame(), end);
        notice(&mut core, "may-write", Some(0));
        assert_eq!(core.poll_frame(), None);
    }
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
            in_own: 0,
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
