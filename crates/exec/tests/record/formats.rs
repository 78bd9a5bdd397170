//! Exports and imports.

use std::{io::Write, process::Command};

use bytes::Bytes;
use longshore_core::{ErrorKind, ExitStatus, TerminalSize, Timestamp};
use longshore_exec::{
    record::{
        AsciicastVersion, AsciicastWriter, ImportLimits, Imported, MemoryRecords, RecordLimits,
        RecordStore, TypescriptWriter, read_asciicast, read_typescript,
    },
    session::{EndReason, RecordEvent, RuleAction, RuleHit, SessionEnd},
};
use proptest::prelude::*;

use crate::scene::{about, ended, id, opened, output};

const START: u64 = 1_790_000_000_123_456;

fn micros(after: u64) -> Timestamp {
    Timestamp::from_micros(START + after)
}

fn events() -> Vec<(Timestamp, RecordEvent)> {
    vec![
        (micros(0), opened("alice", "shop")),
        (micros(0), output(0, b"$ ")),
        (micros(1), output(2, b"gr\xc3")),
        (
            micros(1_500_000),
            output(5, b"\xb6\xc3\x9fe \"\\\x1b[0m\r\n"),
        ),
        (
            micros(1_500_001),
            RecordEvent::Input(Bytes::from_static(b"ls\r")),
        ),
        (micros(2_000_000), RecordEvent::InputHidden),
        (
            micros(2_000_000),
            RecordEvent::Resize(TerminalSize::new(120, 40)),
        ),
        (
            micros(2_000_000),
            RecordEvent::Hit(RuleHit::new("halt", RuleAction::Block)),
        ),
        (micros(3_000_000), output(18, b"\xff\xfe bye\xe2\x82")),
        (micros(62_000_000), ended()),
    ]
}

fn asciicast() -> String {
    written(
        AsciicastWriter::new(&about("alice", "shop"), micros(0)),
        &events(),
    )
}

fn written(
    (mut writer, mut text): (AsciicastWriter, String),
    events: &[(Timestamp, RecordEvent)],
) -> String {
    for (at, event) in events {
        text.extend(writer.event(*at, event));
    }
    text.extend(writer.finish());
    text
}

/// The same events, as version 3.
fn asciicast_3(end: SessionEnd) -> String {
    let mut events = events();
    events.pop();
    events.push((micros(62_000_000), RecordEvent::Ended(end)));
    let about = about("alice", "shop");
    written(
        AsciicastWriter::of_version(AsciicastVersion::Three, &about, micros(0)),
        &events,
    )
}

fn typescript() -> (Vec<u8>, String) {
    let (mut writer, head) = TypescriptWriter::new(micros(0));
    let (mut script, mut timing) = (head.into_bytes(), String::new());
    for (at, event) in events() {
        if let Some((bytes, line)) = writer.event(at, &event) {
            script.extend_from_slice(&bytes);
            timing.push_str(&line);
        }
    }
    script.extend_from_slice(writer.finish(micros(62_000_000)).as_bytes());
    (script, timing)
}

fn raw(imported: &Imported) -> Vec<u8> {
    let mut all = Vec::new();
    for (_, event) in &imported.events {
        if let RecordEvent::Output { bytes, .. } = event {
            all.extend_from_slice(bytes);
        }
    }
    all
}

const RAW: &[u8] = b"$ gr\xc3\xb6\xc3\x9fe \"\\\x1b[0m\r\n\xff\xfe bye\xe2\x82";

#[test]
fn an_asciicast_is_written_as_its_players_read_it() {
    let expected = concat!(
        r#"{"command":"bash -l","env":{"TERM":"xterm"},"height":30,"timestamp":1790000000,"title":"alice in c0ffee","version":2,"width":100}"#,
        "\n",
        r#"[0.000000, "o", "$ "]"#,
        "\n",
        r#"[0.000001, "o", "gr"]"#,
        "\n",
        r#"[1.500000, "o", "öße \"\\\u001b[0m\r\n"]"#,
        "\n",
        r#"[1.500001, "i", "ls\r"]"#,
        "\n",
        r#"[2.000000, "m", "hidden input"]"#,
        "\n",
        r#"[2.000000, "r", "120x40"]"#,
        "\n",
        r#"[2.000000, "m", "block halt"]"#,
        "\n",
        r#"[3.000000, "o", "�� bye"]"#,
        "\n",
        r#"[62.000000, "o", "�"]"#,
        "\n",
    );
    assert_eq!(asciicast(), expected);
}

/// The form of `docs.asciinema.org/manual/asciicast/v3`: intervals, and `x` behind everything.
#[test]
fn version_3_has_intervals_and_the_exit_code() {
    let lines = concat!(
        r#"{"command":"bash -l","term":{"cols":100,"rows":30,"type":"xterm"},"timestamp":1790000000,"title":"alice in c0ffee","version":3}"#,
        "\n",
        r#"[0.000000, "o", "$ "]"#,
        "\n",
        r#"[0.000001, "o", "gr"]"#,
        "\n",
        r#"[1.499999, "o", "öße \"\\\u001b[0m\r\n"]"#,
        "\n",
        r#"[0.000001, "i", "ls\r"]"#,
        "\n",
        r#"[0.499999, "m", "hidden input"]"#,
        "\n",
        r#"[0.000000, "r", "120x40"]"#,
        "\n",
        r#"[0.000000, "m", "block halt"]"#,
        "\n",
        r#"[1.000000, "o", "�� bye"]"#,
        "\n",
        r#"[59.000000, "o", "�"]"#,
        "\n",
    );
    let exit = "[0.000000, \"x\", \"3\"]\n";
    let exited = SessionEnd::from(ExitStatus::exited(3));
    assert_eq!(asciicast_3(exited), format!("{lines}{exit}"));
    // A code that is not known is not written.
    assert_eq!(asciicast_3(SessionEnd::new(EndReason::Lost)), lines);
}

#[test]
fn times_that_run_backwards_make_no_interval_longer() {
    let about = about("alice", "shop");
    let events = [(5, b"a"), (2, b"b"), (6, b"c")];
    let events = events.map(|(at, text)| (micros(at * 1_000_000), output(0, text)));
    let writer = AsciicastWriter::of_version(AsciicastVersion::Three, &about, micros(0));
    let text = written(writer, &events);
    let lines: Vec<_> = text.lines().skip(1).collect();
    let expected = [
        r#"[5.000000, "o", "a"]"#,
        r#"[0.000000, "o", "b"]"#,
        r#"[1.000000, "o", "c"]"#,
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_asciicast_is_read_back() {
    let imported = read_asciicast(asciicast().as_bytes(), &ImportLimits::default()).unwrap();
    assert_eq!(imported.size, Some(TerminalSize::new(100, 30)));
    assert_eq!(imported.created_at, Timestamp::from_secs(1_790_000_000));
    assert_eq!(imported.skipped, 2, "the markers");
    assert_eq!(
        String::from_utf8(raw(&imported)).unwrap(),
        String::from_utf8_lossy(RAW)
    );
    let times: Vec<_> = imported
        .events
        .iter()
        .map(|(at, _)| at.since(imported.created_at).as_micros())
        .collect();
    assert_eq!(
        times,
        [0, 1, 1_500_000, 1_500_001, 2_000_000, 3_000_000, 62_000_000]
    );
}

#[test]
fn bad_lines_of_an_asciicast_are_left_out() {
    let text = "{\"version\": 2, \"width\": 80, \"height\": 24}\n\
        [1.0, \"o\", \"a\"]\nnonsense\n[\"x\"]\n[-1, \"o\", \"b\"]\n[1e300, \"o\", \"c\"]\n\
        [0.5, \"o\", \"d\"]\n\n[2, \"r\", \"80\"]\n[2, \"q\", \"\"]\n[3, \"o\", \"e\"";
    let imported = read_asciicast(text.as_bytes(), &ImportLimits::default()).unwrap();
    assert_eq!(raw(&imported), b"ad");
    assert_eq!(
        (imported.skipped, imported.created_at),
        (8, Timestamp::ZERO)
    );
    assert_eq!(
        imported.events[1].0,
        Timestamp::from_secs(1),
        "times do not run backwards"
    );
    for head in [
        "",
        "{}",
        "[1]",
        "{\"version\": 3, \"term\": {}}",
        "{\"version\": 2, \"width\": -1, \"height\": 1}",
    ] {
        let error = read_asciicast(head.as_bytes(), &ImportLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{head}");
    }
}

#[test]
fn a_typescript_is_written_and_read_back_byte_for_byte() {
    let (script, timing) = typescript();
    assert!(script.starts_with(b"Script started on 2026-"));
    assert_eq!(timing, "0.000000 2\n0.000001 3\n1.499999 13\n1.500000 8\n");
    let imported =
        read_typescript(&script[..], timing.as_bytes(), &ImportLimits::default()).unwrap();
    assert_eq!(raw(&imported), RAW);
    assert_eq!((imported.created_at, imported.skipped), (micros(0), 0));
    let last = imported.events.last().unwrap();
    assert_eq!(last.0, micros(3_000_000));
}

#[test]
fn a_typescript_of_others_is_read_as_far_as_it_goes() {
    let read = |script: &str, timing: &str| {
        read_typescript(
            script.as_bytes(),
            timing.as_bytes(),
            &ImportLimits::default(),
        )
        .unwrap()
    };
    let script =
        "Script started on 2026-11-25 20:00:00+00:00 [TERM=\"xterm\"]\nabcdef\nScript done on x\n";
    let plain = read(script, "0.5 3\nbad\n1 \nx 2\n0.25 2\n");
    assert_eq!((raw(&plain), plain.skipped), (b"abcdef".to_vec(), 3));
    assert_eq!(plain.created_at.to_string(), "2026-11-25T20:00:00Z");
    let multi = read(
        script,
        "H 0.0 START_TIME x\nO 0.5 3\nI 0.5 9\nS 0.1 SIGWINCH ROWS=1\nO 1.0 3\n",
    );
    assert_eq!(raw(&multi), b"abcdef");
    let times: Vec<_> = multi
        .events
        .iter()
        .map(|(at, _)| at.since(multi.created_at).as_millis())
        .collect();
    assert_eq!(times, [500, 2100]);
    let short = read(script, "0 99999999999\n");
    assert_eq!(raw(&short), b"abcdef\nScript done on x\n");
    assert_eq!(short.skipped, 1);
    assert_eq!(raw(&read("no head", "")), b"no head");
    assert_eq!(
        raw(&read("Script started on", "0 3\n")),
        b"Script started on"
    );
    assert_eq!(raw(&read("Script started on ", "0 3\n")), b"");
}

#[test]
fn imports_are_bounded() {
    let limits = ImportLimits::default().with_bytes(100);
    let long = "x".repeat(101);
    let head = "{\"version\": 2, \"width\": 80, \"height\": 24}\n".to_owned();
    for error in [
        read_typescript(long.as_bytes(), &b""[..], &limits).unwrap_err(),
        read_typescript(&b""[..], long.as_bytes(), &limits).unwrap_err(),
        read_asciicast((head.clone() + &long).as_bytes(), &limits).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    }
    let mut limits = ImportLimits::default();
    (limits.line, limits.events) = (60, 1);
    let text = head + &format!("[1, \"o\", \"{long}\"]\n[1, \"o\", \"a\"]\n[1, \"o\", \"b\"]\n");
    let imported = read_asciicast(text.as_bytes(), &limits).unwrap();
    assert_eq!((raw(&imported), imported.skipped), (b"a".to_vec(), 2));
}

#[tokio::test]
async fn what_was_imported_is_a_record_like_any() {
    let (script, timing) = typescript();
    let imported =
        read_typescript(&script[..], timing.as_bytes(), &ImportLimits::default()).unwrap();
    let store = MemoryRecords::new(RecordLimits::default());
    imported
        .store(&store, &id("old"), about("alice", "shop"))
        .await
        .unwrap();
    let summary = store.session(&id("old")).await.unwrap();
    assert_eq!(
        (summary.created_at, summary.ended_at),
        (micros(0), Some(micros(3_000_000)))
    );
    assert_eq!(
        store.verify(&id("old"), None).await.unwrap().output,
        RAW.len() as u64
    );
}

/// util-linux's own player takes the pair.
#[test]
fn scriptreplay_plays_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (script, timing) = typescript();
    let path = |name: &str| dir.path().join(name);
    std::fs::File::create(path("typescript"))
        .unwrap()
        .write_all(&script)
        .unwrap();
    std::fs::write(path("timing"), timing).unwrap();
    let played = Command::new("scriptreplay")
        .arg("--divisor=1000000")
        .arg(format!("--timing={}", path("timing").display()))
        .arg(format!("--typescript={}", path("typescript").display()))
        .output();
    let Ok(played) = played else {
        println!("skipped: scriptreplay_plays_what_is_written: no scriptreplay on this machine");
        return;
    };
    assert!(
        played.status.success(),
        "{}",
        String::from_utf8_lossy(&played.stderr)
    );
    let shown = played.stdout.strip_suffix(b"\n").unwrap_or(&played.stdout);
    assert_eq!(String::from_utf8_lossy(shown), String::from_utf8_lossy(RAW));
    assert_eq!(shown, RAW);
}

proptest! {
    /// The importers' fuzz bodies: any bytes end in an import or an error, within the bounds.
    #[test]
    fn any_bytes_are_imported_without_panic(
        script in proptest::collection::vec(any::<u8>(), 0..300),
        timing in "([0-9.eOIH -]{0,12}\n){0,12}",
        events in "(\\[[0-9.e-]{0,6}, ?\"[oirm]\", ?\"[0-9a-zx\\\\]{0,8}\"\\]?\n){0,12}",
    ) {
        let limits = ImportLimits::default();
        let imported = read_typescript(&script[..], timing.as_bytes(), &limits).unwrap();
        prop_assert!(raw(&imported).len() <= script.len());
        let _ = read_asciicast(&script[..], &limits);
        let text = format!("{{\"version\":2,\"width\":1,\"height\":1}}\n{events}");
        let imported = read_asciicast(text.as_bytes(), &limits).unwrap();
        prop_assert!(imported.events.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }

    /// What is written is read back: bytes and times.
    #[test]
    fn a_typescript_comes_back(pieces in proptest::collection::vec((0..10_000_000_u64, proptest::collection::vec(any::<u8>(), 1..40)), 0..20)) {
        let (mut writer, head) = TypescriptWriter::new(micros(0));
        let (mut script, mut timing) = (head.into_bytes(), String::new());
        let (mut now, mut offset, mut times) = (0, 0, Vec::new());
        for (delay, bytes) in &pieces {
            now += delay;
            let (bytes, line) = writer.event(micros(now), &output(offset, bytes)).unwrap();
            offset += bytes.len() as u64;
            script.extend_from_slice(&bytes);
            timing.push_str(&line);
            times.push(micros(now));
        }
        script.extend_from_slice(writer.finish(micros(now)).as_bytes());
        let imported = read_typescript(&script[..], timing.as_bytes(), &ImportLimits::default()).unwrap();
        let read: Vec<_> = imported.events.iter().map(|(at, _)| *at).collect();
        prop_assert_eq!(read, times);
        let all: Vec<u8> = pieces.into_iter().flat_map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(raw(&imported), all);
    }
}
