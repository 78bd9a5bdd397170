use proptest::prelude::*;

use super::*;
use crate::session::{EndReason, SessionEnd};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn client(frame: &ClientFrame, golden: &str) {
    assert_eq!(hex(&frame.encode()), golden);
    assert_eq!(&ClientFrame::decode(frame.encode()).unwrap(), frame);
}

#[track_caller]
fn server(frame: &ServerFrame, golden: &str) {
    assert_eq!(hex(&frame.encode()), golden);
    assert_eq!(&ServerFrame::decode(frame.encode()).unwrap(), frame);
}

#[test]
fn golden_frames_of_clients() {
    client(
        &ClientFrame::Input(5, "hi".into()),
        "0300000000000000056869",
    );
    client(&ClientFrame::InputEnd(7), "040000000000000007");
    client(
        &ClientFrame::Resize(TerminalSize::new(80, 24)),
        "0500500018",
    );
    client(&ClientFrame::Signal(Signal::TERM), "060f");
    client(&ClientFrame::Ack(258), "070000000000000102");
    client(&ClientFrame::Detach, "08");
    client(&ClientFrame::End, "09");
    client(&ClientFrame::Ping(1), "0a0000000000000001");
    client(&ClientFrame::Grant(3), "0b0000000000000003");
    client(&ClientFrame::TakeBack, "0c");
    let resume = Resume {
        session: "s".into(),
        secret: "x".into(),
        want: 3,
        snapshot: false,
        text: false,
        compress: false,
        people: false,
    };
    let frame = ClientFrame::Resume(resume).encode();
    assert_eq!(&frame[1..], br#"{"session":"s","secret":"x","want":3}"#);
    let open = ClientFrame::decode(Bytes::from_static(
        b"\x01{\"target\":\"web\",\"argv\":[\"ls\"]}",
    ));
    let Ok(ClientFrame::Open(open)) = open else {
        panic!("{open:?}")
    };
    assert_eq!(
        (open.target.as_str(), open.argv.len(), open.tty),
        ("web", 1, false)
    );
}

#[test]
fn golden_frames_of_the_server() {
    server(
        &ServerFrame::Output(1, OutputKind::Stderr, "x".into()),
        "8200000000000000010278",
    );
    server(
        &ServerFrame::Packed(1, OutputKind::Stdout, 258, "x".into()),
        "880000000000000001010000010278",
    );
    server(&ServerFrame::InputAck(9), "830000000000000009");
    let gap = ServerFrame::Gap(1, 2, GapCause::Flushed);
    server(&gap, "840000000000000001000000000000000202");
    server(&ServerFrame::Pong(1), "8a0000000000000001");
    let mut end = SessionEnd::new(EndReason::Exited);
    end.code = Some(7);
    let exit = ServerFrame::Exit(ExitFrame { end, out_len: 12 }).encode();
    assert_eq!(&exit[1..], br#"{"reason":"exited","code":7,"out_len":12}"#);
    let lost = ServerFrame::Exit(ExitFrame {
        end: SessionEnd::new(EndReason::Lost),
        out_len: 0,
    });
    assert_eq!(&lost.encode()[1..], br#"{"reason":"lost","out_len":0}"#);
}

#[test]
fn what_is_no_frame_is_refused() {
    for bad in [
        &b""[..],
        b"\x00",
        b"\x03\x00",
        b"\x05\x00\x01\x00",
        b"\x06\x00",
        b"\x08x",
        b"\x01{",
        b"\xff",
    ] {
        assert!(
            ClientFrame::decode(Bytes::from_static(bad)).is_err(),
            "{bad:?}"
        );
        assert!(
            ServerFrame::decode(Bytes::from_static(bad)).is_err(),
            "{bad:?}"
        );
    }
}

#[test]
fn secrets_are_not_printed() {
    let resume = Resume {
        session: "s".into(),
        secret: "hidden".into(),
        want: 3,
        snapshot: false,
        text: false,
        compress: false,
        people: false,
    };
    let open = Open {
        token: Some("hidden".into()),
        ..Open::default()
    };
    assert!(!format!("{resume:?}{open:?}").contains("hidden"));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(frame) = ClientFrame::decode(bytes.clone().into()) {
            prop_assert_eq!(ClientFrame::decode(frame.encode()).unwrap(), frame);
        }
        if let Ok(frame) = ServerFrame::decode(bytes.into()) {
            prop_assert_eq!(ServerFrame::decode(frame.encode()).unwrap(), frame);
        }
    }
}
