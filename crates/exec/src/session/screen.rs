use std::fmt::Debug;

use bytes::Bytes;
use longshore_core::TerminalSize;

/// What a terminal shows, kept for whoever joins late or has missed output. A pure model: it draws
/// nothing.
pub trait Screen: Debug + Send {
    /// Output of the process, in order, in pieces of any size.
    fn output(&mut self, bytes: &[u8]);

    /// The terminal has a new size.
    fn resize(&mut self, size: TerminalSize);

    /// Bytes that bring a terminal of this size, whatever it shows, to the same screen, scrollback
    /// and modes; the output that follows goes on from there, even in the middle of a character or
    /// a sequence.
    fn redraw(&mut self) -> Bytes;
}

/// Makes the screens of new sessions.
pub trait Screens: Debug + Send + Sync + 'static {
    /// An empty screen.
    fn screen(&self, size: TerminalSize) -> Box<dyn Screen>;
}
