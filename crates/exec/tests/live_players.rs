//! Records of sessions in the players of others. Needs `asciinema` (Debian's package of that name);
//! it is run, and no part of it is built in.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

#[path = "record/scene.rs"]
#[expect(dead_code, reason = "the other tests record more")]
mod scene;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use longshore_core::{TerminalSize, Timestamp};
use longshore_exec::{
    record::AsciicastWriter,
    session::{RecordEvent, RuleAction, RuleHit},
};
use scene::{about, ended, opened, output};

fn micros(after: u64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_123_456 + after)
}

/// Every kind of event, a character that two pieces share, and bytes that are no UTF-8.
fn recorded() -> String {
    let line = RecordEvent::Input(Bytes::from_static(b"ls\r"));
    let hit = RecordEvent::Hit(RuleHit::new("halt", RuleAction::Block));
    let events = [
        (0, opened("alice", "shop")),
        (1_000, output(0, b"$ ")),
        (2_000, output(2, b"gr\xc3")),
        (
            50_000,
            output(5, b"\xb6\xc3\x9fe \"\\\x1b[1m\xe6\xbc\xa2\r\n"),
        ),
        (51_000, line),
        (52_000, RecordEvent::InputHidden),
        (53_000, RecordEvent::Resize(TerminalSize::new(120, 40))),
        (54_000, hit),
        (60_000, output(21, b"\xff bye")),
        (70_000, RecordEvent::Full),
        (90_000, ended()),
    ];
    let (mut writer, mut text) = AsciicastWriter::new(&about("alice", "shop"), micros(0));
    for (at, event) in events {
        text.extend(writer.event(micros(at), &event));
    }
    text.extend(writer.finish());
    text
}

const SHOWN: &str = "$ größe \"\\\u{1b}[1m漢\r\n\u{fffd} bye";

/// What asciinema plays of a file, without a configuration and without a terminal, in a thousandth of
/// the time; and whether it took the file. `None` without asciinema.
fn asciinema(file: &Path) -> Option<Result<String, String>> {
    let home = file.parent().unwrap();
    let played = Command::new("asciinema")
        .args(["play", "--speed", "1000"])
        .arg(file)
        .env("HOME", home)
        .env("ASCIINEMA_CONFIG_HOME", home)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Some(match played.status.success() {
        true => Ok(text(played.stdout)),
        false => Err(text(played.stderr)),
    })
}

#[test]
fn asciinema_plays_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.cast");
    fs::write(&file, recorded()).unwrap();
    let Some(shown) = asciinema(&file) else {
        return println!("SKIPPED asciinema_plays_what_is_written: no asciinema on this machine");
    };
    let shown = shown.expect("it takes the file");
    // Behind the last piece it begins a line of its own.
    assert_eq!(shown.trim_end_matches(['\r', '\n']), SHOWN);
    // It does look at what it plays.
    let broken = recorded().replacen("\"version\":2", "\"version\":9", 1);
    fs::write(&file, broken).unwrap();
    asciinema(&file).unwrap().unwrap_err();
}
