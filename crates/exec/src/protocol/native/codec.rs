use bytes::Bytes;
use longshore_core::OutputKind;

use super::{ClientFrame, ExitFrame, NoticeFrame, ReadyFrame, ServerFrame};
use crate::{
    protocol::{Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal, Utf8Tail, ending},
    session::{EndReason, Notice, Ready, ViewerEvent, ViewerId},
};

/// The frames of a client that has its session.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeDecoder;

impl Decoder for NativeDecoder {
    fn decode(&mut self, message: Incoming) -> Result<Command, Refusal> {
        if message.is_text {
            return Err(Refusal::protocol("frames are binary messages"));
        }
        let frame = ClientFrame::decode(message.bytes);
        Ok(
            match frame.map_err(|error| Refusal { code: 4000, error })? {
                ClientFrame::Open(_) | ClientFrame::Resume(_) => {
                    return Err(Refusal::protocol("a connection has one session"));
                }
                ClientFrame::Input(offset, bytes) => Command::Input(Some(offset), bytes),
                ClientFrame::InputEnd(offset) => Command::InputEnd(Some(offset)),
                ClientFrame::Resize(size) => Command::Resize(size),
                ClientFrame::Signal(signal) => Command::Signal(signal),
                ClientFrame::Ack(offset) => Command::Acknowledge(offset),
                ClientFrame::Grant(viewer) => Command::Grant(ViewerId::new(viewer)),
                ClientFrame::TakeBack => Command::TakeBack,
                ClientFrame::Detach => Command::Detach,
                ClientFrame::End => Command::End,
                ClientFrame::Ping(token) => Command::Ping(token),
            },
        )
    }
}

/// The frames of the server.
#[derive(Clone, Debug)]
pub struct NativeEncoder {
    /// The offset behind what was told or is held back.
    told: u64,
    /// Whether no frame may end within a character.
    text: bool,
    held: Utf8Tail,
    held_kind: OutputKind,
    #[cfg(feature = "compression")]
    packer: Option<super::pack::Packer>,
}

impl NativeEncoder {
    /// Goes on at this output offset.
    pub fn new(offset: u64) -> Self {
        Self {
            told: offset,
            text: false,
            held: Utf8Tail::default(),
            held_kind: OutputKind::Stdout,
            #[cfg(feature = "compression")]
            packer: None,
        }
    }

    /// Output is compressed where that makes it shorter.
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn with_compression(mut self, compress: bool) -> Self {
        self.packer = compress.then(super::pack::Packer::default);
        self
    }

    /// No OUTPUT ends within a UTF-8 character, for clients that decode each by itself. Offsets and
    /// bytes stay the same; an incomplete character waits 50 ms, or until the other output comes.
    #[must_use]
    pub fn with_text(mut self, text: bool) -> Self {
        self.text = text;
        self
    }

    fn output(&mut self, offset: u64, kind: OutputKind, bytes: Bytes, out: &mut Outgoing) {
        if kind != self.held_kind {
            self.flush(out);
            self.held_kind = kind;
        }
        let start = offset - self.held.len() as u64;
        self.told = offset + bytes.len() as u64;
        let bytes = if self.text {
            self.held.push(bytes)
        } else {
            bytes
        };
        if !bytes.is_empty() {
            let frame = self.frame(start, kind, bytes);
            out.push(frame.encode());
        }
    }

    #[cfg_attr(
        not(feature = "compression"),
        expect(clippy::unused_self, reason = "it has the packer")
    )]
    fn frame(&mut self, start: u64, kind: OutputKind, bytes: Bytes) -> ServerFrame {
        #[cfg(feature = "compression")]
        if let Some(packer) = &mut self.packer
            && let Some(packed) = packer.pack(&bytes)
        {
            return ServerFrame::Packed(start, kind, bytes.len() as u32, packed);
        }
        ServerFrame::Output(start, kind, bytes)
    }
}

impl Encoder for NativeEncoder {
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing) {
        let frame = match event {
            ViewerEvent::Output {
                offset,
                kind,
                bytes,
            } => return self.output(offset, kind, bytes, out),
            ViewerEvent::InputTaken(offset) => ServerFrame::InputAck(offset),
            ViewerEvent::Gap { from, to, cause } => {
                self.flush(out);
                self.told = to;
                ServerFrame::Gap(from, to, cause)
            }
            ViewerEvent::Snapshot { offset, bytes } => {
                self.flush(out);
                self.told = offset;
                ServerFrame::Snapshot(offset, bytes)
            }
            ViewerEvent::Notice(notice) => ServerFrame::Notice(notice_frame(notice)),
            ViewerEvent::People(people) => ServerFrame::Notice(NoticeFrame {
                people: people.into_iter().map(Into::into).collect(),
                ..plain_notice(NoticeFrame::HERE, "who is here, or who writes, has changed")
            }),
            ViewerEvent::Ending(end) => ServerFrame::Notice(plain_notice("ending", &ending(&end))),
            ViewerEvent::Ended(end) => {
                self.flush(out);
                out.closing = Some(Closing::new(close_code(end.reason), end.to_string()));
                ServerFrame::Exit(ExitFrame {
                    end,
                    out_len: self.told,
                })
            }
            ViewerEvent::Superseded => {
                let reason = "another connection took the session over";
                out.closing = Some(Closing::new(4001, reason));
                return;
            }
        };
        out.push(frame.encode());
    }

    fn refuse(&mut self, refusal: &Refusal, out: &mut Outgoing) {
        out.closing = Some(Closing::new(refusal.code, refusal.error.to_string()));
    }

    fn pong(&mut self, token: u64, out: &mut Outgoing) {
        out.push(ServerFrame::Pong(token).encode());
    }

    fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    fn flush(&mut self, out: &mut Outgoing) {
        let bytes = self.held.flush();
        if !bytes.is_empty() {
            let start = self.told - bytes.len() as u64;
            out.push(ServerFrame::Output(start, self.held_kind, bytes).encode());
        }
    }

    fn client_acknowledges(&self) -> bool {
        true
    }
}

fn notice_frame(notice: Notice) -> NoticeFrame {
    let mut frame = plain_notice(notice.code(), notice.text());
    match notice {
        Notice::Joined(viewer) | Notice::Left(viewer) => frame.viewer = Some(viewer.number()),
        Notice::MayWrite { next_input } => frame.in_next = Some(next_input),
        _ => {}
    }
    frame
}

fn plain_notice(code: &str, text: &str) -> NoticeFrame {
    NoticeFrame {
        level: "info".to_owned(),
        code: code.to_owned(),
        text: text.to_owned(),
        viewer: None,
        in_next: None,
        people: Vec::new(),
    }
}

/// The close code behind an EXIT.
pub fn close_code(reason: EndReason) -> u16 {
    match reason {
        EndReason::AuthExpired => 4003,
        EndReason::Idle => 4008,
        EndReason::MaxDuration => 4009,
        EndReason::ContainerGone => 4010,
        _ => 1000,
    }
}

/// READY for a connection that has joined, and may be sent PACKED.
pub fn ready_frame(ready: &Ready, packs: bool) -> ServerFrame {
    let mut caps = ["signal", "resume", "people", super::CLEANUP]
        .map(str::to_owned)
        .to_vec();
    if packs {
        caps.push("deflate".to_owned());
    }
    ServerFrame::Ready(ReadyFrame {
        session: ready.session.to_string(),
        secret: ready
            .secret
            .as_ref()
            .map(|secret| secret.reveal().to_owned()),
        base: ready.base,
        head: ready.head,
        in_next: ready.next_input,
        in_own: ready.own_input,
        caps,
        in_window: ready.input_window as u64,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::SessionEnd;

    proptest! {
        /// Whatever the pieces and outputs: the same bytes under the same offsets, and no frame of
        /// a text ends within a character.
        #[test]
        fn text_mode_changes_no_byte_and_splits_no_character(
            pieces in prop::collection::vec((any::<bool>(), "[aé日𝄞]{0,6}"), 0..20),
            size in 1usize..7,
        ) {
            let mut encoder = NativeEncoder::new(0).with_text(true);
            let mut out = Outgoing::default();
            let mut sent = Vec::new();
            for (error, text) in &pieces {
                let kind = if *error { OutputKind::Stderr } else { OutputKind::Stdout };
                for piece in text.as_bytes().chunks(size) {
                    let bytes = Bytes::copy_from_slice(piece);
                    let offset = sent.len() as u64;
                    sent.extend(piece.iter().map(|byte| (kind, *byte)));
                    encoder.event(ViewerEvent::Output { offset, kind, bytes }, &mut out);
                }
            }
            encoder.event(ViewerEvent::Ended(SessionEnd::new(EndReason::Exited)), &mut out);
            let mut told = Vec::new();
            for message in out.messages {
                match ServerFrame::decode(message).unwrap() {
                    ServerFrame::Output(offset, kind, bytes) => {
                        prop_assert_eq!(offset, told.len() as u64);
                        prop_assert!(std::str::from_utf8(&bytes).is_ok());
                        told.extend(bytes.iter().map(|byte| (kind, *byte)));
                    }
                    ServerFrame::Exit(exit) => prop_assert_eq!(exit.out_len, sent.len() as u64),
                    other => panic!("{other:?}"),
                }
            }
            prop_assert_eq!(told, sent);
        }
    }
}
