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
fn a_stub_that_waits_becomes_a_session_once_it_is_told() {
    let (mut talk, events) = heard(&[FromStub::Hello(VERSION), FromStub::Waiting]);
    assert_eq!(events.unwrap(), [Event::Waiting]);
    let say = |talk: &mut Conversation, message: FromStub| {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        talk.receive(&bytes);
        talk.next_event()
    };
    // An answer that was on its way says nothing of now.
    talk.tick(NOW.after(BEAT));
    talk.ask();
    assert_eq!(said(&mut talk), [ToStub::Beat, ToStub::Beat]);
    assert_eq!(say(&mut talk, FromStub::Waiting).unwrap(), None);
    assert_eq!(talk.unanswered(), 1);
    let there = say(&mut talk, FromStub::Waiting);
    assert_eq!(there.unwrap(), Some(Event::Waiting));
    let opening = Opening::default();
    talk.open(&opening);
    talk.open(&opening);
    assert_eq!(said(&mut talk), [ToStub::Open(opening.clone())]);
    // A beat now would be lost with the program that reads it, and input more so.
    talk.tick(NOW.after(BEAT * 5));
    assert_eq!((said(&mut talk), talk.input_room()), (vec![], 0));
    let failed = FromStub::Failed {
        code: 127,
        reason: "not there".to_owned(),
    };
    let expected = ExitStatus::exited(127).with_reason("start-failed: not there");
    let told = say(&mut talk, failed).unwrap();
    assert_eq!(told, Some(Event::NotStarted(expected)));
    talk.open(&opening);
    assert_eq!(said(&mut talk), [ToStub::Open(opening)]);
    assert_eq!(say(&mut talk, FromStub::Hello(VERSION)).unwrap(), None);
    let began = say(&mut talk, FromStub::Started);
    assert_eq!(began.unwrap(), Some(Event::Started));
    assert_eq!(talk.input_room(), INPUT_WINDOW);
}

#[test]
fn a_stub_that_waits_has_nothing_else_to_say() {
    let waits = [FromStub::Hello(VERSION), FromStub::Waiting];
    for message in [
        FromStub::Started,
        FromStub::Hello(VERSION),
        FromStub::Output(b"x".to_vec()),
        FromStub::Declined(String::new()),
    ] {
        let (_, events) = heard(&[&waits[..], &[message]].concat());
        assert_eq!(events.unwrap_err().kind(), ErrorKind::Protocol);
    }
    let (mut talk, _) = heard(&waits);
    talk.open(&Opening::default());
    let mut bytes = Vec::new();
    FromStub::Hello(VERSION).write(&mut bytes);
    FromStub::Waiting.write(&mut bytes);
    talk.receive(&bytes);
    assert_eq!(talk.next_event().unwrap_err().kind(), ErrorKind::Protocol);
}

/// It was told all of it then, and may have begun.
#[test]
fn a_beat_that_is_unsaid_is_not_what_it_was_to_become() {
    let (mut talk, _) = heard(&[FromStub::Hello(VERSION), FromStub::Waiting]);
    assert!(!talk.open_is_unsaid());
    talk.open(&Opening::default());
    talk.written(talk.out().len() - 1);
    assert!(talk.open_is_unsaid());
    talk.written(1);
    assert!(!talk.open_is_unsaid());
    let mut bytes = Vec::new();
    FromStub::Hello(VERSION).write(&mut bytes);
    talk.receive(&bytes);
    assert_eq!(talk.next_event().unwrap(), None);
    talk.tick(NOW.after(BEAT));
    assert!(!talk.out().is_empty() && !talk.open_is_unsaid());
}

/// It would answer a beat from before, once it waits.
#[test]
fn a_stub_that_begins_late_is_asked_nothing_before() {
    let mut talk = Conversation::new(NOW);
    assert!(talk.tick(NOW.after(BEAT)));
    assert!(talk.out().is_empty());
}

#[test]
fn a_stub_that_was_not_asked_has_nothing_to_answer() {
    let (_, events) = heard(&[
        FromStub::Hello(VERSION),
        FromStub::Waiting,
        FromStub::Waiting,
    ]);
    assert_eq!(events.unwrap_err().kind(), ErrorKind::Protocol);
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
