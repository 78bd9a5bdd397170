use super::{ClientFrame, ExitFrame, NoticeFrame, ReadyFrame, ServerFrame};
use crate::{
    protocol::{Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal},
    session::{EndReason, Ready, ViewerEvent},
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
                ClientFrame::Detach => Command::Detach,
                ClientFrame::End => Command::End,
                ClientFrame::Ping(token) => Command::Ping(token),
            },
        )
    }
}

/// The frames of the server.
#[derive(Clone, Copy, Debug)]
pub struct NativeEncoder {
    /// The offset behind what was told.
    told: u64,
}

impl NativeEncoder {
    /// Goes on at this output offset.
    pub fn new(offset: u64) -> Self {
        Self { told: offset }
    }
}

impl Encoder for NativeEncoder {
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing) {
        let frame = match event {
            ViewerEvent::Output {
                offset,
                kind,
                bytes,
            } => {
                self.told = offset + bytes.len() as u64;
                ServerFrame::Output(offset, kind, bytes)
            }
            ViewerEvent::InputTaken(offset) => ServerFrame::InputAck(offset),
            ViewerEvent::Gap { from, to, cause } => {
                self.told = to;
                ServerFrame::Gap(from, to, cause)
            }
            ViewerEvent::Snapshot { offset, bytes } => {
                self.told = offset;
                ServerFrame::Snapshot(offset, bytes)
            }
            ViewerEvent::Notice(notice) => ServerFrame::Notice(NoticeFrame {
                level: "info".to_owned(),
                code: notice.code().to_owned(),
                text: notice.text().to_owned(),
            }),
            ViewerEvent::Ended(end) => {
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

    fn client_acknowledges(&self) -> bool {
        true
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

/// READY for a connection that has joined.
pub fn ready_frame(ready: &Ready) -> ServerFrame {
    ServerFrame::Ready(ReadyFrame {
        session: ready.session.to_string(),
        secret: ready
            .secret
            .as_ref()
            .map(|secret| secret.reveal().to_owned()),
        base: ready.base,
        head: ready.head,
        in_next: ready.next_input,
        caps: vec!["signal".to_owned(), "resume".to_owned()],
        in_window: ready.input_window as u64,
    })
}
