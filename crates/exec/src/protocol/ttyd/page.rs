use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use longshore_core::{Error, Result, TerminalSize};
use serde::Deserialize;

use crate::{
    protocol::{
        Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal, aside, ending, is_shown,
    },
    session::ViewerEvent,
};

/// The page's first message.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TtydHello {
    /// What `/token` gave.
    #[serde(rename = "AuthToken")]
    pub token: String,
    /// The terminal's columns.
    pub columns: u16,
    /// The terminal's rows.
    pub rows: u16,
}

impl TtydHello {
    /// Reads it.
    ///
    /// # Errors
    /// It is no JSON of that shape.
    pub fn parse(message: &[u8]) -> Result<Self> {
        // The parser's own words could quote the token.
        serde_json::from_slice(message)
            .map_err(|_| Error::protocol("the first message is not the JSON that says who asks"))
    }
}

/// Hides the token.
impl fmt::Debug for TtydHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TtydHello")
            .field("columns", &self.columns)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// What the page sends. What it does not know, ttyd ignores.
#[derive(Clone, Copy, Debug, Default)]
pub struct TtydDecoder;

#[derive(Deserialize)]
struct Size {
    columns: u16,
    rows: u16,
}

impl Decoder for TtydDecoder {
    fn decode(&mut self, message: Incoming) -> Result<Command, Refusal> {
        let mut bytes = message.bytes;
        if bytes.is_empty() {
            return Ok(Command::Ignore);
        }
        Ok(match bytes.get_u8() {
            b'0' => Command::Input(None, bytes),
            b'1' => serde_json::from_slice(&bytes).map_or(Command::Ignore, |size: Size| {
                Command::Resize(TerminalSize::new(size.columns, size.rows))
            }),
            b'2' => Command::Pause(true),
            b'3' => Command::Pause(false),
            _ => Command::Ignore,
        })
    }
}

/// What the page is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct TtydEncoder;

impl TtydEncoder {
    /// Title and preferences, which come first, once.
    pub fn first(title: &str) -> Vec<Bytes> {
        vec![typed(b'1', title.as_bytes()), typed(b'2', b"{}")]
    }
}

impl Encoder for TtydEncoder {
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing) {
        match event {
            ViewerEvent::Output { bytes, .. } => out.push(typed(b'0', &bytes)),
            ViewerEvent::Ended(end) => {
                // Any code but 1000 makes the page reconnect. ttyd asks for 1006 then, which must
                // not be sent (RFC 6455, section 7.4.1).
                let code = if end.is_success() { 1000 } else { 4100 };
                out.closing = Some(Closing::new(code, end.to_string()));
            }
            ViewerEvent::Notice(notice) if is_shown(notice) => {
                out.push(typed(b'0', aside(notice.text()).as_bytes()));
            }
            ViewerEvent::Ending(end) => out.push(typed(b'0', aside(&ending(&end)).as_bytes())),
            // No place on this wire.
            _ => {}
        }
    }

    fn refuse(&mut self, refusal: &Refusal, out: &mut Outgoing) {
        out.closing = Some(Closing::new(1002, refusal.error.to_string()));
    }
}

fn typed(kind: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(kind);
    message.put_slice(bytes);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use longshore_core::{ExitStatus, OutputKind};
    use proptest::prelude::*;

    use super::*;
    use crate::session::Notice;

    fn read(bytes: &[u8]) -> Command {
        let message = Incoming {
            bytes: Bytes::copy_from_slice(bytes),
            is_text: false,
        };
        TtydDecoder.decode(message).unwrap()
    }

    #[test]
    fn golden_messages_of_the_page() {
        let hello = TtydHello::parse(br#"{"AuthToken":"dTpw","columns":80,"rows":24}"#).unwrap();
        assert_eq!(
            (hello.token.as_str(), hello.columns, hello.rows),
            ("dTpw", 80, 24)
        );
        assert_eq!(read(b"0ls"), Command::Input(None, "ls".into()));
        assert_eq!(
            read(br#"1{"columns":80,"rows":24}"#),
            Command::Resize(TerminalSize::new(80, 24))
        );
        assert_eq!(
            (read(b"2"), read(b"3")),
            (Command::Pause(true), Command::Pause(false))
        );
        assert_eq!(
            (read(b"9x"), read(b""), read(b"1x")),
            (Command::Ignore, Command::Ignore, Command::Ignore)
        );
    }

    #[test]
    fn golden_messages_of_the_server() {
        assert_eq!(
            TtydEncoder::first("web"),
            vec![Bytes::from("1web"), Bytes::from("2{}")]
        );
        let mut out = Outgoing::default();
        TtydEncoder.event(
            ViewerEvent::Output {
                offset: 0,
                kind: OutputKind::Stdout,
                bytes: "hi".into(),
            },
            &mut out,
        );
        assert_eq!(out.messages, vec![Bytes::from("0hi")]);
        for (status, code) in [
            (ExitStatus::exited(0), 1000),
            (ExitStatus::exited(1), 4100),
            (ExitStatus::unknown("x"), 4100),
        ] {
            let mut out = Outgoing::default();
            TtydEncoder.event(ViewerEvent::Ended(status.into()), &mut out);
            assert_eq!(out.closing.unwrap().code, code);
        }
    }

    #[test]
    fn notices_stand_dim_on_a_line_of_their_own() {
        let mut out = Outgoing::default();
        TtydEncoder.event(ViewerEvent::Notice(Notice::Started), &mut out);
        TtydEncoder.event(ViewerEvent::Notice(Notice::InputReleased), &mut out);
        let line =
            "0\r\n\x1b[2m>>> somebody who may approve is here; input goes through\x1b[22m\r\n";
        assert_eq!(out.messages, [line]);
    }

    proptest! {
        #[test]
        fn any_message_is_a_command(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            read(&bytes);
            let _ = TtydHello::parse(&bytes);
        }
    }
}
