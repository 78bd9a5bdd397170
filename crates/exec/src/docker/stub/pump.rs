//! Moves a stub session's bytes. What they mean is the conversation's business.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use longshore_core::{
    Clock, Error, ExecOutput, ExitStatus, OutputKind, Result, Signal, TerminalSize, Timestamp,
    http::Demultiplexer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::conversation::{Conversation, Event};
use crate::docker::link::Link;

/// One side of a stub session: its stream, its conversation, and what of the user's it serves.
pub(super) struct Pump {
    pub(super) link: Link,
    clock: Arc<dyn Clock>,
    pub(super) talk: Conversation,
    source: Source,
}

/// What the stub says, out of the engine's frames.
struct Source {
    link: Link,
    frames: Demultiplexer,
    piece: Bytes,
    buffer: BytesMut,
}

/// What the user holds the other ends of.
pub(super) struct Ends {
    pub(super) input: Option<DuplexStream>,
    pub(super) output: mpsc::Sender<Result<ExecOutput>>,
    pub(super) signals: mpsc::Receiver<Signal>,
    pub(super) size: watch::Receiver<Option<TerminalSize>>,
    pub(super) exit: watch::Sender<Option<ExitStatus>>,
    /// Set when the session is to end.
    pub(super) ending: CancellationToken,
}

/// What woke the pump.
enum Woken {
    Written(std::io::Result<usize>),
    Ending,
    Signal(Option<Signal>),
    Sized(bool),
    /// There is room for output, or nobody to read it.
    Room(bool),
    Said(Result<Option<Bytes>>),
    Typed(Option<usize>),
    Beat,
}

impl Pump {
    pub(super) fn new(link: Link, clock: Arc<dyn Clock>) -> Self {
        let talk = Conversation::new(clock.now());
        let source = Source {
            link: link.clone(),
            frames: Demultiplexer::new(),
            piece: Bytes::new(),
            buffer: BytesMut::new(),
        };
        Self {
            link,
            clock,
            talk,
            source,
        }
    }

    /// The next event from the stream; `None` at its end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.talk.next_event()? {
                return Ok(Some(event));
            }
            match self.source.read().await? {
                Some(bytes) => self.talk.receive(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next event, while what is to be said is said, and beats are; `None` at the stream's end.
    /// Cancel safe.
    ///
    /// # Errors
    /// The stream broke, or a stub that waits has answered nothing for long.
    pub(super) async fn converse(&mut self) -> Result<Option<Event>> {
        let mut writer = self.link.clone();
        loop {
            if let Some(event) = self.talk.next_event()? {
                return Ok(Some(event));
            }
            self.talk.tick(self.clock.now());
            if self.talk.unanswered() > MOST_UNANSWERED {
                return Err(Error::unavailable("the stub that waits answers nothing"));
            }
            let deadline = self.talk.next_deadline();
            tokio::select! {
                biased;
                written = writer.write(self.talk.out()), if !self.talk.out().is_empty() => {
                    match written {
                        Ok(count) if count > 0 => self.talk.written(count),
                        _ => return Err(Error::unavailable("the stub's stream is closed")),
                    }
                }
                said = self.source.read() => match said? {
                    Some(bytes) => self.talk.receive(&bytes),
                    None => return Ok(None),
                },
                () = self.clock.sleep_until(deadline) => {}
            }
        }
    }

    /// Runs until the stub's stream ends. The end is told as soon as it is known.
    pub(super) async fn run(mut self, mut ends: Ends) -> Result<()> {
        let mut output = Some(ends.output);
        let mut waiting: Option<(ExecOutput, Timestamp)> = None;
        let mut typed = BytesMut::new();
        let (mut signals, mut resizable) = (true, true);
        let mut writer = self.link.clone();
        loop {
            while waiting.is_none() {
                match self.talk.next_event() {
                    Ok(Some(Event::Output(piece))) => {
                        let now = self.clock.now();
                        match output {
                            Some(_) => waiting = Some((piece, now)),
                            None => self.talk.took(piece.bytes.len(), Duration::ZERO, now),
                        }
                    }
                    Ok(Some(Event::Ended(status))) => {
                        (output, ends.input) = (None, None);
                        ends.exit.send_replace(Some(status));
                    }
                    Ok(Some(Event::Cleaned { left })) if left > 0 => {
                        tracing::debug!(left, "the stub could not end everything");
                    }
                    // The others are said before a command begins.
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => return Err(tell(&output, error)),
                }
            }
            self.talk.tick(self.clock.now());
            let room = self.talk.input_room().min(TYPED);
            let deadline = self.talk.next_deadline();
            let woken = tokio::select! {
                biased;
                // What is to be said goes first: it is small, and the stub always reads.
                written = writer.write(self.talk.out()), if !self.talk.out().is_empty() => {
                    Woken::Written(written)
                }
                () = ends.ending.cancelled(), if !self.talk.is_ending() => Woken::Ending,
                signal = ends.signals.recv(), if signals => Woken::Signal(signal),
                changed = ends.size.changed(), if resizable => Woken::Sized(changed.is_ok()),
                room = has_room(output.as_ref()), if waiting.is_some() => Woken::Room(room),
                said = self.source.read(), if waiting.is_none() => Woken::Said(said),
                count = type_in(&mut ends.input, &mut typed, room),
                    if room > 0 && ends.input.is_some() => Woken::Typed(count),
                () = self.clock.sleep_until(deadline) => Woken::Beat,
            };
            match woken {
                Woken::Written(Ok(count)) if count > 0 => self.talk.written(count),
                // Its last words may still be there to be read.
                Woken::Written(_) => self.talk.written(self.talk.out().len()),
                Woken::Ending => {
                    self.talk.end();
                    (output, waiting) = (None, None);
                }
                Woken::Signal(Some(signal)) => self.talk.signal(signal),
                Woken::Signal(None) => signals = false,
                Woken::Sized(true) => {
                    let size = *ends.size.borrow_and_update();
                    size.into_iter().for_each(|size| self.talk.resize(size));
                }
                Woken::Sized(false) => resizable = false,
                Woken::Room(true) => {
                    let piece = waiting.take();
                    if let (Some(output), Some((piece, since))) = (&output, piece) {
                        let now = self.clock.now();
                        self.talk.took(piece.bytes.len(), now.since(since), now);
                        // There is room: nobody else sends.
                        let _ = output.try_send(Ok(piece));
                    }
                }
                // Nobody reads any more; the command is not held up by that.
                Woken::Room(false) => {
                    if let Some((piece, _)) = waiting.take() {
                        let now = self.clock.now();
                        self.talk.took(piece.bytes.len(), Duration::ZERO, now);
                    }
                    output = None;
                }
                Woken::Said(Ok(Some(bytes))) => self.talk.receive(&bytes),
                Woken::Said(Ok(None)) => return Ok(()),
                Woken::Said(Err(error)) => return Err(tell(&output, error)),
                Woken::Typed(Some(_)) => self.talk.input(&typed.split()),
                Woken::Typed(None) => {
                    ends.input = None;
                    self.talk.end_input();
                }
                Woken::Beat => {}
            }
        }
    }
}

impl Source {
    /// The next words; `None` at the end. Cancel safe.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            while let Some(output) = self.frames.next(&mut self.piece)? {
                if output.kind == OutputKind::Stdout {
                    return Ok(Some(output.bytes));
                }
                let text = String::from_utf8_lossy(&output.bytes);
                let text = longshore_core::printable(&text, 200);
                tracing::debug!(%text, "the stub complains");
            }
            self.buffer.reserve(READ);
            let count = self
                .link
                .read_buf(&mut self.buffer)
                .await
                .map_err(|error| Error::io("the connection to the engine broke", error))?;
            if count == 0 {
                self.frames.finish()?;
                return Ok(None);
            }
            self.piece = if count < READ / 4 {
                // A large buffer with a few words in it would be kept for long.
                let piece = Bytes::copy_from_slice(&self.buffer);
                self.buffer.clear();
                piece
            } else {
                self.buffer.split().freeze()
            };
        }
    }
}

/// A reader who is behind sees the end without the reason.
fn tell(output: &Option<mpsc::Sender<Result<ExecOutput>>>, error: Error) -> Error {
    if let Some(output) = output {
        let told = Error::new(error.kind(), error.message().to_owned());
        let _ = output.try_send(Err(told));
    }
    error
}

/// Whether there is anybody to read, once there is room.
async fn has_room(output: Option<&mpsc::Sender<Result<ExecOutput>>>) -> bool {
    match output {
        Some(output) => output.reserve().await.is_ok(),
        None => false,
    }
}

/// Reads what was typed; `None` at its end. Cancel safe.
async fn type_in(
    input: &mut Option<DuplexStream>,
    typed: &mut BytesMut,
    room: usize,
) -> Option<usize> {
    let input = input.as_mut()?;
    typed.reserve(room);
    let count = input.take(room as u64).read_buf(typed).await;
    count.ok().filter(|count| *count > 0)
}

/// Beats, as many as the stub itself goes without before it ends.
const MOST_UNANSWERED: u32 = 5;
const READ: usize = 64 * 1024;
const TYPED: usize = 16 * 1024;
