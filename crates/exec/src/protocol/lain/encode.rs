use bytes::Bytes;
use longshore_core::OutputKind;

use super::{LONGEST_CONTENT, LainFraming, LainText, text, wire};
use crate::{
    protocol::{Closing, Encoder, Outgoing, Refusal, Utf8Tail, ending, is_shown},
    session::ViewerEvent,
};

/// What a LAIN client came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Visit {
    /// A shell.
    Enter,
    /// The container's own output.
    Attach,
}

/// What LAIN's clients are sent. They decode each message by itself, so none ends within a
/// character.
#[derive(Clone, Debug)]
pub struct LainEncoder {
    framing: LainFraming,
    visit: Visit,
    exit_fields: bool,
    stdout: Utf8Tail,
    stderr: Utf8Tail,
}

impl LainEncoder {
    /// For one of the two framings.
    pub fn new(framing: LainFraming, visit: Visit) -> Self {
        Self {
            framing,
            visit,
            exit_fields: false,
            stdout: Utf8Tail::default(),
            stderr: Utf8Tail::default(),
        }
    }

    /// CLOSE carries exit code (3), reason (4) and signal (5) in protobuf fields that old readers
    /// skip.
    #[must_use]
    pub fn with_exit_fields(mut self, carries: bool) -> Self {
        self.exit_fields = carries;
        self
    }

    /// Output of any length.
    pub fn output(&mut self, kind: OutputKind, bytes: Bytes, out: &mut Outgoing) {
        let (tail, kind) = match kind {
            OutputKind::Stdout => (&mut self.stdout, wire::STDOUT),
            _ => (&mut self.stderr, wire::STDERR),
        };
        let bytes = tail.push(bytes);
        self.content(kind, bytes, out);
    }

    /// The last message, and the end of the connection.
    pub fn close(&mut self, text: LainText, out: &mut Outgoing) {
        self.flush(out);
        let content = Bytes::from_static(text.as_str().as_bytes());
        out.push(self.framing.write(wire::CLOSE, content, None));
        out.closing = Some(Closing::new(1000, ""));
    }

    fn content(&self, kind: i32, mut bytes: Bytes, out: &mut Outgoing) {
        while !bytes.is_empty() {
            let most = bytes.len().min(LONGEST_CONTENT);
            let whole = if most < bytes.len() {
                most - crate::utf8::incomplete(&bytes[..most])
            } else {
                most
            };
            let piece = bytes.split_to(whole);
            out.push(self.framing.write(kind, piece, None));
        }
    }
}

impl Encoder for LainEncoder {
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing) {
        match event {
            ViewerEvent::Output { kind, bytes, .. } => self.output(kind, bytes, out),
            ViewerEvent::Notice(notice) if is_shown(notice) => {
                let line = format!("\r\n{}\r\n", text::red(notice.text()));
                self.content(wire::STDERR, line.into(), out);
            }
            ViewerEvent::Ending(end) => {
                let line = format!("\r\n{}\r\n", text::red(&ending(&end)));
                self.content(wire::STDERR, line.into(), out);
            }
            ViewerEvent::Ended(end) => {
                self.flush(out);
                let content = text::of_end(&end, self.visit).into();
                let fields = self.exit_fields.then_some(&end);
                out.push(self.framing.write(wire::CLOSE, content, fields));
                out.closing = Some(Closing::new(1000, end.reason.as_str()));
            }
            // These have no place on this wire: input is not acknowledged, and sessions that end
            // with their connection are neither cut nor taken over.
            ViewerEvent::Notice(_)
            | ViewerEvent::InputTaken(_)
            | ViewerEvent::People(_)
            | ViewerEvent::Gap { .. }
            | ViewerEvent::Snapshot { .. }
            | ViewerEvent::Superseded => {}
        }
    }

    fn refuse(&mut self, refusal: &Refusal, out: &mut Outgoing) {
        self.flush(out);
        let reason = refusal.error.to_string();
        let content = text::red(&reason).into();
        out.push(self.framing.write(wire::CLOSE, content, None));
        out.closing = Some(Closing::new(1002, reason));
    }

    fn keepalive(&mut self, out: &mut Outgoing) {
        let ping = Bytes::from_static(b"ping");
        out.push(self.framing.write(wire::PING, ping, None));
    }

    fn holds_back(&self) -> bool {
        !self.stdout.is_empty() || !self.stderr.is_empty()
    }

    fn flush(&mut self, out: &mut Outgoing) {
        let (stdout, stderr) = (self.stdout.flush(), self.stderr.flush());
        self.content(wire::STDOUT, stdout, out);
        self.content(wire::STDERR, stderr, out);
    }
}

#[cfg(test)]
mod tests;
