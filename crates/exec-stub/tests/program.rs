//! The program itself, outside any container: what it says, and what it leaves behind.
#![cfg(all(feature = "program", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

#[path = "program/waiting.rs"]
mod waiting;

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use longshore_exec_stub::{
    Decoder, Ending, FromStub, INPUT_WINDOW, OUTPUT_WINDOW, ToStub, VERSION,
};

const STUB: &str = env!("CARGO_BIN_EXE_longshore-exec-stub");

struct Session {
    child: Child,
    input: Option<ChildStdin>,
    decoder: Decoder<FromStub>,
    output: Vec<u8>,
}

impl Session {
    fn start(options: &[&str], script: &str) -> Self {
        let mut command = Command::new(STUB);
        command.arg("session").args(options);
        Self::spawn(command.args(["--", "sh", "-c", script]))
    }

    /// It has said that the command runs.
    fn spawn(command: &mut Command) -> Self {
        let mut session = Self::call(command);
        assert_eq!(session.next(), Some(FromStub::Started));
        session
    }

    /// It may say all that it has to say.
    fn call(command: &mut Command) -> Self {
        let mut session = Self::greeted(command);
        let mut room = Vec::new();
        ToStub::Room(u32::MAX).write(&mut room);
        // Who failed to start has left.
        let _ = session.input.as_mut().unwrap().write_all(&room);
        session
    }

    fn greeted(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut session = Self {
            input: child.stdin.take(),
            child,
            decoder: Decoder::new(),
            output: Vec::new(),
        };
        assert_eq!(session.next(), Some(FromStub::Hello(VERSION)));
        session
    }

    fn say(&mut self, message: &ToStub) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        self.input.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    /// The next message; `None` at the end.
    fn next(&mut self) -> Option<FromStub> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            match self
                .child
                .stdout
                .as_mut()
                .unwrap()
                .read(&mut buffer)
                .unwrap()
            {
                0 => return None,
                count => self.decoder.push(&buffer[..count]),
            }
        }
    }

    /// Reads until the output holds this.
    fn read_until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.output).contains(text) {
            match self.next() {
                Some(FromStub::Output(bytes) | FromStub::Errors(bytes)) => {
                    self.output.extend(bytes);
                }
                Some(FromStub::Taken(_)) => {}
                other => panic!("{other:?} instead of {text:?} behind {:?}", self.output),
            }
        }
    }

    /// How the command ended, how many processes were left, and the program's own code.
    fn end(mut self) -> (Ending, u32, Option<i32>) {
        let (mut ending, mut left) = (None, None);
        while let Some(message) = self.next() {
            match message {
                FromStub::Exit(told) => ending = Some(told),
                FromStub::Cleaned { left: count, .. } => left = Some(count),
                FromStub::Output(bytes) | FromStub::Errors(bytes) => self.output.extend(bytes),
                _ => {}
            }
        }
        let code = self.child.wait().unwrap().code();
        (ending.unwrap(), left.unwrap(), code)
    }
}

/// How long something sleeps, so that it is found: no two runs have the same.
fn number(place: u8) -> String {
    format!("64{:07}{place}", std::process::id())
}

/// How many processes have this word in their command line.
fn processes(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == word.as_bytes())
        })
        .count()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that gets away from a shell: 7 sleepers.
fn tree(number: &str) -> String {
    format!(
        "sleep {number} & setsid sleep {number} & nohup sleep {number} >/dev/null 2>&1 &
         (trap '' HUP TERM; sleep {number}) & ((trap '' HUP TERM; setsid sleep {number}) &)
         ((env -i setsid sleep {number} &) &)
         echo ready; sleep {number}"
    )
}

#[test]
fn a_code_and_a_signal_are_told_and_mirrored() {
    let (ending, left, code) = Session::start(&["--no-input"], "exit 7").end();
    assert_eq!((ending, left, code), (Ending::Code(7), 0, Some(7)));
    for options in [&["--tty", "80x24"][..], &[]] {
        let (ending, _, code) = Session::start(options, "kill -TERM $$").end();
        assert_eq!((ending, code), (Ending::Signal(15), Some(143)));
    }
}

#[test]
fn a_program_that_is_not_there_is_127() {
    let mut session = Session::call(Command::new(STUB).args(["session", "--", "/no/such"]));
    let Some(FromStub::Failed { code, reason }) = session.next() else {
        panic!("a failure");
    };
    assert_eq!(code, 127);
    assert!(reason.contains("/no/such"), "{reason}");
    assert_eq!(
        session.next(),
        Some(FromStub::Cleaned { killed: 0, left: 0 })
    );
    assert_eq!(session.child.wait().unwrap().code(), Some(127));
}

/// A program between two sessions can't say so more than by the end of the stream.
#[test]
fn the_end_of_the_stream_ends_the_whole_tree() {
    for (options, place) in [(&["--tty", "80x24"][..], 1), (&[], 2)] {
        let number = number(place);
        let mut session = Session::start(options, &tree(&number));
        session.read_until("ready");
        until("the tree", || processes(&number) >= 7);
        drop(session.input.take());
        session.child.wait().unwrap();
        assert_eq!(processes(&number), 0);
    }
}

#[test]
fn a_command_that_ends_by_itself_takes_its_background_along_unless_it_may_stay() {
    let script = |number: &str| format!("setsid sleep {number} & sleep 0.2; exit 4");
    let (ending, left, _) = Session::start(&[], &script(&number(3))).end();
    assert_eq!(
        (ending, left, processes(&number(3))),
        (Ending::Code(4), 0, 0)
    );
    let mark = format!("LONGSHORE_EXEC_ID=kept-{}", std::process::id());
    let (name, value) = mark.split_once('=').unwrap();
    let mut kept = Command::new(STUB);
    kept.args(["session", "--keep", "--", "sh", "-c", &script(&number(4))]);
    let (ending, ..) = Session::spawn(kept.env(name, value)).end();
    assert_eq!((ending, processes(&number(4))), (Ending::Code(4), 1));
    let swept = Command::new(STUB).arg("sweep").arg(&mark).status().unwrap();
    assert!(swept.success() && processes(&number(4)) == 0);
}

/// An interactive bash passes a hang-up on to what is in its background. What is to stay is not ended
/// that way, whether a job is in the foreground that minds no signal, or the shell itself.
#[test]
fn a_shell_that_may_leave_its_background_does() {
    for (place, has_job) in [(6, true), (7, false)] {
        let mark = format!("LONGSHORE_EXEC_ID=jobs-{place}-{}", std::process::id());
        let (name, value) = mark.split_once('=').unwrap();
        let mut command = Command::new(STUB);
        command
            .args(["session", "--keep", "--tty", "80x24", "--"])
            .args(["bash", "--norc", "--noprofile", "-i"])
            .env(name, value);
        let mut session = Session::spawn(&mut command);
        let [behind, before] = [format!("1{}", number(place)), format!("2{}", number(place))];
        let job = format!("sh -c 'trap \"\" HUP TERM; sleep {before}; sleep {before}'\n");
        let job = if has_job {
            job
        } else {
            "echo re''ady\n".to_owned()
        };
        session.say(&ToStub::Input(
            format!("sleep {behind} &\n{job}").into_bytes(),
        ));
        until("the background", || processes(&behind) == 1);
        match has_job {
            true => until("the foreground", || processes(&before) == 1),
            false => session.read_until("ready"),
        }
        session.say(&ToStub::End);
        let (_, left, _) = session.end();
        let there = (processes(&behind), processes(&before), left);
        let swept = Command::new(STUB).arg("sweep").arg(&mark).status().unwrap();
        assert_eq!(there, (1, 0, 0), "with a job: {has_job}");
        assert!(swept.success() && processes(&behind) == 0);
    }
}

#[test]
fn told_to_end_it_says_how_that_went() {
    let mut session = Session::start(&[], &tree(&number(5)));
    session.read_until("ready");
    session.say(&ToStub::End);
    let (ending, left, _) = session.end();
    assert!(matches!(ending, Ending::Signal(_)), "{ending:?}");
    assert_eq!((left, processes(&number(5))), (0, 0));
}

/// Whoever saves something on a hang-up gets to do so, and its own code is told; who ignores signals
/// is not waited for, and not spared.
#[test]
fn who_acts_on_a_hang_up_has_time_for_it() {
    let number = number(9);
    let file = std::env::temp_dir().join(format!("longshore-stub-{number}"));
    let script = format!(
        "(trap '' HUP TERM; sleep {number}) &
         trap 'sleep 0.02; echo saved > {}; exit 9' HUP; echo ready; while :; do sleep 0.01; done",
        file.display()
    );
    let mut session = Session::start(&[], &script);
    session.read_until("ready");
    session.say(&ToStub::End);
    let (ending, left, _) = session.end();
    let saved = std::fs::read_to_string(&file);
    let _ = std::fs::remove_file(&file);
    assert_eq!(saved.unwrap(), "saved\n");
    assert_eq!((ending, left, processes(&number)), (Ending::Code(9), 0, 0));
}

#[test]
fn a_signal_arrives_behind_input_that_nobody_reads() {
    let script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.1; done";
    let mut session = Session::start(&[], script);
    session.read_until("ready");
    session.say(&ToStub::Input(vec![b'x'; INPUT_WINDOW]));
    session.say(&ToStub::Signal(10));
    session.read_until("caught");
    assert_eq!(session.end().0, Ending::Code(9));
}

#[test]
fn output_waits_for_room_and_nothing_else_does() {
    let mut session = Session::greeted(Command::new(STUB).args(["session", "--", "yes"]));
    assert_eq!(session.next(), Some(FromStub::Started));
    let mut came = 0;
    while came < OUTPUT_WINDOW {
        let Some(FromStub::Output(bytes)) = session.next() else {
            panic!("no output behind {came} bytes");
        };
        came += bytes.len();
    }
    assert_eq!(came, OUTPUT_WINDOW);
    session.say(&ToStub::Input(b"x".to_vec()));
    assert_eq!(session.next(), Some(FromStub::Taken(1)));
    session.say(&ToStub::Signal(9));
    session.say(&ToStub::Room(5));
    assert_eq!(session.next(), Some(FromStub::Output(b"y\ny\ny".to_vec())));
    session.say(&ToStub::Room(u32::MAX));
    assert_eq!(session.end().0, Ending::Signal(9));
}

#[test]
fn input_beyond_the_window_ends_the_session() {
    let mut session = Session::start(&[], &format!("echo ready; sleep {}", number(6)));
    session.read_until("ready");
    // More than the pipe to the command and the window hold together. Beats keep it alive, so that
    // it does not end for want of them.
    let mut bytes = Vec::new();
    for _ in 0..4 {
        ToStub::Input(vec![b'x'; INPUT_WINDOW]).write(&mut bytes);
    }
    let mut input = session.input.take().unwrap();
    let _ = input.write_all(&bytes);
    let mut beat = Vec::new();
    ToStub::Beat.write(&mut beat);
    until("the end", || {
        let gone = input.write_all(&beat).is_err();
        gone || processes(&number(6)) == 0
    });
    session.child.wait().unwrap();
    assert_eq!(processes(&number(6)), 0);
}

/// An ignored signal stays ignored across an exec (POSIX), and would be the command's.
#[test]
fn what_the_container_ignores_the_command_does_not() {
    let script = "trap '' HUP PIPE TERM; exec \"$0\" session -- sh -c 'kill -HUP $$; exit 0'";
    let session = Session::spawn(Command::new("sh").args(["-c", script, STUB]));
    assert_eq!(session.end().0, Ending::Signal(1));
}

#[test]
fn a_size_and_the_end_key_reach_the_terminal() {
    let script = "stty size; read -r _; stty size; cat; echo over";
    let mut session = Session::start(&["--tty", "100x30"], script);
    session.read_until("30 100");
    session.say(&ToStub::Resize {
        columns: 90,
        rows: 20,
    });
    session.say(&ToStub::Input(b"\n".to_vec()));
    session.read_until("20 90");
    session.say(&ToStub::InputEnd);
    session.read_until("over");
    assert_eq!(session.end().0, Ending::Code(0));
}

#[test]
fn a_sweep_ends_what_carries_the_mark_and_nothing_else() {
    let mark = format!("LONGSHORE_EXEC_ID=stub-test-{}", std::process::id());
    let spawn = |number: &str, mark: Option<&str>| {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("setsid sleep {number} & exec sleep {number}"),
        ]);
        if let Some((name, value)) = mark.and_then(|mark| mark.split_once('=')) {
            command.env(name, value);
        }
        command.spawn().unwrap()
    };
    let mut marked = spawn(&number(7), Some(&mark));
    let mut other = spawn(&number(8), Some(&format!("{mark}0")));
    until("four sleepers", || {
        processes(&number(7)) == 2 && processes(&number(8)) == 2
    });
    let swept = Command::new(STUB).arg("sweep").arg(&mark).output().unwrap();
    assert!(swept.status.success());
    assert_eq!(String::from_utf8_lossy(&swept.stdout), "killed 2 left 0\n");
    marked.wait().unwrap();
    assert_eq!((processes(&number(7)), processes(&number(8))), (0, 2));
    let swept = Command::new(STUB)
        .arg("sweep")
        .arg(format!("{mark}0"))
        .output()
        .unwrap();
    assert!(swept.status.success());
    other.wait().unwrap();
}

/// The helper for images without a shell, as a pipe.
#[track_caller]
fn obeys(lines: &str) -> (String, String, Option<i32>) {
    let mut child = Command::new(STUB)
        .arg("shell")
        .env("HOME", "/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

#[test]
fn the_helper_runs_programs_with_their_arguments_and_tells_codes() {
    let lines = "/bin/sh -c 'echo \"$1-$0\"; exit 3' x 'a b'\necho $?\n";
    assert_eq!(obeys(lines), ("a b-x\n3\n".into(), String::new(), Some(0)));
    // The last one's code is its own; a signal's is as shells tell it.
    assert_eq!(obeys("sh -c 'exit 7'").2, Some(7));
    assert_eq!(obeys("sh -c 'kill -9 $$'").2, Some(137));
    let (_, said, code) = obeys("/no/such\n");
    assert!(
        said.contains("/no/such: there is no such program"),
        "{said}"
    );
    assert_eq!(code, Some(127));
    assert_eq!(obeys("/etc/passwd\n").2, Some(126));
    // What a program reads is behind its line, and the rest is the helper's again.
    let (out, ..) = obeys("sh -c 'read a; echo got $a'\nfirst\necho second\n");
    assert_eq!(out, "got first\nsecond\n");
    // Nothing that it makes for itself is the program's: no signal that it ignores.
    let (.., code) = obeys("sh -c 'kill -INT $$; exit 0'");
    assert_eq!(code, Some(130));
}

#[test]
fn the_helper_knows_what_such_images_lack() {
    let folder = std::env::temp_dir().join(format!("longshore-helper-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    std::fs::write(folder.join("b"), "bee\n").unwrap();
    std::fs::write(folder.join("a\u{1b}[2J"), "").unwrap();
    std::fs::write(folder.join(".hidden"), "").unwrap();
    let lines = format!(
        "cd {}\npwd\nls\nls -a\nls -l b\ncat b\nX='1 2'\nexport Y=3\nsh -c 'echo $X$Y'\nunset X\n\
         sh -c 'echo $X$Y'\ncd sub\necho $PWD\ncat nothing\necho $?\nexit 9\necho not here\n",
        folder.display()
    );
    let (out, said, code) = obeys(&lines);
    let shown = folder.display();
    let _ = std::fs::remove_dir_all(&folder);
    let lines: Vec<_> = out.lines().collect();
    let own = format!("{shown}");
    let sub = format!("{shown}/sub");
    let detail = lines[8];
    assert!(
        detail.starts_with("-rw") && detail.ends_with(" 4 b"),
        "{detail}"
    );
    assert_eq!(
        lines[..8],
        [
            &own,
            "a\u{1b}[2J",
            "b",
            "sub",
            ".hidden",
            "a\u{1b}[2J",
            "b",
            "sub"
        ]
    );
    assert_eq!(lines[9..], ["bee", "1 23", "3", &sub, "1"]);
    assert!(said.contains("cat: nothing: "), "{said}");
    assert_eq!(code, Some(9));
}

#[test]
fn what_the_helper_can_not_do_it_refuses_by_name() {
    for (line, word) in [
        ("echo a | cat", "|"),
        ("echo a > /tmp/x", ">"),
        ("ls *", "*"),
        ("echo 'a", "'"),
        ("exit many", "from 0 to 255"),
        ("ls -z", "-a and -l"),
        ("export 1", "NAME=value"),
        ("A=1 ls", "line of its own"),
        ("cd a b", "one folder"),
    ] {
        let (out, said, code) = obeys(line);
        assert_eq!((out.as_str(), code), ("", Some(2)), "{line}");
        assert!(said.contains(word), "{line}: {said}");
    }
    let (_, said, code) = obeys(&"x".repeat(100_000));
    assert!(said.contains("too long"), "{said}");
    assert_eq!(code, Some(2));
}

/// On a terminal it prompts; an interrupt ends the program and not the helper, and nothing is stopped
/// for good.
#[test]
fn the_helper_on_a_terminal_outlives_its_keys() {
    let mut command = Command::new(STUB);
    command.args(["session", "--tty", "200x24", "--", STUB, "shell"]);
    let mut session = Session::spawn(command.current_dir("/"));
    session.read_until("try help\r\n");
    session.read_until("/ ");
    let mut type_in = |keys: &str| session.say(&ToStub::Input(keys.as_bytes().to_vec()));
    type_in("echo typ\x03");
    type_in("sh -c 'echo runs; exec sleep 1000'\r");
    session.read_until("runs\r\n");
    session.say(&ToStub::Input(b"\x1a\x03".to_vec()));
    session.say(&ToStub::Input(b"echo code=$?\r".to_vec()));
    session.read_until("code=130");
    assert!(!String::from_utf8_lossy(&session.output).contains("\ntyp"));
    session.say(&ToStub::Input(b"exit 4\r".to_vec()));
    assert_eq!(session.end().0, Ending::Code(4));
}

/// The helper on a terminal, which has said its first word.
fn on_terminal(folder: &std::path::Path) -> Session {
    let mut command = Command::new(STUB);
    command.args(["session", "--tty", "200x24", "--", STUB, "shell"]);
    let mut session = Session::spawn(command.current_dir(folder));
    session.read_until(&format!("try help\r\n{} ", prompt(folder)));
    session
}

/// What its prompt begins with: what is typed before stands elsewhere.
fn prompt(folder: &std::path::Path) -> String {
    folder.canonicalize().unwrap().display().to_string()
}

/// What is built in and waits is interrupted like a program, and the helper goes on: for its input, for
/// a pipe that nobody writes to, for a device that says nothing.
#[test]
fn an_interrupt_ends_what_is_built_in_and_waits() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("mkfifo")
        .arg(folder.path().join("pipe"))
        .status();
    assert!(made.unwrap().success());
    std::fs::write(folder.path().join("word"), "at work\n").unwrap();
    let mut session = on_terminal(folder.path());
    for (round, line) in ["cat", "cat word pipe nothing", "cat word /dev/tty"]
        .iter()
        .enumerate()
    {
        session.say(&ToStub::Input(format!("{line}\r").into_bytes()));
        session.read_until(&format!("{line}\r\n"));
        // What is typed at the first comes back.
        if *line == "cat" {
            session.say(&ToStub::Input(b"at work\r".to_vec()));
            session.read_until("at work\r\nat work\r\n");
        } else {
            session.read_until(&format!("{line}\r\nat work\r\n"));
        }
        session.say(&ToStub::Input(b"\x03".to_vec()));
        session.say(&ToStub::Input(
            format!("echo round {round} code $?\r").into_bytes(),
        ));
        session.read_until(&format!(
            "round {round} code 130\r\n{} ",
            prompt(folder.path())
        ));
    }
    assert!(!String::from_utf8_lossy(&session.output).contains("cat: nothing"));
    // The next is not hit by it.
    session.say(&ToStub::Input(b"cat word\r".to_vec()));
    session.say(&ToStub::Input(b"echo then $?\rexit 4\r".to_vec()));
    session.read_until("then 0\r\n");
    assert_eq!(session.end().0, Ending::Code(4));
}

#[test]
fn an_interrupt_ends_a_cat_that_has_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = on_terminal(folder.path());
    session.say(&ToStub::Input(b"cat /dev/zero\r".to_vec()));
    session.read_until(&"\0".repeat(100_000));
    session.say(&ToStub::Input(b"\x03".to_vec()));
    session.say(&ToStub::Input(b"echo code $?\r".to_vec()));
    session.read_until("code 130\r\n");
    session.say(&ToStub::Input(b"exit 4\r".to_vec()));
    assert_eq!(session.end().0, Ending::Code(4));
}
