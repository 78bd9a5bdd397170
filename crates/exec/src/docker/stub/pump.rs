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
    /// Whether the stream may hold back what was written, as TLS does.
    unflushed: bool,
}

/// What the stub says, out of the engine's frames.
struct Source {
    link: Link,
    frames: Demultiplexer,
    piece: Bytes,
    buffer: BytesMut,
    /// How many bytes were read since the last beat.
    heard: usize,
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
    Flushed,
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
            heard: 0,
        };
        Self {
            link,
            clock,
            talk,
            source,
            unflushed: false,
        }
    }

    /// The next event from the stream; `None` at its end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.talk.next_event()? {
                return Ok(Some(event));
            }
            match self.source.read(usize::MAX).await? {
                Some(bytes) => self.talk.receive(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// The next event, while what is to be said is said, and beats are; `None` at the stream's end.
    /// Cancel safe.
    ///
    /// # Errors
    /// The stream broke, or a stub that waits has answered nothing for long, or more than it was
    /// asked.
    pub(super) async fn converse(&mut self) -> Result<Option<Event>> {
        let (mut writer, mut flusher) = (self.link.clone(), self.link.clone());
        loop {
            if let Some(event) = self.talk.next_event()? {
                return Ok(Some(event));
            }
            if self.talk.tick(self.clock.now()) {
                self.source.heard = 0;
            }
            if self.talk.unanswered() > MOST_UNANSWERED {
                return Err(Error::unavailable("the stub that waits answers nothing"));
            }
            let deadline = self.talk.next_deadline();
            tokio::select! {
                biased;
                written = writer.write(self.talk.out()), if !self.talk.out().is_empty() => {
                    match written {
                        Ok(count) if count > 0 => {
                            self.talk.written(count);
                            self.unflushed = true;
                        }
                        _ => return Err(Error::unavailable("the stub's stream is closed")),
                    }
                }
                flushed = flusher.flush(), if self.unflushed && self.talk.out().is_empty() => {
                    flushed.map_err(|error| Error::io("the connection to the engine broke", error))?;
                    self.unflushed = false;
                }
                said = self.source.read(MOST_HEARD) => match said? {
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
        let (mut writer, mut flusher) = (self.link.clone(), self.link.clone());
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
                // Where it can't be, its last words may still be there to be read.
                _ = flusher.flush(), if self.unflushed && self.talk.out().is_empty() => {
                    Woken::Flushed
                }
                () = ends.ending.cancelled(), if !self.talk.is_ending() => Woken::Ending,
                signal = ends.signals.recv(), if signals => Woken::Signal(signal),
                changed = ends.size.changed(), if resizable => Woken::Sized(changed.is_ok()),
                room = has_room(output.as_ref()), if waiting.is_some() => Woken::Room(room),
                said = self.source.read(usize::MAX), if waiting.is_none() => Woken::Said(said),
                count = type_in(&mut ends.input, &mut typed, room),
                    if room > 0 && ends.input.is_some() => Woken::Typed(count),
                () = self.clock.sleep_until(deadline) => Woken::Beat,
            };
            match woken {
                Woken::Written(Ok(count)) if count > 0 => {
                    self.talk.written(count);
                    self.unflushed = true;
                }
                Woken::Flushed => self.unflushed = false,
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
    ///
    /// # Errors
    /// The stream broke, or more than `most` bytes came since the last beat, words or not.
    async fn read(&mut self, most: usize) -> Result<Option<Bytes>> {
        loop {
            while let Some(output) = self.frames.next(&mut self.piece)? {
                if output.kind == OutputKind::Stdout {
                    return Ok(Some(output.bytes));
                }
                let text = String::from_utf8_lossy(&output.bytes);
                let text = longshore_core::printable(&text, 200);
                tracing::debug!(%text, "the stub complains");
            }
            if self.heard > most {
                return Err(Error::protocol("the stub says more than it was asked for"));
            }
            self.buffer.reserve(READ);
            let count = self
                .link
                .read_buf(&mut self.buffer)
                .await
                .map_err(|error| Error::io("the connection to the engine broke", error))?;
            self.heard = self.heard.saturating_add(count);
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
/// From a stub that is not a session yet, between two beats: it has a few words to say to each.
const MOST_HEARD: usize = 4096;
const READ: usize = 64 * 1024;
const TYPED: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use longshore_core::{ClockExt, ErrorKind, SystemClock};
    use longshore_exec_stub::{BEAT, FromStub, VERSION};

    use super::*;

    /// As of a stub that waits, over a stream that holds back what is not flushed.
    async fn waiting(clock: &Arc<dyn Clock>) -> (Pump, DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let link = Link::new(Box::new(tokio::io::BufStream::new(near)));
        let mut pump = Pump::new(link, Arc::clone(clock));
        let mut words = Vec::new();
        FromStub::Hello(VERSION).write(&mut words);
        FromStub::Waiting.write(&mut words);
        far.write_all(&frame(1, &words)).await.unwrap();
        assert_eq!(pump.converse().await.unwrap(), Some(Event::Waiting));
        (pump, far)
    }

    /// One of the engine's.
    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], bytes].concat()
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_is_not_held_back() {
        let clock = clock();
        let (mut pump, mut far) = waiting(&clock).await;
        pump.talk.ask();
        let mut heard = [0; 64];
        tokio::select! {
            said = pump.converse() => panic!("{said:?}"),
            count = far.read(&mut heard) => assert!(count.unwrap() > 0),
            () = clock.sleep(BEAT / 2) => panic!("nothing came"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stub_that_waits_says_little_between_two_beats() {
        let clock = clock();
        for (stream, bytes) in [(1, 0), (2, 0), (2, 100)] {
            let (mut pump, mut far) = waiting(&clock).await;
            let piece = frame(stream, &vec![b'x'; bytes]);
            let much = piece.repeat((MOST_HEARD + READ) / piece.len() + 1);
            // A little with each beat is nothing.
            for _ in 0..100 {
                far.write_all(&piece).await.unwrap();
                tokio::select! {
                    said = pump.converse() => panic!("{said:?}"),
                    () = clock.sleep(BEAT / 10) => {}
                }
                let mut heard = [0; 64];
                if let Some(Ok(count)) = far.read(&mut heard).now_or_never() {
                    assert!(count > 0);
                    let mut word = Vec::new();
                    FromStub::Waiting.write(&mut word);
                    far.write_all(&frame(1, &word)).await.unwrap();
                    assert_eq!(pump.converse().await.unwrap(), Some(Event::Waiting));
                }
            }
            far.write_all(&much).await.unwrap();
            let error = pump.converse().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
        }
    }
}
