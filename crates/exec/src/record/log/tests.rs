use bytes::Bytes;
use longshore_core::{ErrorKind, ExecRequest, Identity, OutputKind, TerminalSize, WorkloadId};
use proptest::prelude::*;

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
fn write(events: &[RecordEvent]) -> (Vec<u8>, Vec<usize>, Head) {
    let (mut encoder, mut log) = LogEncoder::new(&session());
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
    let (log, _, head) = write(&events());
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

/// The form on disk is kept: a change of it needs a new first line.
#[test]
fn the_form_is_the_documented_one() {
    let (log, starts, head) = write(&events());
    assert!(log.starts_with(b"LONGSHORE RECORD 1\n\x02s1"));
    assert_eq!(
        &log[starts[3]..][..16],
        b"\0\0\0\x03\x04\0\0\0\0\0\x2d\xc6\xc0ls\r"
    );
    assert_eq!(starts[4] - starts[3], 4 + 1 + 8 + 3 + 32);
    let mut hash: [u8; 32] = Sha256::digest(&log[..starts[0]]).into();
    for pair in starts.windows(2) {
        let record = &log[pair[0]..pair[1]];
        let (front, last) = record.split_at(record.len() - 32);
        hash = Sha256::new()
            .chain_update(hash)
            .chain_update(front)
            .finalize()
            .into();
        assert_eq!(hash, last);
    }
    assert_eq!((head.hash, head.records), (hash, 9));
    assert_eq!(head.hash().len(), 64);
}

#[test]
fn every_flipped_bit_is_found() {
    let (log, starts, _) = write(&events());
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
    let (log, starts, _) = write(&events());
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
    let (log, starts, head) = write(&events());
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
    let (log, _, head) = write(&[
        RecordEvent::Opened(about()),
        output(5, OutputKind::Stdout, &long),
    ]);
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
        cut in 0..600_usize, insert in proptest::collection::vec(any::<u8>(), 1..80), remove in 0..80_usize,
    ) {
        let (log, starts, _) = write(&events());
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
