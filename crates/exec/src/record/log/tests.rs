use bytes::Bytes;
use longshore_core::{ErrorKind, ExecRequest, Identity, OutputKind, TerminalSize, WorkloadId};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::session::{
    EndReason, Launch, RuleAction, RuleHit, SessionAbout, SessionEnd, SessionOrigin,
};

fn session() -> SessionId {
    SessionId::new("s1").unwrap()
}

fn about() -> Box<SessionAbout> {
    let request = ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh", "-l"]);
    let launch = Launch::Exec(request.with_tty(TerminalSize::new(100, 30)));
    Box::new(SessionAbout::new(
        Identity::new("alice", "token"),
        &launch,
        SessionOrigin::new(),
    ))
}

fn output(offset: u64, kind: OutputKind, bytes: &[u8]) -> RecordEvent {
    RecordEvent::Output {
        offset,
        kind,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

/// One of each kind.
fn events() -> Vec<RecordEvent> {
    vec![
        RecordEvent::Opened(about()),
        output(0, OutputKind::Stdout, b"\0\xff out"),
        output(6, OutputKind::Stderr, b"err"),
        RecordEvent::Input(Bytes::from_static(b"ls\r")),
        RecordEvent::InputHidden,
        RecordEvent::Resize(TerminalSize::new(65_535, 1)),
        RecordEvent::Hit(RuleHit::new("halt", RuleAction::Block)),
        RecordEvent::Full,
        RecordEvent::Ended(SessionEnd::new(EndReason::Lost).with_text("who knows")),
    ]
}

/// The log, and where each record begins; the last is its end.
fn write(form: Form, events: &[RecordEvent]) -> (Vec<u8>, Vec<usize>, Head) {
    let (mut encoder, mut log) = LogEncoder::of(&session(), form);
    let mut starts = vec![log.len()];
    for (at, event) in events.iter().enumerate() {
        let (bytes, head) = encoder
            .encode(Timestamp::from_secs(at as u64), event)
            .unwrap();
        encoder.accept(head);
        log.extend_from_slice(&bytes);
        starts.push(log.len());
    }
    (log, starts, encoder.head())
}

fn read(log: &[u8]) -> (Vec<LogEntry>, Option<longshore_core::Error>, LogDecoder) {
    let mut decoder = LogDecoder::new(&session());
    decoder.push(log);
    let mut entries = Vec::new();
    loop {
        match decoder.next_entry() {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => return (entries, None, decoder),
            Err(error) => return (entries, Some(error), decoder),
        }
    }
}

#[test]
fn every_event_comes_back() {
    Form::ALL.into_iter().for_each(comes_back);
}

#[track_caller]
fn comes_back(form: Form) {
    let (log, _, head) = write(form, &events());
    let (entries, error, decoder) = read(&log);
    assert!(error.is_none(), "{error:?}");
    let back: Vec<_> = entries.iter().map(|entry| entry.event.clone()).collect();
    assert_eq!(back, events());
    for (at, entry) in entries.iter().enumerate() {
        assert_eq!(
            (entry.sequence, entry.at),
            (at as u64, Timestamp::from_secs(at as u64))
        );
    }
    assert_eq!(
        (decoder.head(), decoder.torn(), decoder.is_complete()),
        (head, 0, true)
    );
    assert_eq!((decoder.whole(), decoder.output()), (log.len() as u64, 9));
}

/// The hash before, what stands before the content, and that.
type Link = fn(&[u8], &[u8], &[u8]) -> [u8; 32];

/// The form on disk is kept: a change of it needs a new first line.
#[track_caller]
fn documented(form: Form, magic: &[u8], begin: fn(&[u8]) -> [u8; 32], next: Link) {
    let (log, starts, head) = write(form, &events());
    assert!(log.starts_with(magic) && log[magic.len()..].starts_with(b"\x02s1"));
    assert_eq!(
        &log[starts[3]..][..16],
        b"\0\0\0\x03\x04\0\0\0\0\0\x2d\xc6\xc0ls\r"
    );
    assert_eq!(starts[4] - starts[3], 4 + 1 + 8 + 3 + 32);
    let mut hash = begin(&log[..starts[0]]);
    for (number, pair) in starts.windows(2).enumerate() {
        let record = &log[pair[0]..pair[1]];
        let (front, last) = record.split_at(record.len() - 32);
        // Of output, the offset is no content.
        let lead = if (1..=2).contains(&number) { 21 } else { 13 };
        hash = next(&hash, &front[..lead], &front[lead..]);
        assert_eq!(hash, last);
    }
    assert_eq!((head.hash, head.records), (hash, 9));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(head.hash(), hex);
}

#[test]
fn the_form_is_the_documented_one() {
    documented(
        Form::Two,
        b"LONGSHORE RECORD 2\n",
        |head| blake3::hash(head).into(),
        |before, lead, content| {
            let content = blake3::hash(content);
            blake3::hash(&[before, lead, content.as_bytes()].concat()).into()
        },
    );
}

#[test]
fn version_1_is_what_it_was() {
    documented(
        Form::One,
        b"LONGSHORE RECORD 1\n",
        |head| Sha256::digest(head).into(),
        |before, lead, content| Sha256::digest([before, lead, content].concat()).into(),
    );
}

/// Computed by other implementations of SHA-256 and BLAKE3, from the form as it is documented.
#[test]
fn the_hashes_are_those_that_others_compute() {
    let long: Vec<u8> = (0..40_000_u32).map(|at| (at % 251) as u8).collect();
    let events = [
        output(0, OutputKind::Stdout, &long),
        RecordEvent::InputHidden,
        RecordEvent::Input(Bytes::from_static(b"ls\r")),
    ];
    let golden = [
        "8107e263fd32a44554d3d8df873ed6853d9cf9b3458fa077dfa209ca1e4220d7",
        "559938b165af04d9f162bbb05fcbe3518830bd0c88fa5a51b230d782bcf283a7",
    ];
    for (form, golden) in Form::ALL.into_iter().zip(golden) {
        let (mut encoder, _) = LogEncoder::of(&session(), form);
        for (at, event) in events.iter().enumerate() {
            let at = Timestamp::from_secs(at as u64 + 1);
            let (_, head) = encoder.encode(at, event).unwrap();
            encoder.accept(head);
        }
        assert_eq!(encoder.head().hash(), golden);
    }
}

/// Written by another program, with nothing at hand but the documentation.
#[test]
fn logs_that_were_written_elsewhere_are_read() {
    let written: [(&[u8], &str); 2] = [
        (
            include_bytes!("written/unfinished-1.log"),
            "f5d986065a06a978f2a1d39975c989d90c80b772ecc1cd7ef93d05ea28da09f4",
        ),
        (
            include_bytes!("written/unfinished-2.log"),
            "35ecd9a5db85e6215ccff65800a2350f91f40c9cbf52aec795b12725bf41f2eb",
        ),
    ];
    for (log, hash) in written {
        let mut decoder = LogDecoder::new(&SessionId::new("old").unwrap());
        decoder.push(log);
        let mut entries = Vec::new();
        while let Some(entry) = decoder.next_entry().unwrap() {
            entries.push((entry.at.as_micros() - 1_700_000_000_000_000, entry.event));
        }
        let RecordEvent::Opened(about) = &entries[0].1 else {
            panic!("{entries:?}")
        };
        assert_eq!((&*about.who.subject, &*about.container), ("alice", "web"));
        assert_eq!(
            entries[1..],
            [
                (1, output(0, OutputKind::Stdout, b"first\xff\0")),
                (2_000_000, output(7, OutputKind::Stderr, b"oops")),
                (2_000_001, RecordEvent::Input(Bytes::from_static(b"ls\r"))),
                (3_000_000, RecordEvent::Resize(TerminalSize::new(100, 30))),
            ]
        );
        assert_eq!((decoder.head().hash(), decoder.torn()), (hash.into(), 0));
        // It is finished in its own version.
        let event = RecordEvent::Interrupted;
        let encoder = LogEncoder::resume(&decoder);
        let (end, head) = encoder.encode(decoder.at(), &event).unwrap();
        decoder.push(&end);
        assert_eq!(decoder.next_entry().unwrap().unwrap().event, event);
        assert_eq!((decoder.head(), decoder.is_complete()), (head, true));
    }
}

#[test]
fn a_log_is_of_one_version() {
    let (newest, ..) = write(Form::NEWEST, &events());
    assert_eq!(newest, write(Form::Two, &events()).0);
    for form in Form::ALL {
        let (log, starts, _) = write(form, &events());
        for version in *b"0123" {
            let mut changed = log.clone();
            changed[17] = version;
            if changed == log {
                continue;
            }
            let (entries, error, _) = read(&changed);
            let (error, known) = (error.unwrap(), matches!(version, b'1' | b'2'));
            assert_eq!((entries.len(), error.kind()), (0, ErrorKind::Protocol));
            let unknown = "this is a session's record of a version that is not known here";
            assert_eq!(error.message() == unknown, !known, "{error}");
        }
        // The end of one behind the beginning of the other.
        let other = Form::ALL.into_iter().find(|other| *other != form).unwrap();
        let mut mixed = write(other, &events()).0[..starts[3]].to_vec();
        mixed.extend_from_slice(&log[starts[3]..]);
        assert_eq!(read(&mixed).0.len(), 3);
        assert!(read(&mixed).1.is_some());
    }
}

#[test]
fn every_flipped_bit_is_found() {
    Form::ALL.into_iter().for_each(flipped_bits_are_found);
}

#[track_caller]
fn flipped_bits_are_found(form: Form) {
    let (log, starts, _) = write(form, &events());
    for at in 0..log.len() {
        for bit in [0, 3, 7] {
            let mut changed = log.clone();
            changed[at] ^= 1 << bit;
            let (entries, error, decoder) = read(&changed);
            // A length that grew looks like a log that ends early.
            let found = error.is_some() || decoder.torn() > 0;
            assert!(found && !decoder.is_complete(), "byte {at} bit {bit}");
            let sound = starts[1..].iter().filter(|&&end| end <= at).count();
            assert_eq!(entries.len(), sound, "what lies before it is sound");
            if let Some(error) = error {
                assert_eq!(error.kind(), ErrorKind::Protocol);
            }
        }
    }
}

#[test]
fn records_that_were_moved_removed_or_repeated_are_found() {
    Form::ALL.into_iter().for_each(disorder_is_found);
}

#[track_caller]
fn disorder_is_found(form: Form) {
    let (log, starts, _) = write(form, &events());
    let count = starts.len() - 1;
    let record = |at: usize| &log[starts[at]..starts[at + 1]];
    let of = |order: Vec<usize>| {
        let mut changed = log[..starts[0]].to_vec();
        order
            .iter()
            .for_each(|&at| changed.extend_from_slice(record(at)));
        read(&changed)
    };
    for at in 0..count - 1 {
        let mut removed: Vec<_> = (0..count).collect();
        removed.remove(at);
        assert!(of(removed).1.is_some(), "without {at}");
        let mut swapped: Vec<_> = (0..count).collect();
        swapped.swap(at, at + 1);
        assert!(of(swapped).1.is_some(), "{at} behind the next");
        let mut doubled: Vec<_> = (0..count).collect();
        doubled.insert(at, at);
        assert!(of(doubled).1.is_some(), "{at} twice");
    }
    let (_, error, _) = of((0..count).chain([count - 1]).collect());
    assert!(error.is_some(), "nothing follows the end");
    let mut other = log.clone();
    other[20] = b'x';
    let error = read(&other).1.unwrap();
    assert_eq!(error.message(), "this is the record of another session");
}

#[test]
fn a_cut_ends_at_the_last_whole_record() {
    Form::ALL.into_iter().for_each(cuts_are_found);
}

#[track_caller]
fn cuts_are_found(form: Form) {
    let (log, starts, head) = write(form, &events());
    for end in 0..log.len() {
        let (entries, error, decoder) = read(&log[..end]);
        assert!(error.is_none());
        let whole = starts[1..].iter().filter(|&&start| start <= end).count();
        assert_eq!(entries.len(), whole);
        assert!(!decoder.is_complete() && decoder.head() != head);
        let begins = starts[whole].min(if end < starts[0] { 0 } else { usize::MAX });
        assert_eq!(
            (decoder.whole(), decoder.torn()),
            (begins as u64, (end - begins) as u64)
        );
    }
}

#[test]
fn long_output_is_split_and_other_events_are_bounded() {
    let long = vec![b'x'; 200_000];
    let events = [
        RecordEvent::Opened(about()),
        output(5, OutputKind::Stdout, &long),
    ];
    let (log, _, head) = write(Form::NEWEST, &events);
    let (entries, error, _) = read(&log);
    assert!(error.is_none() && head.records == 5);
    let mut next = 5;
    for entry in &entries[1..] {
        let RecordEvent::Output { offset, bytes, .. } = &entry.event else {
            panic!("{entry:?}")
        };
        assert_eq!(*offset, next);
        next += bytes.len() as u64;
    }
    assert_eq!(next, 200_005);
    let (encoder, _) = LogEncoder::new(&session());
    let input = RecordEvent::Input(Bytes::from(vec![0; LONGEST + 1]));
    assert_eq!(
        encoder.encode(Timestamp::ZERO, &input).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

proptest! {
    /// The reader's fuzz body: any bytes, in any pieces, end in entries or in one error.
    #[test]
    fn any_bytes_are_read_without_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        as_log in any::<bool>(),
        piece in 1..64_usize,
    ) {
        if as_log {
            let mut log = LogEncoder::new(&session()).1;
            log.append(&mut bytes);
            bytes = log;
        }
        let mut decoder = LogDecoder::new(&session());
        let mut broken = false;
        for piece in bytes.chunks(piece) {
            decoder.push(piece);
            loop {
                match decoder.next_entry() {
                    Ok(Some(_)) => prop_assert!(!broken),
                    Ok(None) => break,
                    Err(_) => { broken = true; break; }
                }
            }
        }
        prop_assert_eq!(broken, decoder.next_entry().is_err());
        prop_assert_eq!(decoder.head().records, 0);
    }

    /// Whatever was changed in a sound log, nothing but its sound beginning is given out.
    #[test]
    fn damage_gives_out_only_what_is_sound(
        version_1 in any::<bool>(), cut in 0..600_usize, insert in proptest::collection::vec(any::<u8>(), 1..80), remove in 0..80_usize,
    ) {
        let form = if version_1 { Form::One } else { Form::Two };
        let (log, starts, _) = write(form, &events());
        let at = cut.min(log.len());
        let mut changed = log[..at].to_vec();
        changed.extend_from_slice(&insert);
        changed.extend_from_slice(&log[(at + remove).min(log.len())..]);
        prop_assume!(changed != log);
        let (entries, error, decoder) = read(&changed);
        let same = log.iter().zip(&changed).take_while(|(a, b)| a == b).count();
        let sound = starts[1..].iter().filter(|&&end| end <= same).count();
        prop_assert_eq!(entries.len(), sound);
        prop_assert!(error.is_some() || decoder.torn() > 0);
    }
}
