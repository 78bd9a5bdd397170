use std::io::{BufRead, BufReader, Read};

use longshore_core::{Error, ErrorKind, Result, SessionId, TerminalSize, Timestamp};

use crate::session::{EndReason, RecordEvent, Recorder, SessionAbout, SessionEnd};

/// What an import may take in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ImportLimits {
    /// Bytes of the files together. 64 MiB.
    pub bytes: u64,
    /// Bytes of one line. 1 MiB; longer ones are left out.
    pub line: usize,
    /// Events. 1,000,000; the rest is left out.
    pub events: usize,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            line: 1 << 20,
            events: 1_000_000,
        }
    }
}

impl ImportLimits {
    /// Sets the bytes of the files together.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }
}

/// A recording of another program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// When it began; zero where the file does not say.
    pub created_at: Timestamp,
    /// The terminal's first size, where the file says.
    pub size: Option<TerminalSize>,
    /// What happened, with times that do not run backwards.
    pub events: Vec<(Timestamp, RecordEvent)>,
    /// Lines that could not be understood, or that were too many.
    pub skipped: u64,
    pub(super) output: u64,
}

impl Imported {
    /// Writes it into a record of its own, as this session. How it ended is not known.
    ///
    /// # Errors
    /// The recorder's; what was written before stays.
    ///
    /// # Cancel safety
    /// Not safe: a part of the session may have been recorded.
    pub async fn store(
        &self,
        recorder: &dyn Recorder,
        session: &SessionId,
        mut about: SessionAbout,
    ) -> Result<()> {
        about.size = self.size.or(about.size);
        let opened = RecordEvent::Opened(Box::new(about));
        recorder.record(session, self.created_at, &opened).await?;
        let mut last = self.created_at;
        for (at, event) in &self.events {
            recorder.record(session, *at, event).await?;
            last = *at;
        }
        let end = SessionEnd::new(EndReason::Lost).with_text("imported; its end is not known");
        recorder
            .record(session, last, &RecordEvent::Ended(end))
            .await
    }

    /// Adds an event that happened so many microseconds after the beginning; never before the one
    /// before it.
    pub(super) fn add(&mut self, micros: u64, event: RecordEvent, limits: &ImportLimits) {
        if self.events.len() >= limits.events {
            self.skipped += 1;
            return;
        }
        if let RecordEvent::Output { bytes, .. } = &event {
            self.output += bytes.len() as u64;
        }
        let at = Timestamp::from_micros(self.created_at.as_micros().saturating_add(micros));
        let last = self.events.last().map_or(self.created_at, |(at, _)| *at);
        self.events.push((at.max(last), event));
    }
}

/// A file's lines, each bounded.
pub(super) struct Lines<R> {
    reader: BufReader<std::io::Take<R>>,
    longest: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, limits: &ImportLimits) -> Self {
        Self {
            // One more, to see that there is more.
            reader: BufReader::new(reader.take(limits.bytes.saturating_add(1))),
            longest: limits.line,
        }
    }

    /// The next line without its end; empty for one that is too long.
    ///
    /// # Errors
    /// The file can't be read, or is longer than it may be.
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let mut any = false;
        loop {
            let buffer = self
                .reader
                .fill_buf()
                .map_err(|error| Error::io("cannot read the file to import", error))?;
            if buffer.is_empty() {
                if self.reader.get_ref().limit() == 0 {
                    return Err(too_long());
                }
                return Ok(any.then_some(line));
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(buffer.len(), |end| end + 1);
            if line.len() <= self.longest {
                line.extend_from_slice(&buffer[..end.unwrap_or(taken)]);
            }
            self.reader.consume(taken);
            if end.is_some() {
                if line.len() > self.longest {
                    line.clear();
                }
                return Ok(Some(line));
            }
        }
    }
}

pub(super) fn too_long() -> Error {
    Error::new(
        ErrorKind::ResourceExhausted,
        "the file to import is longer than allowed: allow more bytes, or cut it",
    )
}

/// A number of seconds, up to ten years.
pub(super) fn micros(seconds: f64) -> Option<u64> {
    let known = seconds.is_finite() && (0.0..=LONGEST).contains(&seconds);
    known.then(|| (seconds * 1e6).round() as u64)
}

const LONGEST: f64 = 10.0 * 366.0 * 86_400.0;
