use longshore_core::{Signal, TerminalSize};
use proptest::prelude::*;

use super::*;
use crate::{
    protocol::{Command, Decoder, Incoming, lain::LainDecoder},
    session::{EndReason, SessionEnd},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn output(kind: OutputKind, bytes: impl Into<Bytes>) -> ViewerEvent {
    ViewerEvent::Output {
        offset: 0,
        kind,
        bytes: bytes.into(),
    }
}

fn told(framing: LainFraming, events: impl IntoIterator<Item = ViewerEvent>) -> Outgoing {
    let mut encoder = LainEncoder::new(framing, Visit::Enter);
    let mut out = Outgoing::default();
    for event in events {
        encoder.event(event, &mut out);
    }
    out
}

fn read(framing: LainFraming, bytes: impl Into<Bytes>) -> Result<Command, Refusal> {
    LainDecoder::new(framing).decode(Incoming {
        bytes: bytes.into(),
        is_text: true,
    })
}

/// The frames of the specification, section 1.1.
#[test]
fn golden_protobuf_frames() {
    use LainFraming::Protobuf;
    let one = |event| hex(&told(Protobuf, [event]).messages[0]);
    assert_eq!(one(output(OutputKind::Stdout, "hi")), "12026869");
    assert_eq!(one(output(OutputKind::Stderr, "x")), "0801120178");
    let mut out = Outgoing::default();
    LainEncoder::new(Protobuf, Visit::Enter).keepalive(&mut out);
    assert_eq!(hex(&out.messages[0]), "0803120470696e67");
    let mut end = SessionEnd::new(EndReason::Exited);
    end.code = Some(0);
    let out = told(Protobuf, [ViewerEvent::Ended(end)]);
    assert_eq!(hex(&out.messages[0][..4]), "0802122b");
    assert_eq!(
        &out.messages[0][4..],
        b"\x1b[32m>>> You quit the container safely.\x1b[0m"
    );
    assert_eq!(out.messages[0].len(), 4 + 43);
    assert_eq!(out.closing.unwrap().code, 1000);
    let plain = read(Protobuf, &b"\x12\x01\x61"[..]).unwrap();
    assert_eq!(plain, Command::Input(None, "a".into()));
    let winch = read(Protobuf, &b"\x08\x01\x12\x05\x38\x30\x20\x32\x34"[..]).unwrap();
    assert_eq!(winch, Command::Resize(TerminalSize::new(80, 24)));
}

/// The messages of section 1.4.
#[test]
fn golden_json_messages() {
    use LainFraming::Json;
    assert_eq!(
        told(Json, [output(OutputKind::Stdout, "hi")]).messages[0],
        r#"{"content":"aGk="}"#
    );
    let mut out = Outgoing::default();
    LainEncoder::new(Json, Visit::Enter).keepalive(&mut out);
    assert_eq!(out.messages[0], r#"{"msgType":3,"content":"cGluZw=="}"#);
    let mut decoder = LainDecoder::new(Json);
    let mut read = |text: &'static str| {
        decoder
            .decode(Incoming {
                bytes: text.into(),
                is_text: false,
            })
            .unwrap()
    };
    assert_eq!(
        read(r#"{"msgType":1,"content":"ODAgMjQ="}"#),
        Command::Resize(TerminalSize::new(80, 24))
    );
    // Fault 17: an absent type is 0, whatever came before.
    assert_eq!(
        read(r#"{"content":"YQ=="}"#),
        Command::Input(None, "a".into())
    );
}

#[test]
fn the_end_is_told_in_fields_of_its_own_when_asked_for() {
    let mut encoder = LainEncoder::new(LainFraming::Protobuf, Visit::Enter).with_exit_fields(true);
    let mut end = SessionEnd::new(EndReason::Signaled);
    (end.code, end.signal) = (Some(137), Some(Signal::KILL));
    let mut out = Outgoing::default();
    encoder.event(ViewerEvent::Ended(end), &mut out);
    // exit_code = 137, reason = "signaled", signal = 9
    assert_eq!(
        hex(&out.messages[0][47..]),
        "18890122087369676e616c65642809"
    );
}

#[test]
fn sizes_that_are_none_are_ignored() {
    for bad in [
        "", "80", "80  24", "80 24 1", "-1 24", "+80 24", "a b", "80 99999", " 80 24",
    ] {
        let mut message = vec![0x08, 0x01, 0x12, bad.len() as u8];
        message.extend_from_slice(bad.as_bytes());
        assert_eq!(
            read(LainFraming::Protobuf, message).unwrap(),
            Command::Ignore,
            "{bad:?}"
        );
    }
}

#[test]
fn what_is_no_message_is_refused_with_a_close() {
    let refusal = read(LainFraming::Protobuf, &b"\x12\xff"[..]).unwrap_err();
    let mut out = Outgoing::default();
    LainEncoder::new(LainFraming::Protobuf, Visit::Enter).refuse(&refusal, &mut out);
    assert_eq!(out.messages[0][..2], [0x08, 0x02]);
    assert_eq!(out.closing.unwrap().code, 1002);
    assert!(read(LainFraming::Json, "{\"content\":\"*\"}").is_err());
}

#[test]
fn ends_that_entry_did_not_know_are_told_too() {
    let texts = [
        (EndReason::StartFailed, LainText::CannotEnter.as_str()),
        (EndReason::AuthExpired, LainText::NotAuthorized.as_str()),
        (
            EndReason::Idle,
            "\x1b[31m>>> The session was ended: idle.\x1b[0m",
        ),
    ];
    for (reason, text) in texts {
        let out = told(
            LainFraming::Protobuf,
            [ViewerEvent::Ended(SessionEnd::new(reason))],
        );
        assert!(out.messages[0].ends_with(text.as_bytes()), "{reason}");
    }
}

/// Faults 2 and 3: arbitrary bytes, in pieces of any size, arrive whole; texts unbroken.
fn contents(messages: &[Bytes]) -> Vec<Vec<u8>> {
    let skip = |message: &Bytes| {
        // Tag, then a length of one or two bytes.
        let long = message[1] & 0x80 != 0;
        message[2 + usize::from(long)..].to_vec()
    };
    messages.iter().map(skip).collect()
}

proptest! {
    #[test]
    fn every_cut_of_a_text_gives_whole_characters(text in "[a-zé日𝄞🚢]{0,200}", size in 1usize..40) {
        let pieces = text.as_bytes().chunks(size);
        let events = pieces.map(|piece| output(OutputKind::Stdout, piece.to_vec()));
        let contents = contents(&told(LainFraming::Protobuf, events).messages);
        for content in &contents {
            prop_assert!(std::str::from_utf8(content).is_ok());
        }
        prop_assert_eq!(contents.concat(), text.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_arrive_whole(bytes in prop::collection::vec(any::<u8>(), 0..30_000), size in 1usize..20_000) {
        let mut encoder = LainEncoder::new(LainFraming::Protobuf, Visit::Enter);
        let mut out = Outgoing::default();
        for piece in bytes.chunks(size) {
            encoder.event(output(OutputKind::Stdout, piece.to_vec()), &mut out);
        }
        encoder.flush(&mut out);
        let contents = contents(&out.messages);
        prop_assert!(contents.iter().all(|content| content.len() <= LONGEST_CONTENT));
        prop_assert_eq!(contents.concat(), bytes);
    }

    #[test]
    fn any_message_is_a_command_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(LainFraming::Protobuf, bytes.clone());
        let _ = read(LainFraming::Json, bytes);
    }
}
