//! A stub that is there before its session.

use longshore_exec_stub::{Opening, SILENCE};

use super::*;

/// It has said that it waits.
fn waiting(command: &mut Command) -> Session {
    let mut stub = Session::greeted(command.arg("wait"));
    assert_eq!(stub.next(), Some(FromStub::Waiting));
    stub
}

fn opening(arguments: &[&str]) -> Opening {
    Opening {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..Opening::default()
    }
}

/// Tells it what to become, and hears that the command runs.
fn open(stub: &mut Session, opening: Opening) {
    stub.say(&ToStub::Open(opening));
    assert_eq!(stub.next(), Some(FromStub::Hello(VERSION)));
    assert_eq!(stub.next(), Some(FromStub::Started));
}

/// What a command sees of itself.
const LOOK: &str = "pwd; env | sort; ulimit -a; umask; id; grep -E '^(Sig(Blk|Ign|Cgt)|NoNewPrivs|\
                    Groups)' /proc/self/status; ls /proc/self/fd; stty size 2>&1; echo over";

fn output_of(mut session: Session) -> String {
    session.read_until("over");
    let said = String::from_utf8(session.output.clone()).unwrap();
    assert_eq!(session.end().0, Ending::Code(0));
    said
}

/// As if it had been started so at first.
#[test]
fn the_session_is_the_same_as_one_that_did_not_wait() {
    for options in [&["--tty", "100x30"][..], &[]] {
        let words = [&["session"], options, &["--", "sh", "-c", LOOK]].concat();
        let started = |command: &mut Command| {
            let ignoring = "trap '' HUP PIPE; exec \"$0\" \"$@\"";
            command.args(["-c", ignoring, STUB]);
            command.env("KEPT", "1").env("SET", "before");
            command.current_dir("/usr");
        };
        let mut cold = Command::new("sh");
        started(&mut cold);
        cold.args(&words);
        cold.env("SET", "a=b c").env("NEW", "ä");
        cold.current_dir("/etc").env("PWD", "/etc");
        let cold = output_of(Session::spawn(&mut cold));
        let mut warm = Command::new("sh");
        started(&mut warm);
        let mut stub = waiting(&mut warm);
        let mut opening = opening(&words);
        opening.directory = "/etc".to_owned();
        opening.environment = ["SET=a=b c", "NEW=ä", "PWD=/etc"]
            .map(str::to_owned)
            .to_vec();
        open(&mut stub, opening);
        let warm = output_of(stub);
        assert_eq!(warm, cold);
        assert!(
            cold.contains("SET=a=b c") && cold.contains("KEPT=1"),
            "{cold}"
        );
        assert!(cold.starts_with("/etc"), "{cold}");
    }
}

#[test]
fn without_a_folder_it_begins_where_the_stub_was_started() {
    let mut command = Command::new(STUB);
    let mut stub = waiting(command.current_dir("/usr"));
    // And holds up nobody who wants to unmount that meanwhile.
    let link = format!("/proc/{}/cwd", stub.child.id());
    assert_eq!(std::fs::read_link(link).unwrap().to_str(), Some("/"));
    open(
        &mut stub,
        opening(&["session", "--", "sh", "-c", "pwd -P; echo over"]),
    );
    stub.read_until("/usr\nover");
}

#[test]
fn each_beat_is_answered_and_the_end_ends_it() {
    let mut stub = waiting(&mut Command::new(STUB));
    for _ in 0..3 {
        stub.say(&ToStub::Beat);
        assert_eq!(stub.next(), Some(FromStub::Waiting));
    }
    stub.say(&ToStub::End);
    assert_eq!(stub.next(), None);
    assert_eq!(stub.child.wait().unwrap().code(), Some(0));
    let mut stub = waiting(&mut Command::new(STUB));
    drop(stub.input.take());
    assert_eq!(stub.next(), None);
    // What is meant for a session it does not understand.
    let mut stub = waiting(&mut Command::new(STUB));
    stub.say(&ToStub::Signal(9));
    assert_eq!(stub.next(), None);
    assert_eq!(stub.child.wait().unwrap().code(), Some(125));
}

#[test]
fn silence_ends_it() {
    let mut stub = waiting(&mut Command::new(STUB));
    assert_eq!(stub.next(), None);
    assert!(stub.input.is_some());
}

/// A container that is shut down is not to wait for who waits for nobody.
#[test]
fn who_is_asked_to_end_does() {
    for name in ["TERM", "INT", "HUP"] {
        let mut stub = waiting(&mut Command::new(STUB));
        signal(&stub, name);
        let mut beat = Vec::new();
        ToStub::Beat.write(&mut beat);
        // With beats: silence would end it too.
        until(name, || {
            let _ = stub.input.as_mut().unwrap().write_all(&beat);
            stub.next().is_none()
        });
        assert_eq!(stub.child.wait().unwrap().code(), Some(0));
    }
}

/// What it is told while it stands still, as in a container that is frozen, may be given up by then.
#[test]
fn what_was_given_up_while_it_stood_still_never_begins() {
    let mark = format!("{}/frozen-{}", std::env::temp_dir().display(), number(0));
    for is_silent in [false, true] {
        let mut stub = waiting(&mut Command::new(STUB));
        signal(&stub, "STOP");
        let touch = format!("touch {mark}");
        let opening = opening(&["session", "--", "sh", "-c", &touch]);
        stub.say(&ToStub::Open(opening));
        if is_silent {
            std::thread::sleep(SILENCE);
        } else {
            drop(stub.input.take());
        }
        signal(&stub, "CONT");
        assert_eq!(stub.next(), None, "{is_silent}");
        assert!(!std::path::Path::new(&mark).exists());
    }
}

fn signal(stub: &Session, name: &str) {
    let pid = stub.child.id().to_string();
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid])
        .status();
    assert!(sent.unwrap().success());
}

/// A login tries several shells.
#[test]
fn a_program_that_is_not_there_leaves_it_waiting() {
    let mut stub = waiting(&mut Command::new(STUB));
    for program in ["/no/such/shell", "no-such-shell"] {
        stub.say(&ToStub::Open(opening(&["session", "--", program])));
        let Some(FromStub::Failed { code, reason }) = stub.next() else {
            panic!("a failure");
        };
        let mut cold = Session::call(Command::new(STUB).args(["session", "--", program]));
        assert_eq!(cold.next(), Some(FromStub::Failed { code, reason }));
    }
    stub.say(&ToStub::Beat);
    assert_eq!(stub.next(), Some(FromStub::Waiting));
    let mut found = opening(&["session", "--", "sh", "-c", "exit 3"]);
    // Where programs are is the session's to say.
    found.environment = vec!["PATH=/nowhere".to_owned()];
    stub.say(&ToStub::Open(found.clone()));
    assert!(matches!(
        stub.next(),
        Some(FromStub::Failed { code: 127, .. })
    ));
    found.environment = vec!["PATH=/nowhere:/bin:/usr/bin".to_owned()];
    open(&mut stub, found);
    assert_eq!(stub.end().0, Ending::Code(3));
}

#[test]
fn what_it_can_not_be_it_declines_and_ends() {
    let mark = format!("{}/declined-{}", std::env::temp_dir().display(), number(0));
    let touch = format!("touch {mark}");
    let fine = opening(&["session", "--", "sh", "-c", &touch]);
    let mut elsewhere = fine.clone();
    elsewhere.directory = "/no/such/folder".to_owned();
    let mut file = fine.clone();
    file.directory = "/etc/passwd".to_owned();
    let mut unset = fine;
    unset.environment = vec!["PATH".to_owned()];
    for (opening, word) in [
        (elsewhere, "/no/such/folder"),
        (file, "passwd"),
        (unset, "PATH"),
    ] {
        let mut stub = waiting(&mut Command::new(STUB));
        stub.say(&ToStub::Open(opening));
        let Some(FromStub::Declined(why)) = stub.next() else {
            panic!("it declines {word}");
        };
        assert!(why.contains(word), "{why}");
        assert_eq!(stub.next(), None);
    }
    assert!(!std::path::Path::new(&mark).exists());
}

/// Its mark is its own from then on, and so is its whole tree.
#[test]
fn what_it_became_leaves_nothing_behind_and_is_found_by_its_new_mark() {
    let number = number(10);
    let marks = ["before", "now"].map(|word| format!("LONGSHORE_EXEC_ID={word}-{number}"));
    let mut command = Command::new(STUB);
    let (name, value) = marks[0].split_once('=').unwrap();
    let mut stub = waiting(command.env(name, value));
    let mut opening = opening(&["session", "--", "sh", "-c", &tree(&number)]);
    opening.environment = vec![marks[1].clone()];
    open(&mut stub, opening);
    stub.say(&ToStub::Room(u32::MAX));
    stub.read_until("ready");
    until("the tree", || processes(&number) >= 7);
    let environment = std::fs::read(format!("/proc/{}/environ", stub.child.id())).unwrap();
    let carries = |mark: &str| {
        let mut entries = environment.split(|byte| *byte == 0);
        entries.any(|entry| entry == mark.as_bytes())
    };
    assert!(carries(&marks[1]) && !carries(&marks[0]));
    drop(stub.input.take());
    stub.child.wait().unwrap();
    assert_eq!(processes(&number), 0);
}
