//! What the fuzz targets do with bytes. The same bodies run here for a bounded time.

use std::time::Duration;

use longshore_core::{OutputKind, Timestamp};
use longshore_exec::{
    client::{ClientCore, ClientEvent},
    protocol::{
        Decoder, Encoder, Incoming, Outgoing,
        kubernetes::{KubernetesDecoder, KubernetesEncoder, PodRequest},
        lain::{LainDecoder, LainEncoder, LainFraming, Visit, WebHello},
        native::{ClientFrame, NativeDecoder, NativeEncoder, Open, ReadyFrame, ServerFrame},
        ttyd::{TtydDecoder, TtydEncoder, TtydHello},
    },
    session::{EndReason, Role, SessionCore, SessionEnd, SessionOptions, ViewerEvent, ViewerId},
};

/// The protocols, by the first byte of [`messages`]: the native one, LAIN's in protobuf and JSON,
/// Kubernetes v5 and v4, ttyd's.
pub(crate) const PROTOCOLS: u8 = 6;

fn codec(protocol: u8) -> (Box<dyn Decoder>, Box<dyn Encoder>) {
    let asked = ["stdin", "stdout", "stderr"].map(|name| (name.to_owned(), "true".to_owned()));
    let pod = PodRequest::new("a", "b", false, asked.into_iter());
    match protocol % PROTOCOLS {
        0 => (Box::new(NativeDecoder), Box::new(NativeEncoder::new(0))),
        1 => (
            Box::new(LainDecoder::new(LainFraming::Protobuf)),
            Box::new(LainEncoder::new(LainFraming::Protobuf, Visit::Enter)),
        ),
        2 => (
            Box::new(LainDecoder::new(LainFraming::Json)),
            Box::new(LainEncoder::new(LainFraming::Json, Visit::Attach)),
        ),
        v @ (3 | 4) => (
            Box::new(KubernetesDecoder::new(v == 3, &pod)),
            Box::new(KubernetesEncoder::new(&pod)),
        ),
        _ => (Box::new(TtydDecoder), Box::new(TtydEncoder)),
    }
}

/// The program's own bytes in a message, of the protocols that are byte-exact on the wire.
fn output(protocol: u8, message: &[u8]) -> Option<Vec<u8>> {
    match protocol % PROTOCOLS {
        0 => match ServerFrame::decode(message.to_vec().into()) {
            Ok(ServerFrame::Output(_, _, bytes)) => Some(bytes.to_vec()),
            other => panic!("{other:?}"),
        },
        3..=5 => Some(message[1..].to_vec()),
        _ => None,
    }
}

/// Whatever a client sends in whichever protocol: a command or a refusal that can be sent; and
/// whatever a program prints can be told, byte for byte where the protocol is exact.
///
/// The first byte chooses the protocol, and whether messages are text; then messages, each behind
/// its length.
pub(crate) fn messages(bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else {
        return;
    };
    let (mut decoder, mut encoder) = codec(first);
    while let Some((&length, more)) = rest.split_first() {
        let (message, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        let incoming = Incoming {
            bytes: message.to_vec().into(),
            is_text: first & 128 != 0,
        };
        if let Err(refusal) = decoder.decode(incoming) {
            let mut out = Outgoing::default();
            encoder.refuse(&refusal, &mut out);
            let closing = out.closing.expect("a refusal closes");
            assert!(matches!(closing.code, 1000..=1003 | 1007..=1011 | 4000..=4999));
            assert!(!closing.reason.is_empty() || closing.code == 1000);
        }
    }
    let whole = &bytes[1..];
    if let Ok(frame) = ClientFrame::decode(whole.to_vec().into()) {
        assert_eq!(ClientFrame::decode(frame.encode()).expect("its own"), frame);
    }
    if let Ok(frame) = ServerFrame::decode(whole.to_vec().into()) {
        assert_eq!(ServerFrame::decode(frame.encode()).expect("its own"), frame);
    }
    let _ = (WebHello::parse(whole), TtydHello::parse(whole));
    told(first, whole, encoder);
}

fn told(protocol: u8, bytes: &[u8], mut encoder: Box<dyn Encoder>) {
    let mut out = Outgoing::default();
    let mut offset = 0;
    for piece in bytes.chunks(1 + bytes.len() / 3) {
        let event = ViewerEvent::Output {
            offset,
            kind: OutputKind::Stdout,
            bytes: piece.to_vec().into(),
        };
        offset += piece.len() as u64;
        encoder.event(event, &mut out);
    }
    encoder.flush(&mut out);
    assert!(!encoder.holds_back());
    let sent: Option<Vec<_>> = out
        .messages
        .iter()
        .map(|message| output(protocol, message))
        .collect();
    if let Some(sent) = sent.filter(|_| !bytes.is_empty()) {
        assert_eq!(sent.concat(), bytes);
    }
    encoder.event(
        ViewerEvent::Ended(SessionEnd::new(EndReason::Lost)),
        &mut out,
    );
    assert!(out.closing.is_some(), "the end closes");
}

/// Whatever a gateway sends: output in order, or a refusal, and never more input kept than may be.
/// Frames, each behind its length; the first length says whether the session is somebody else's.
pub(crate) fn client(mut bytes: &[u8]) {
    let looks_on = bytes.first().is_some_and(|first| first % 2 == 1);
    let mut open = match looks_on {
        true => Open::look_on("s", true),
        false => Open::default(),
    };
    (open.stdin, open.compress, open.people) = (true, true, true);
    let mut core = ClientCore::new(open);
    core.connect();
    let ready = ReadyFrame {
        session: "s".into(),
        secret: (!looks_on).then(|| "x".into()),
        base: 0,
        head: 0,
        in_next: 0,
        in_own: 0,
        caps: vec!["people".into()],
        in_window: 99,
    };
    core.handle(ServerFrame::Ready(ready.clone()))
        .expect("the first READY");
    core.write(&[7; 300]);
    while let Some((&length, more)) = bytes.split_first() {
        let (frame, more) = more.split_at(more.len().min(usize::from(length)));
        bytes = more;
        let Ok(frame) = ServerFrame::decode(frame.to_vec().into()) else {
            continue;
        };
        match core.handle(frame) {
            Ok(ClientEvent::Output(output)) => core.consumed(output.bytes.len()),
            Ok(_) => {}
            Err(_) => {
                core.disconnected();
                core.connect();
                let _ = core.handle(ServerFrame::Ready(ready.clone()));
            }
        }
        let _ = core.pass(Some(ViewerId::new(u64::from(length))));
        for _ in 0..100 {
            if core.poll_frame().is_none() {
                break;
            }
        }
        assert!(core.input_room() <= 128 << 10);
    }
}

/// Whatever connections do, a session stays within its bounds. Pairs of bytes: what happens, and to
/// whom or how much.
pub(crate) fn session(bytes: &[u8]) {
    let options = SessionOptions::default()
        .with_log(10_000)
        .with_history(500)
        .with_input(2_000)
        .with_viewers(4);
    let moderated = bytes.first().is_some_and(|first| first % 2 == 0);
    let options = if moderated {
        options.with_moderation()
    } else {
        options
    };
    let mut now = Timestamp::from_secs(1);
    let mut core = SessionCore::new(options, now);
    let mut ids: Vec<(ViewerId, Option<u64>)> = Vec::new();
    for pair in bytes.chunks_exact(2) {
        let (what, value) = (pair[0], pair[1]);
        let place = usize::from(value) % ids.len().max(1);
        let id = ids.get(place).map(|(id, _)| *id);
        match (what % 16, id) {
            (0, _) => core.started(),
            (1, _) => {
                let role = [Role::Writer, Role::Watcher, Role::Approver][usize::from(value % 3)];
                let from = (value > 100).then(|| u64::from(value) * 50);
                ids.extend(core.attach(role, from, now).map(|id| (id, None)));
            }
            (2, Some(id)) => {
                core.detach(id, now);
                ids.remove(place);
            }
            (3, Some(id)) => {
                let offset = (value % 2 == 0).then(|| u64::from(value) << (value % 60));
                let _ = core.receive(id, offset, vec![value; 100].into(), now);
            }
            (4, Some(id)) => drop(core.end_input(id, Some(u64::from(value)))),
            (5, Some(id)) => drop(core.acknowledge(id, u64::from(value) * 100, now)),
            (6, Some(id)) => core.set_paused(id, value % 2 == 0),
            (7, Some(id)) => {
                while let Some(event) = core.poll_event(id, now) {
                    // What is told is told in order.
                    let next = &mut ids[place].1;
                    match event {
                        ViewerEvent::Output { offset, bytes, .. } => {
                            assert!(next.is_none_or(|next| next == offset));
                            *next = Some(offset + bytes.len() as u64);
                        }
                        ViewerEvent::Gap { from, to, .. } => {
                            assert!(next.is_none_or(|next| next == from));
                            *next = Some(to);
                        }
                        _ => {}
                    }
                }
            }
            (8, _) => {
                let room = core.output_room();
                core.output(OutputKind::Stdout, &vec![value; room], now);
            }
            (9, _) => {
                now = now.after(Duration::from_secs(u64::from(value)));
                core.handle_deadline(now);
            }
            (10, Some(id)) => {
                let here = core.connections();
                let place = usize::from(what / 16) % here.len().max(1);
                let to = here.get(place).map_or(id, |(to, _)| *to);
                let writer = writer_of(&core);
                if core.grant(id, to).is_ok() {
                    assert_eq!(writer_of(&core), Some(to));
                } else {
                    assert_eq!(writer_of(&core), writer);
                }
            }
            (11, Some(id)) => {
                if core.take_back(id).is_ok() {
                    assert_eq!(writer_of(&core), Some(id));
                }
            }
            (12, Some(id)) => core.only_looks(id),
            (13, Some(id)) => drop(core.grant_from_outside(id)),
            (14, _) => {
                let piece = core.take_input(usize::from(value)).unwrap_or_default();
                let approver = |(_, role)| role == Role::Approver;
                assert!(
                    piece.is_empty() || !moderated || core.connections().into_iter().any(approver)
                );
                core.input_written(piece.len());
            }
            _ => while core.poll_action().is_some() {},
        }
        assert!(core.kept() <= options.log + options.history + options.input + (16 << 10));
        assert_eq!(core.has_writer(), writer_of(&core).is_some());
    }
}

/// Who writes: one at most.
fn writer_of(core: &SessionCore) -> Option<ViewerId> {
    let here = core.connections().into_iter();
    let mut writers = here.filter(|(_, role)| *role == Role::Writer);
    let writer = writers.next().map(|(id, _)| id);
    assert_eq!(writers.next(), None);
    writer
}
