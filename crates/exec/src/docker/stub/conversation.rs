use std::time::Duration;

use longshore_core::{
    Error, ExecOutput, ExitStatus, OutputKind, Result, Signal, TerminalSize, Timestamp,
};
use longshore_exec_stub::{
    BEAT, Decoder, Ending, FromStub, INPUT_WINDOW, Opening, ToStub, VERSION,
};

use super::window::Window;

/// Our side of the talk with a stub: what is said and when, and what its words mean.
#[derive(Debug)]
pub(super) struct Conversation {
    decoder: Decoder<FromStub>,
    out: Vec<u8>,
    next_beat: Timestamp,
    /// Input that was sent and not yet taken.
    under_way: usize,
    input_ended: bool,
    stage: Stage,
    told_to_end: bool,
    /// Whether it was told what to become, once it waited.
    is_opened: bool,
    /// Beats that a stub which waits has not answered.
    unanswered: u32,
    window: Window,
    /// Told before the rest.
    first: Option<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing heard yet.
    Calling,
    /// It waits to be told what to become.
    Waiting,
    /// It was told.
    Opening,
    /// It is a stub.
    Greeted,
    /// The command runs.
    Running,
    /// The command has ended, or never ran.
    Ended,
    /// The stub's last word is said.
    Over,
}

/// What the stub's words mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It waits, and has answered every beat so far.
    Waiting,
    /// The command of its session could not be started; it goes on waiting.
    NotStarted(ExitStatus),
    /// It can't be that session, and has started nothing: why.
    Declined(String),
    /// The command runs.
    Started,
    Output(ExecOutput),
    /// How it ended; no more output comes.
    Ended(ExitStatus),
    /// Its processes were ended, but for so many.
    Cleaned {
        left: u32,
    },
}

impl Conversation {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            decoder: Decoder::new(),
            out: Vec::new(),
            next_beat: now.after(BEAT),
            under_way: 0,
            input_ended: false,
            stage: Stage::Calling,
            told_to_end: false,
            is_opened: false,
            unanswered: 0,
            window: Window::new(now),
            first: None,
        }
    }

    /// Adds what came.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// What came next.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>> {
        if let Some(event) = self.first.take() {
            return Ok(Some(event));
        }
        loop {
            let message = self.decoder.next_message().map_err(|error| {
                Error::protocol("the stub can't be understood").with_source(error)
            })?;
            let Some(message) = message else {
                return Ok(None);
            };
            if let Some(event) = self.hear(message)? {
                return Ok(Some(event));
            }
        }
    }

    fn hear(&mut self, message: FromStub) -> Result<Option<Event>> {
        let event = match (self.stage, message) {
            (Stage::Calling | Stage::Opening, FromStub::Hello(VERSION)) => {
                self.stage = Stage::Greeted;
                None
            }
            (Stage::Greeted, FromStub::Waiting) if !self.is_opened => {
                self.stage = Stage::Waiting;
                Some(Event::Waiting)
            }
            (Stage::Waiting | Stage::Opening, FromStub::Waiting) => {
                // Else it could say so for ever.
                self.unanswered = self.unanswered.checked_sub(1).ok_or_else(|| {
                    Error::protocol("the stub says that it waits and was not asked")
                })?;
                (self.stage == Stage::Waiting && self.unanswered == 0).then_some(Event::Waiting)
            }
            (Stage::Opening, FromStub::Failed { code, reason }) => {
                (self.stage, self.is_opened) = (Stage::Waiting, false);
                Some(Event::NotStarted(not_started(code, &reason)))
            }
            (Stage::Opening, FromStub::Declined(reason)) => {
                self.stage = Stage::Over;
                Some(Event::Declined(reason))
            }
            (Stage::Calling, FromStub::Hello(version)) => {
                return Err(Error::protocol(format!(
                    "the stub speaks version {version}, expected {VERSION}: build it from the \
                     same sources"
                )));
            }
            (Stage::Greeted, FromStub::Started) => {
                self.stage = Stage::Running;
                Some(Event::Started)
            }
            (Stage::Greeted, FromStub::Failed { code, reason }) => {
                self.stage = Stage::Ended;
                Some(Event::Ended(not_started(code, &reason)))
            }
            (Stage::Running, FromStub::Output(bytes)) => output(OutputKind::Stdout, bytes),
            (Stage::Running, FromStub::Errors(bytes)) => output(OutputKind::Stderr, bytes),
            (Stage::Running | Stage::Ended, FromStub::Taken(count)) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                // More than was sent would let more be sent than there is room for.
                self.under_way = self.under_way.saturating_sub(count);
                None
            }
            (Stage::Running, FromStub::Exit(ending)) => {
                self.stage = Stage::Ended;
                Some(Event::Ended(status(ending)))
            }
            (Stage::Ended, FromStub::Cleaned { left, .. }) => {
                self.stage = Stage::Over;
                Some(Event::Cleaned { left })
            }
            (stage, message) => {
                let what = format!("the stub said {message:?} while {stage:?}");
                let what = longshore_core::printable(&what, LONGEST_COMPLAINT).into_owned();
                return Err(Error::protocol(what));
            }
        };
        Ok(event)
    }

    /// Tells a stub that waits what to become. Nothing may be said until it has answered: it would be
    /// lost with what the stub was before.
    pub(super) fn open(&mut self, opening: &Opening) {
        if self.stage == Stage::Waiting {
            (self.stage, self.is_opened) = (Stage::Opening, true);
            ToStub::Open(opening.clone()).write(&mut self.out);
        }
    }

    /// Whether it has not been told all of what it is to become: nothing begins then. What is unsaid
    /// once it is another program is a beat.
    pub(super) fn open_is_unsaid(&self) -> bool {
        self.stage == Stage::Opening && !self.out.is_empty()
    }

    /// Asks a stub that waits whether it is there: [`Event::Waiting`] follows.
    pub(super) fn ask(&mut self) {
        self.unanswered += 1;
        ToStub::Beat.write(&mut self.out);
    }

    /// How many beats in a row a stub that waits has not answered.
    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// So much output was taken, after it had waited for its reader for so long.
    pub(super) fn took(&mut self, bytes: usize, waited: Duration, now: Timestamp) {
        if let Some(room) = self.window.took(bytes, waited, now)
            && !self.has_ended()
        {
            let room = u32::try_from(room).unwrap_or(u32::MAX);
            ToStub::Room(room).write(&mut self.out);
        }
    }

    /// Gives an event back, to be told once more.
    pub(super) fn put_back(&mut self, event: Event) {
        self.first = Some(event);
    }

    /// Whether it was told to end the session.
    pub(super) fn is_ending(&self) -> bool {
        self.told_to_end
    }

    /// Whether the command's end is known.
    pub(super) fn has_ended(&self) -> bool {
        self.stage >= Stage::Ended
    }

    /// How many bytes of input may be said now.
    pub(super) fn input_room(&self) -> usize {
        if self.input_ended || self.told_to_end || self.stage != Stage::Running {
            return 0;
        }
        INPUT_WINDOW - self.under_way.min(INPUT_WINDOW)
    }

    /// Says a piece of input, not longer than there is room for.
    pub(super) fn input(&mut self, bytes: &[u8]) {
        self.under_way += bytes.len();
        ToStub::Input(bytes.to_vec()).write(&mut self.out);
    }

    pub(super) fn end_input(&mut self) {
        if !std::mem::replace(&mut self.input_ended, true) && !self.has_ended() {
            ToStub::InputEnd.write(&mut self.out);
        }
    }

    pub(super) fn resize(&mut self, size: TerminalSize) {
        let TerminalSize { columns, rows } = size;
        ToStub::Resize { columns, rows }.write(&mut self.out);
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        ToStub::Signal(signal.number()).write(&mut self.out);
    }

    /// Tells the stub to end the session.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.told_to_end, true) {
            ToStub::End.write(&mut self.out);
        }
    }

    /// Says the beat that is due; whether one was.
    pub(super) fn tick(&mut self, now: Timestamp) -> bool {
        let is_due = now >= self.next_beat;
        if is_due {
            self.next_beat = now.after(BEAT);
            match self.stage {
                Stage::Waiting => self.ask(),
                // A stub that is yet to begin finds its silence counted from there; and one that waits
                // would answer what it was not asked.
                Stage::Calling | Stage::Opening => {}
                _ => ToStub::Beat.write(&mut self.out),
            }
        }
        is_due
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        self.next_beat
    }

    /// What is still to be written.
    pub(super) fn out(&self) -> &[u8] {
        &self.out
    }

    pub(super) fn written(&mut self, count: usize) {
        self.out.drain(..count);
    }
}

fn not_started(code: u8, reason: &str) -> ExitStatus {
    let status = ExitStatus::exited(i64::from(code));
    status.with_reason(format!("start-failed: {reason}"))
}

fn output(kind: OutputKind, bytes: Vec<u8>) -> Option<Event> {
    let output = ExecOutput {
        kind,
        bytes: bytes.into(),
    };
    (!output.bytes.is_empty()).then_some(Event::Output(output))
}

fn status(ending: Ending) -> ExitStatus {
    match ending {
        Ending::Code(code) => ExitStatus::exited(i64::from(code)),
        Ending::Signal(number) => Signal::new(number).map_or_else(
            |_| ExitStatus::unknown("the command was ended by a signal without a number"),
            ExitStatus::signaled,
        ),
        Ending::Unknown => ExitStatus::unknown("the stub did not see how the command ended"),
    }
}

const LONGEST_COMPLAINT: usize = 200;

#[cfg(test)]
mod tests;
