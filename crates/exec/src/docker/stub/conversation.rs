use std::time::Duration;

use longshore_core::{
    Error, ExecOutput, ExitStatus, OutputKind, Result, Signal, TerminalSize, Timestamp,
};
use longshore_exec_stub::{BEAT, Decoder, Ending, FromStub, INPUT_WINDOW, ToStub, VERSION};

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
    window: Window,
    /// Told before the rest.
    first: Option<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing heard yet.
    Calling,
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
            (Stage::Calling, FromStub::Hello(VERSION)) => {
                self.stage = Stage::Greeted;
                None
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
                let status = ExitStatus::exited(i64::from(code));
                Some(Event::Ended(
                    status.with_reason(format!("start-failed: {reason}")),
                ))
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
        if self.input_ended || self.told_to_end || self.has_ended() {
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

    /// Says the beat that is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        if now >= self.next_beat {
            self.next_beat = now.after(BEAT);
            ToStub::Beat.write(&mut self.out);
        }
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
mod tests {
    use longshore_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(5);

    fn heard(messages: &[FromStub]) -> (Conversation, Result<Vec<Event>>) {
        let mut talk = Conversation::new(NOW);
        let mut bytes = Vec::new();
        messages
            .iter()
            .for_each(|message| message.write(&mut bytes));
        talk.receive(&bytes);
        let mut events = Vec::new();
        let result = loop {
            match talk.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break Ok(events),
                Err(error) => break Err(error),
            }
        };
        (talk, result)
    }

    fn said(talk: &mut Conversation) -> Vec<ToStub> {
        let mut decoder = Decoder::new();
        decoder.push(talk.out());
        talk.written(talk.out().len());
        std::iter::from_fn(|| decoder.next_message().unwrap()).collect()
    }

    fn running() -> Conversation {
        heard(&[FromStub::Hello(VERSION), FromStub::Started]).0
    }

    #[test]
    fn a_signal_is_told_as_one_and_an_unknown_end_is_never_success() {
        for (ending, expected) in [
            (Ending::Code(7), ExitStatus::exited(7)),
            (Ending::Signal(9), ExitStatus::signaled(Signal::KILL)),
        ] {
            let (_, events) = heard(&[
                FromStub::Hello(VERSION),
                FromStub::Started,
                FromStub::Exit(ending),
            ]);
            assert_eq!(events.unwrap()[1], Event::Ended(expected));
        }
        for ending in [Ending::Unknown, Ending::Signal(0), Ending::Signal(200)] {
            let (_, events) = heard(&[
                FromStub::Hello(VERSION),
                FromStub::Started,
                FromStub::Exit(ending),
            ]);
            let Event::Ended(status) = &events.unwrap()[1] else {
                panic!("an end");
            };
            assert_eq!((status.code, status.is_success()), (None, false));
        }
    }

    #[test]
    fn a_failed_start_has_its_code_and_reason() {
        let failed = FromStub::Failed {
            code: 127,
            reason: "not there".to_owned(),
        };
        let (_, events) = heard(&[FromStub::Hello(VERSION), failed]);
        let expected = ExitStatus::exited(127).with_reason("start-failed: not there");
        assert_eq!(events.unwrap(), [Event::Ended(expected)]);
    }

    #[test]
    fn another_version_and_words_out_of_turn_are_refused() {
        for messages in [
            vec![FromStub::Hello(VERSION + 1)],
            vec![FromStub::Started],
            vec![FromStub::Hello(VERSION), FromStub::Output(b"x".to_vec())],
            vec![
                FromStub::Hello(VERSION),
                FromStub::Started,
                FromStub::Exit(Ending::Code(0)),
                FromStub::Output(b"late".to_vec()),
            ],
        ] {
            let (_, events) = heard(&messages);
            assert_eq!(events.unwrap_err().kind(), ErrorKind::Protocol);
        }
    }

    #[test]
    fn input_waits_until_it_is_taken() {
        let mut talk = running();
        assert_eq!(talk.input_room(), INPUT_WINDOW);
        talk.input(&vec![0; INPUT_WINDOW]);
        assert_eq!(talk.input_room(), 0);
        let mut bytes = Vec::new();
        FromStub::Taken(10).write(&mut bytes);
        talk.receive(&bytes);
        assert_eq!(talk.next_event().unwrap(), None);
        assert_eq!(talk.input_room(), 10);
        // A stub that claims more than it was sent gains nothing.
        let mut bytes = Vec::new();
        FromStub::Taken(u32::MAX).write(&mut bytes);
        talk.receive(&bytes);
        assert_eq!(talk.next_event().unwrap(), None);
        assert_eq!(talk.input_room(), INPUT_WINDOW);
    }

    #[test]
    fn it_beats_every_two_seconds() {
        let mut talk = running();
        talk.tick(NOW.after(Duration::from_millis(1999)));
        assert_eq!(said(&mut talk), []);
        let mut now = NOW;
        for _ in 0..3 {
            now = talk.next_deadline();
            talk.tick(now);
            assert_eq!(said(&mut talk), [ToStub::Beat]);
        }
        assert_eq!(now.since(NOW), BEAT * 3);
    }

    #[test]
    fn ends_are_said_once() {
        let mut talk = running();
        talk.end_input();
        talk.end_input();
        talk.end();
        talk.end();
        assert_eq!(said(&mut talk), [ToStub::InputEnd, ToStub::End]);
        assert_eq!(talk.input_room(), 0);
    }

    proptest! {
        #[test]
        fn no_words_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
            let mut talk = Conversation::new(NOW);
            'talking: for piece in bytes.chunks(cut) {
                talk.receive(piece);
                loop {
                    match talk.next_event() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'talking,
                    }
                }
                prop_assert!(talk.input_room() <= INPUT_WINDOW);
            }
        }
    }
}
