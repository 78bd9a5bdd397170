//! Several people at one session by the real program, each on a terminal of their own; sessions that go on,
//! seen and changed from outside; and sessions shown again. The gateway is in this process.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "watch/people.rs"]
mod people;
#[expect(dead_code, reason = "the test beside it uses all of it")]
#[path = "enter/relay.rs"]
mod relay;
#[expect(dead_code, reason = "the test beside it uses all of it")]
#[path = "enter/server.rs"]
mod server;
#[expect(dead_code, reason = "the test beside it uses all of it")]
#[path = "enter/terminal.rs"]
mod terminal;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use longshore::exec::session::SessionOptions;
use people::People;
use relay::Relay;
use terminal::{Terminal, until};

fn people() -> People {
    People::start(SessionOptions::default())
}

/// `ann`, whose session it is.
fn entered(people: &People) -> Terminal {
    let ann = Terminal::open(people.platform("ann", &["enter", "web", "keys"]));
    ann.expect("ready");
    ann.wait_until_raw();
    ann
}

fn watching(people: &People, name: &str, flags: &[&str]) -> Terminal {
    let session = people.session();
    let mut line = vec!["watch"];
    line.extend(flags);
    line.push(&session);
    Terminal::open(people.platform(name, &line))
}

#[track_caller]
fn run(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code().unwrap(), text(&stdout), text(&stderr))
}

#[test]
fn the_keyboard_is_lent_and_taken_back() {
    let people = people();
    let ann = entered(&people);
    ann.type_in("a");
    ann.expect("[a]");
    let bob = watching(&people, "bob", &["--approve"]);
    bob.expect("you may be lent the keyboard; ~. at the beginning of a line leaves");
    bob.expect("[a]");
    bob.wait_until_raw();
    ann.expect("platform: bob is here; ~G1 and Enter lends them the keyboard");
    // Nobody takes it.
    bob.type_in("no");
    bob.expect("platform: read-only: ask ann for the keyboard");
    bob.type_in("\r~T");
    bob.expect("platform: the right to write was not passed on");
    ann.type_in("\r~W");
    ann.expect("  0  ann, types; it is their session (you)");
    ann.expect("  1  bob, looks on");
    // To nobody, and to him.
    ann.type_in("~G9\r");
    ann.expect("platform: the right to write was not passed on");
    bob.resize(30, 100);
    ann.type_in("~G1\r");
    ann.expect("platform: bob has the keyboard; ~T takes it back");
    bob.expect("platform: you have the keyboard now; ~. leaves, and gives it back");
    bob.type_in("bs");
    bob.expect("[b]");
    bob.expect("[30 100]");
    ann.expect("[b]");
    ann.type_in("x");
    ann.expect("platform: read-only: bob has the keyboard; ~T takes it back");
    ann.type_in("\r~T");
    ann.expect("platform: you type again");
    bob.expect("platform: ann has the keyboard");
    bob.type_in("y");
    bob.expect("platform: read-only: ask ann for the keyboard");
    ann.type_in("cs");
    ann.expect("[c]");
    ann.expect("[24 80]");
    bob.expect("[24 80]");
    assert!(!ann.seen().contains("[x]") && !bob.seen().contains("[n]"));
    assert!(!bob.seen().contains("[y]"), "{}", bob.seen());
    // Whoever leaves with it gives it back, and ends nothing.
    ann.type_in("\r~G1\r");
    bob.expect("you have the keyboard now");
    bob.type_in("\r~.");
    assert_eq!(bob.exit_code(), 0);
    assert!(!bob.is_raw());
    assert!(bob.seen().contains("which goes on"), "{}", bob.seen());
    // In either order.
    let is_told = || {
        let seen = ann.seen();
        seen.contains("platform: bob has left") && seen.matches("you type again").count() == 2
    };
    until(is_told, || ann.seen());
    ann.type_in("d");
    ann.expect("[d]");
    ann.type_in("q");
    assert_eq!(ann.exit_code(), 7);
}

#[test]
fn who_only_looks_sees_all_and_changes_nothing() {
    let people = people();
    let ann = entered(&people);
    let eve = watching(&people, "eve", &[]);
    eve.expect("read-only; Ctrl-C leaves, or ~. and Enter; ~W and Enter says who is here");
    eve.expect("ready");
    ann.expect("platform: eve looks on");
    ann.type_in("a");
    eve.expect("[a]");
    assert!(!eve.is_raw());
    eve.type_in("hello\r");
    eve.expect(
        "platform: read-only: you look on; 'platform watch --approve' is for those who may type",
    );
    eve.type_in("~W\r");
    eve.expect("0  ann, types; it is their session");
    eve.expect("eve, looks on, and may not type (you)");
    ann.type_in("\r~G1\r");
    ann.expect("platform: the right to write was not passed on");
    eve.type_in("\x03");
    assert_eq!(eve.exit_code(), 130);
    ann.expect("platform: eve has left");
    // Who may only look does not join as one who may type.
    let eve = watching(&people, "eve", &["--approve"]);
    assert_eq!(eve.exit_code(), 255);
    assert!(
        eve.seen().contains("you may not look on at"),
        "{}",
        eve.seen()
    );
    // The end is told, and is not the looker's exit code.
    let eve = watching(&people, "eve", &[]);
    ann.expect("platform: eve looks on");
    ann.type_in("q");
    assert_eq!(ann.exit_code(), 7);
    assert_eq!(eve.exit_code(), 0);
    assert!(eve.seen().contains("has ended: exited with 7") || eve.seen().contains("has ended:"));
    let (code, _, told) = run(people.platform("eve", &["watch", &"0".repeat(32)]));
    assert_eq!(code, 255, "{told}");
    assert!(told.contains("'platform sessions --live'"), "{told}");
}

#[test]
fn an_approver_lets_held_input_through() {
    let people = People::start(SessionOptions::default().with_moderation());
    let ann = entered(&people);
    // Beside what the program says, in no order.
    let waits = "input waits until somebody who may approve joins";
    until(
        || ann.seen().contains(waits),
        || format!("no notice: {:?}", ann.seen()),
    );
    ann.type_in("a");
    // Nobody approves their own.
    let again = watching(&people, "ann", &["--approve"]);
    ann.expect("platform: ann is here");
    assert!(!ann.seen().contains("[a]"));
    let bob = watching(&people, "bob", &["--approve"]);
    ann.expect("[a]");
    bob.expect("[a]");
    bob.wait_until_raw();
    bob.type_in("~.");
    assert_eq!(bob.exit_code(), 0);
    ann.expect("platform: input waits until somebody who may approve joins");
    drop(again);
}

#[test]
fn whoever_looks_on_comes_back_after_a_cut() {
    let people = people();
    let ann = entered(&people);
    let relay = Relay::to(people.socket("bob"));
    let session = people.session();
    let mut command = people.platform("bob", &["watch", "--approve", &session]);
    command.env(
        "DOCKER_HOST",
        format!("unix://{}", relay.socket().display()),
    );
    let bob = Terminal::open(command);
    bob.expect("ready");
    for key in ["a", "b", "c"] {
        ann.type_in(key);
        bob.expect(&format!("[{key}]"));
        relay.cut_when_connected();
        bob.expect("trying to come back; ~. leaves");
        bob.expect("platform: connected again, and nothing was lost");
    }
    ann.type_in("d");
    bob.expect("[d]");
    for text in ["ready", "[a]", "[b]", "[c]", "[d]"] {
        assert_eq!(
            bob.seen().matches(text).count(),
            1,
            "{text}: {}",
            bob.seen()
        );
    }
}

#[test]
fn sessions_that_go_on_are_listed_signalled_and_ended() {
    let people = people();
    let ann = entered(&people);
    let session = people.session();
    let (code, listed, told) = run(people.platform("bob", &["sessions", "--live"]));
    assert_eq!((code, told.as_str()), (0, ""));
    let row = listed.lines().find(|line| line.contains(&session)).unwrap();
    assert!(
        row.contains("ann") && row.contains("live") && row.contains("keys"),
        "{row}"
    );
    let (_, json, _) = run(people.platform("bob", &["sessions", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json.as_array().unwrap().len(),
        1,
        "recorded, and live, and once: {json}"
    );
    let refused = |name: &str, line: &[&str], words: &str| {
        let (code, _, told) = run(people.platform(name, line));
        assert_eq!(code, 1, "{line:?}: {told}");
        assert!(told.contains(words), "{line:?}: {told}");
    };
    refused("eve", &["sessions", "--live"], "you may not do that");
    refused("eve", &["signal", &session, "TERM"], "you may not do that");
    refused("eve", &["end", &session], "you may not do that");
    refused(
        "bob",
        &["signal", &session, "NOSUCH"],
        "is no signal: expected a name such as TERM",
    );
    refused(
        "bob",
        &["signal", &"0".repeat(32), "TERM"],
        "does not go on here",
    );
    refused(
        "bob",
        &["signal", "zz", "TERM"],
        "no session goes on whose id begins with zz",
    );
    refused("bob", &["end", "a/b"], "is no session's id");
    // By the beginning of its id.
    let (code, _, told) = run(people.platform("bob", &["signal", &session[..6], "HUP"]));
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(&format!("SIGHUP is on its way to session {session}")),
        "{told}"
    );
    assert_eq!(ann.exit_code(), 129);

    let ann = entered(&people);
    let session = people
        .hub
        .sessions()
        .into_iter()
        .find(|it| it.end.is_none());
    let session = session.unwrap().session.to_string();
    let line = ["end", "--why", "maintenance & more", &session[..8]];
    let (code, _, told) = run(people.platform("bob", &line));
    assert_eq!(code, 0, "{told}");
    ann.exit_code();
    let seen = ann.seen();
    assert!(
        seen.contains("ended by its operator (maintenance & more)"),
        "{seen}"
    );
    refused("bob", &["end", &session], "session");
}

#[test]
fn a_recorded_session_is_shown_again_and_the_terminal_put_back() {
    let people = people();
    let ann = Terminal::open(people.platform("ann", &["enter", "web", "film"]));
    ann.expect("first");
    ann.wait_until_raw();
    let session = people.session();
    std::thread::sleep(std::time::Duration::from_secs(2));
    ann.type_in("x");
    assert_eq!(ann.exit_code(), 0);
    // What it did to the terminal is undone behind it.
    let line = ["replay", "--max-idle", "0.1", "--speed", "10", &session];
    let bob = Terminal::open(people.platform("bob", &line));
    assert_eq!(bob.exit_code(), 0);
    let seen = bob.seen();
    let film = seen
        .find("\x1b[?1049h\x1b[?25l\x1b[31mfirst\r\n")
        .expect(&seen);
    let second = seen.find("second 日").expect(&seen);
    let main = seen.rfind("\x1b[?1049l").expect(&seen);
    assert!(
        film < second && second < main && seen.rfind("\x1b[?25h").unwrap() > main,
        "{seen:?}"
    );
    // In its own time it takes two seconds, and can be left before.
    let bob = Terminal::open(people.platform("bob", &["replay", "--speed", "0.05", &session]));
    bob.expect("first");
    bob.type_in("ls\r\x03");
    assert_eq!(bob.exit_code(), 130);
    let seen = bob.seen();
    assert!(!seen.contains("second") && !seen.contains("ls"), "{seen:?}");
    assert!(
        seen.contains("left the replay") && seen.contains("\x1b[?1049l"),
        "{seen:?}"
    );
    // Into a pipe nothing is added.
    let line = ["replay", "--speed", "1000", &session];
    let (code, shown, _) = run(people.platform("bob", &line));
    assert_eq!(code, 0);
    assert_eq!(shown, "\x1b[?1049h\x1b[?25l\x1b[31mfirst\r\nsecond 日\r\n");
    let refused = |name: &str, line: &[&str], code: i32, words: &str| {
        let (is, shown, told) = run(people.platform(name, line));
        assert_eq!((is, shown.as_str()), (code, ""), "{line:?}: {told}");
        assert!(told.contains(words), "{line:?}: {told}");
    };
    refused(
        "bob",
        &["replay", "nosuch"],
        1,
        "there is no record of session nosuch",
    );
    refused("bob", &["replay", "a b"], 1, "is no session's id");
    refused(
        "bob",
        &["replay", "--speed", "0", &session],
        2,
        "expected a number from 0.01",
    );
    refused(
        "bob",
        &["replay", "--max-idle", "x", &session],
        2,
        "expected a number",
    );
}

#[test]
fn a_record_becomes_a_file_for_players() {
    let people = people();
    let ann = Terminal::open(people.platform("ann", &["enter", "web", "film"]));
    ann.expect("first");
    ann.wait_until_raw();
    let session = people.session();
    ann.type_in("x");
    assert_eq!(ann.exit_code(), 0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.cast");
    let to = file.to_str().unwrap();
    let (code, shown, told) = run(people.platform("bob", &["replay", "--to", to, &session]));
    assert_eq!((code, shown.as_str()), (0, ""), "{told}");
    // A screen may show secrets.
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let cast = fs::read_to_string(&file).unwrap();
    let mut lines = cast.lines();
    let head: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(
        (&head["version"], &head["width"], &head["height"]),
        (&2.into(), &80.into(), &24.into())
    );
    let events: Vec<serde_json::Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let output: String = events
        .iter()
        .filter(|event| event[1] == "o")
        .map(|event| event[2].as_str().unwrap())
        .collect();
    assert_eq!(output, "\x1b[?1049h\x1b[?25l\x1b[31mfirst\r\nsecond 日\r\n");
    assert!(told.contains(&format!("{} events", events.len())), "{told}");
    // What is there is left alone, and nothing is left of what came to nothing.
    let (code, _, told) = run(people.platform("bob", &["replay", "--to", to, &session]));
    assert_eq!(code, 1);
    assert!(told.contains("is there already"), "{told}");
    let none = folder.path().join("none.cast");
    let line = ["replay", "--to", none.to_str().unwrap(), "nosuch"];
    let (code, _, told) = run(people.platform("bob", &line));
    assert_eq!(code, 1);
    assert!(
        told.contains("no record of session nosuch") && !none.exists(),
        "{told}"
    );
    let (code, shown, _) = run(people.platform("bob", &["replay", "--to", "-", &session]));
    assert_eq!((code, shown), (0, cast));
    // Leave to look at a session is leave to see its record, and no other is.
    until(
        || people.hub.sessions().iter().all(|it| it.end.is_some()),
        || "it goes on".to_owned(),
    );
    let (code, _, _) = run(people.platform("eve", &["replay", "--to", "-", &session]));
    assert_eq!(code, 0);
}
