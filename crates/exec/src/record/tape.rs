use longshore_core::{Error, ErrorKind, Result, SessionId, Timestamp};

use super::{
    CommandGuess, RecordLimits, SessionStatus, SessionSummary, WhenFull,
    log::{Head, LogEncoder, Pieces},
};
use crate::session::{RecordEvent, SessionAbout};

/// A record that is being written: decides what is written next. Where to is its store's affair.
#[derive(Debug)]
pub(super) struct Tape {
    encoder: LogEncoder,
    summary: SessionSummary,
    commands: u64,
    /// The time of the last event.
    last: Timestamp,
}

/// The next piece of a log.
#[derive(Debug)]
pub(super) struct Step {
    /// To append, all or nothing.
    pub(super) bytes: Pieces,
    head: Head,
    at: Timestamp,
    event: Option<RecordEvent>,
    /// What the caller is told when the bytes are safe.
    result: Result<()>,
}

impl Tape {
    /// A new record; the first step begins the file.
    pub(super) fn open(
        session: &SessionId,
        at: Timestamp,
        about: &SessionAbout,
    ) -> Result<(Self, Step)> {
        let (encoder, begin) = LogEncoder::new(session);
        let event = RecordEvent::Opened(Box::new(about.clone()));
        let mut bytes = Pieces::from(begin);
        let head = encoder.add(&mut bytes, at, &event)?;
        let summary = SessionSummary::new(session.clone(), about.clone(), at);
        let tape = Self {
            encoder,
            summary,
            commands: 0,
            last: at,
        };
        let step = Step {
            bytes,
            head,
            at,
            event: Some(event),
            result: Ok(()),
        };
        Ok((tape, step))
    }

    /// Goes on with a record that was read to its end.
    pub(super) fn resume(encoder: LogEncoder, summary: SessionSummary, last: Timestamp) -> Self {
        Self {
            encoder,
            summary,
            commands: 0,
            last,
        }
    }

    /// What an event adds.
    ///
    /// # Errors
    /// The session has ended, or there is no such event now.
    pub(super) fn next(
        &self,
        at: Timestamp,
        event: &RecordEvent,
        limits: &RecordLimits,
    ) -> Result<Step> {
        let summary = &self.summary;
        if summary.status != SessionStatus::Active {
            return Err(Error::closed("the record of this session has ended")
                .with_context("session", &summary.session));
        }
        let is_last = matches!(event, RecordEvent::Ended(_) | RecordEvent::Interrupted);
        if summary.is_cut && !is_last {
            return Ok(self.nothing(at, limits));
        }
        let step = |event: &RecordEvent, result| {
            let mut bytes = Pieces::default();
            let head = self.encoder.add(&mut bytes, at, event)?;
            Ok(Step {
                bytes,
                head,
                at,
                event: Some(event.clone()),
                result,
            })
        };
        let whole = step(event, Ok(()))?;
        if is_last || summary.bytes + whole.bytes.len() as u64 + RESERVE <= limits.session {
            return Ok(whole);
        }
        step(&RecordEvent::Full, self.full(limits))
    }

    /// A step is in its place. Gives the command that it may be.
    pub(super) fn accept(
        &mut self,
        step: Step,
        limits: &RecordLimits,
    ) -> (Option<CommandGuess>, Result<()>) {
        self.encoder.accept(step.head);
        let bytes = self.summary.bytes + step.bytes.len() as u64;
        self.summary.moved(&step.head, bytes);
        let mut command = None;
        if let Some(event) = &step.event {
            self.summary.note(self.last, step.at, event);
            self.last = step.at;
            if let RecordEvent::Input(line) = event
                && self.commands < limits.commands as u64
            {
                let session = &self.summary.session;
                command = CommandGuess::from_line(session, self.commands, step.at, line);
                self.commands += u64::from(command.is_some());
            }
        }
        (command, step.result)
    }

    pub(super) fn summary(&self) -> &SessionSummary {
        &self.summary
    }

    fn nothing(&self, at: Timestamp, limits: &RecordLimits) -> Step {
        Step {
            bytes: Pieces::default(),
            head: self.encoder.head(),
            at,
            event: None,
            result: self.full(limits),
        }
    }

    fn full(&self, limits: &RecordLimits) -> Result<()> {
        if limits.when_full == WhenFull::Stop {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "the record of a session may have {} bytes, and is full",
                limits.session
            ),
        )
        .with_context("session", &self.summary.session))
    }
}

/// Room for the last words.
pub(super) const RESERVE: u64 = 16 << 10;
