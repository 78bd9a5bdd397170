use bytes::{Buf, BufMut, Bytes, BytesMut};
use longshore_core::{OutputKind, TerminalSize};
use serde::Deserialize;
use serde_json::{Value, json};

use super::PodRequest;
use crate::{
    protocol::{
        Closing, Command, Decoder, Encoder, Incoming, Outgoing, Refusal, aside, ending, is_shown,
    },
    session::{EndReason, SessionEnd, ViewerEvent},
};

/// A client's channels.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesDecoder {
    v5: bool,
    stdin: bool,
}

impl KubernetesDecoder {
    /// For v5, which can end the input, or v4.
    pub fn new(v5: bool, request: &PodRequest) -> Self {
        Self {
            v5,
            stdin: request.stdin,
        }
    }
}

#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

impl Decoder for KubernetesDecoder {
    fn decode(&mut self, message: Incoming) -> Result<Command, Refusal> {
        if message.is_text {
            return Err(Refusal::protocol("channels are binary messages"));
        }
        let mut bytes = message.bytes;
        if bytes.is_empty() {
            return Ok(Command::Ignore);
        }
        match bytes.get_u8() {
            // An empty message is no end of the input.
            STDIN if self.stdin => Ok(Command::Input(None, bytes)),
            RESIZE => {
                let size: Size = serde_json::from_slice(&bytes).map_err(|error| {
                    Refusal::protocol(format!("the size on channel 4 is wrong: {error}"))
                })?;
                Ok(Command::Resize(TerminalSize::new(size.width, size.height)))
            }
            CLOSE if self.v5 => match bytes[..] {
                [STDIN] => Ok(Command::InputEnd(None)),
                [_] => Ok(Command::Ignore),
                _ => Err(Refusal::protocol("the end of a channel has two bytes")),
            },
            channel @ (STDIN..=RESIZE) => {
                tracing::debug!(channel, "a message on a channel that was not asked for");
                Ok(Command::Ignore)
            }
            channel => Err(Refusal::protocol(format!("there is no channel {channel}"))),
        }
    }
}

/// The server's channels.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesEncoder {
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl KubernetesEncoder {
    /// Sends the outputs that were asked for.
    pub fn new(request: &PodRequest) -> Self {
        Self {
            stdout: request.stdout,
            stderr: request.stderr,
            tty: request.tty,
        }
    }

    /// The empty message that clients take as "ready".
    pub fn ready(&self) -> Bytes {
        Bytes::from_static(match (self.stdout, self.stderr) {
            (true, _) => &[STDOUT],
            (false, true) => &[STDERR],
            (false, false) => &[STATUS],
        })
    }

    /// The status of a session that did not come to be, with the code and reason of the API.
    pub fn refused(code: u16, reason: &str, message: &str, out: &mut Outgoing) {
        let status = json!({"metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code});
        out.push(on_channel(STATUS, status.to_string().as_bytes()));
        out.closing = Some(Closing::new(1000, reason));
    }
}

impl KubernetesEncoder {
    /// The wire has no place for it but an output. With a terminal a person looks at the first one;
    /// without, standard output may be somebody's data, and standard error is where programs say such
    /// things. Where that was not asked for it is not told.
    fn notice(&self, text: &str, out: &mut Outgoing) {
        if self.tty && self.stdout {
            out.push(on_channel(STDOUT, aside(text).as_bytes()));
        } else if self.stderr && !self.tty {
            let line = format!(">>> {text}\n");
            out.push(on_channel(STDERR, line.as_bytes()));
        }
    }
}

impl Encoder for KubernetesEncoder {
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing) {
        match event {
            ViewerEvent::Output { kind, bytes, .. } => {
                let (channel, wanted) = match kind {
                    OutputKind::Stdout => (STDOUT, self.stdout),
                    _ => (STDERR, self.stderr),
                };
                if wanted {
                    out.push(on_channel(channel, &bytes));
                }
            }
            ViewerEvent::Ended(end) => {
                out.push(on_channel(STATUS, status(&end).to_string().as_bytes()));
                out.closing = Some(Closing::new(1000, end.reason.as_str()));
            }
            ViewerEvent::Notice(notice) if is_shown(notice) => self.notice(notice.text(), out),
            ViewerEvent::Ending(end) => self.notice(&ending(&end), out),
            // No place on this wire.
            _ => {}
        }
    }

    fn refuse(&mut self, refusal: &Refusal, out: &mut Outgoing) {
        let message = refusal.error.to_string();
        Self::refused(400, "BadRequest", &message, out);
        out.closing = Some(Closing::new(1002, message));
    }
}

/// The `Status` of an end. Never success unless the code is known to be 0.
fn status(end: &SessionEnd) -> Value {
    let ended = matches!(
        end.reason,
        EndReason::Exited | EndReason::Signaled | EndReason::Oom
    );
    match end.code {
        Some(0) if end.is_success() => json!({"metadata": {}, "status": "Success"}),
        Some(code) if ended => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: {end}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        _ => json!({
            "metadata": {},
            "status": "Failure",
            "message": end.to_string(),
            "reason": "InternalError",
            "code": 500,
        }),
    }
}

fn on_channel(channel: u8, bytes: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + bytes.len());
    message.put_u8(channel);
    message.put_slice(bytes);
    message.freeze()
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

#[cfg(test)]
mod tests {
    use longshore_core::ExitStatus;
    use proptest::prelude::*;

    use super::*;
    use crate::session::Notice;

    fn request() -> PodRequest {
        let pairs = ["stdin", "stdout", "stderr"].map(|name| (name.to_owned(), "true".to_owned()));
        PodRequest::new("default", "web", false, pairs.into_iter())
    }

    fn read(v5: bool, bytes: &[u8]) -> Result<Command, Refusal> {
        let message = Incoming {
            bytes: Bytes::copy_from_slice(bytes),
            is_text: false,
        };
        KubernetesDecoder::new(v5, &request()).decode(message)
    }

    #[test]
    fn golden_messages_of_clients() {
        assert_eq!(
            read(true, b"\x00ls\n").unwrap(),
            Command::Input(None, "ls\n".into())
        );
        assert_eq!(
            read(true, b"\x00").unwrap(),
            Command::Input(None, "".into())
        );
        let size = read(true, b"\x04{\"Width\":80,\"Height\":24}").unwrap();
        assert_eq!(size, Command::Resize(TerminalSize::new(80, 24)));
        assert_eq!(read(true, b"\xff\x00").unwrap(), Command::InputEnd(None));
        assert!(read(true, b"\xff\x00x").is_err());
        assert!(read(true, b"\xff").is_err());
        assert!(read(false, b"\xff\x00").is_err());
        assert!(read(true, b"\x09x").is_err());
        assert!(read(true, b"\x04{}").is_err());
    }

    fn last(event: ViewerEvent) -> Bytes {
        let mut out = Outgoing::default();
        KubernetesEncoder::new(&request()).event(event, &mut out);
        out.messages.remove(0)
    }

    #[test]
    fn golden_messages_of_the_server() {
        assert_eq!(KubernetesEncoder::new(&request()).ready(), &b"\x01"[..]);
        let output = |kind| ViewerEvent::Output {
            offset: 0,
            kind,
            bytes: "hi".into(),
        };
        assert_eq!(last(output(OutputKind::Stdout)), &b"\x01hi"[..]);
        assert_eq!(last(output(OutputKind::Stderr)), &b"\x02hi"[..]);
        let end = |status: ExitStatus| last(ViewerEvent::Ended(status.into()));
        assert_eq!(
            end(ExitStatus::exited(0)),
            &b"\x03{\"metadata\":{},\"status\":\"Success\"}"[..]
        );
        let failure: Value = serde_json::from_slice(&end(ExitStatus::exited(7))[1..]).unwrap();
        assert_eq!(failure["reason"], "NonZeroExitCode");
        assert_eq!(
            failure["details"]["causes"][0],
            json!({"reason": "ExitCode", "message": "7"})
        );
    }

    #[test]
    fn notices_never_stand_among_data() {
        let told = |tty: bool, outputs: &[&str]| {
            let pairs = outputs
                .iter()
                .map(|name| ((*name).to_owned(), "true".to_owned()));
            let mut request = PodRequest::new("default", "web", false, pairs);
            request.tty = tty;
            let (encoder, mut out) = (&mut KubernetesEncoder::new(&request), Outgoing::default());
            encoder.event(ViewerEvent::Notice(Notice::Started), &mut out);
            encoder.event(ViewerEvent::Notice(Notice::InputBlocked), &mut out);
            out.messages
        };
        let text = Notice::InputBlocked.text();
        let plain = format!("\x02>>> {text}\n");
        assert_eq!(told(false, &["stdout", "stderr"]), [plain]);
        assert!(told(false, &["stdout"]).is_empty());
        let dim = format!("\x01\r\n\x1b[2m>>> {text}\x1b[22m\r\n");
        assert_eq!(told(true, &["stdout"]), [dim]);
    }

    #[test]
    fn no_end_but_a_known_zero_is_a_success() {
        for reason in [
            EndReason::Lost,
            EndReason::Idle,
            EndReason::ContainerGone,
            EndReason::StartFailed,
        ] {
            let mut end = SessionEnd::new(reason);
            assert_eq!(status(&end)["reason"], "InternalError");
            end.code = Some(0);
            assert_eq!(status(&end)["status"], "Failure");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_a_command_or_a_refusal(bytes in prop::collection::vec(any::<u8>(), 0..60), v5 in any::<bool>()) {
            let _ = read(v5, &bytes);
        }
    }
}
