//! What the fuzz targets for streams and files do with bytes: of an engine, of a stub, of records.

use std::fmt::Debug;

use bytes::Bytes;
use longshore_core::{
    ExecRequest, Identity, OutputKind, SessionId, Timestamp, WorkloadId, http::Demultiplexer,
};
use longshore_exec::{
    record::{
        ImportLimits, Imported,
        log::{LogDecoder, LogEncoder},
        read_asciicast, read_typescript,
    },
    session::{Launch, RecordEvent, SessionAbout, SessionOrigin},
};
use longshore_exec_stub::{Decoder, FromStub, Message, ToStub};
use sha2::{Digest, Sha256};

/// Whatever an engine multiplexes: the same pieces of output wherever the stream is cut, never more
/// than came, or a refusal. The first byte says where it is cut.
pub(crate) fn demultiplexed(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else {
        return;
    };
    let taken_apart = |size: usize| {
        let mut frames = Demultiplexer::new();
        let (mut outputs, mut errors, mut refused) = (Vec::new(), Vec::new(), false);
        'all: for piece in stream.chunks(size.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            loop {
                match frames.next(&mut piece) {
                    Ok(Some(output)) => match output.kind {
                        OutputKind::Stdout => outputs.extend(output.bytes),
                        OutputKind::Stderr => errors.extend(output.bytes),
                    },
                    Ok(None) => break,
                    Err(_) => {
                        refused = true;
                        break 'all;
                    }
                }
            }
        }
        (
            outputs,
            errors,
            refused,
            refused || frames.finish().is_err(),
        )
    };
    let whole = taken_apart(stream.len());
    assert_eq!(whole, taken_apart(usize::from(cut)));
    assert!(whole.0.len() + whole.1.len() <= stream.len());
}

/// Whatever a stub says, or is told: messages that are written as they were read, wherever the stream
/// is cut, or a refusal. The first byte says where it is cut.
pub(crate) fn stub(bytes: &[u8]) {
    let Some((&cut, stream)) = bytes.split_first() else {
        return;
    };
    both_ways::<ToStub>(stream, cut, ToStub::write);
    both_ways::<FromStub>(stream, cut, FromStub::write);
}

fn both_ways<M: Message + Clone + PartialEq + Debug>(
    stream: &[u8],
    cut: u8,
    write: impl Fn(&M, &mut Vec<u8>),
) {
    let read = |stream: &[u8], size: usize| {
        let mut decoder = Decoder::<M>::new();
        let mut read = Vec::new();
        for piece in stream.chunks(size.max(1)) {
            decoder.push(piece);
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => read.push(message),
                    Ok(None) => break,
                    Err(_) => return (read, true),
                }
            }
        }
        (read, false)
    };
    let (messages, refused) = read(stream, stream.len());
    assert_eq!(read(stream, usize::from(cut)), (messages.clone(), refused));
    let mut written = Vec::new();
    messages
        .iter()
        .for_each(|message| write(message, &mut written));
    let (again, refused) = read(&written, written.len());
    assert!(!refused);
    assert_eq!(again, messages);
}

/// Whatever is imported: events in order, within the bounds, or an error. The first byte says how much
/// of it is the timing of a typescript.
pub(crate) fn imported(bytes: &[u8]) {
    let Some((&share, file)) = bytes.split_first() else {
        return;
    };
    let mut limits = ImportLimits::default().with_bytes(1 << 16);
    (limits.events, limits.line) = (20, 200);
    let sane = |imported: Imported| {
        assert!(imported.events.len() <= limits.events);
        assert!(
            imported
                .events
                .windows(2)
                .all(|pair| pair[0].0 <= pair[1].0)
        );
        let first = imported.events.first();
        assert!(first.is_none_or(|(at, _)| *at >= imported.created_at));
    };
    if let Ok(cast) = read_asciicast(file, &limits) {
        sane(cast);
    }
    let (timing, script) = file.split_at(file.len() * usize::from(share) / 256);
    if let Ok(typescript) = read_typescript(script, timing, &limits) {
        sane(typescript);
    }
}

/// Whatever stands in a record's log, rightly chained: the same entries wherever it is cut, or a
/// refusal. Records, each a kind, a length and a body.
pub(crate) fn log(mut bytes: &[u8]) {
    let session = SessionId::new("s").expect("an id");
    let request = ExecRequest::new(WorkloadId::new("web").expect("an id"), ["sh"]);
    let who = Identity::new("alice", "token");
    let about = SessionAbout::new(who, &Launch::Exec(request), SessionOrigin::new());
    let (encoder, mut file) = LogEncoder::new(&session);
    let opened = RecordEvent::Opened(Box::new(about));
    let (record, _) = encoder
        .encode(Timestamp::ZERO, &opened)
        .expect("it is short");
    file.extend_from_slice(&record);
    let mut hash = record[record.len() - 32..].to_vec();
    while let [kind, length, rest @ ..] = bytes {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let mut record = (body.len() as u32).to_be_bytes().to_vec();
        record.push(kind % 12);
        record.extend([0; 8]);
        record.extend_from_slice(body);
        hash = Sha256::new()
            .chain_update(&hash)
            .chain_update(&record)
            .finalize()
            .to_vec();
        file.extend(record);
        file.extend_from_slice(&hash);
    }
    let read = |size: usize| {
        let mut decoder = LogDecoder::new(&session);
        let mut entries = Vec::new();
        for piece in file.chunks(size) {
            decoder.push(piece);
            loop {
                match decoder.next_entry() {
                    Ok(Some(entry)) => entries.push(entry),
                    Ok(None) => break,
                    Err(_) => return (entries, true),
                }
            }
        }
        assert_eq!(decoder.torn(), 0);
        (entries, false)
    };
    let (entries, refused) = read(file.len());
    assert!(!entries.is_empty(), "the opening is sound");
    assert_eq!((&entries, refused), (&read(7).0, refused));
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(entry.sequence, number as u64);
    }
}
