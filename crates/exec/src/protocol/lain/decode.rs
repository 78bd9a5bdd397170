use longshore_core::TerminalSize;

use super::{LainFraming, wire};
use crate::protocol::{Command, Decoder, Incoming, Refusal};

/// What LAIN's clients send: keys and sizes.
#[derive(Clone, Copy, Debug)]
pub struct LainDecoder {
    framing: LainFraming,
}

impl LainDecoder {
    /// For one of the two framings.
    pub fn new(framing: LainFraming) -> Self {
        Self { framing }
    }
}

impl Decoder for LainDecoder {
    fn decode(&mut self, message: Incoming) -> Result<Command, Refusal> {
        let request = self.framing.read(message.bytes);
        let request = request.map_err(|error| Refusal { code: 1002, error })?;
        Ok(match request.kind {
            wire::PLAIN => Command::Input(None, request.content),
            wire::WINCH => size(&request.content).map_or(Command::Ignore, Command::Resize),
            _ => Command::Ignore,
        })
    }
}

/// `<width> <height>` with exactly one space; anything else means nothing.
fn size(content: &[u8]) -> Option<TerminalSize> {
    let (width, height) = std::str::from_utf8(content).ok()?.split_once(' ')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(width) && digits(height)).then_some(())?;
    Some(TerminalSize::new(width.parse().ok()?, height.parse().ok()?))
}
