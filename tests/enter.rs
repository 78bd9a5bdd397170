//! `platform enter` and `platform attach` as a person has them: the real program on a terminal of
//! its own, against the embedded platform, through its tunnels. No Docker, no root.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "enter/gateway.rs"]
mod gateway;
#[path = "enter/relay.rs"]
mod relay;
#[path = "enter/server.rs"]
mod server;
#[path = "enter/terminal.rs"]
mod terminal;

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    process::{Command, Output, Stdio},
    thread,
};

use gateway::{FLOWN, MAY_FLOW, READ, Scripted, calling};
use longshore::exec::session::{SessionOptions, WhileDetached};
use relay::Relay;
use rustix::process::Signal;
use server::Server;
use terminal::{Terminal, until};

/// Everything once, in one go: the platform takes longer to start than all the rest.
/// One thing that is shown, on a server that all share.
type Step = fn(&Server);

#[test]
fn a_person_enters() {
    let mut server = Server::start();
    let steps: [(&str, Step); 18] = [
        ("exit codes are passed on", exit_codes_are_passed_on),
        ("a pipe is byte-exact", a_pipe_is_byte_exact),
        ("a pipe has no terminal", a_pipe_has_no_terminal),
        ("refusals name the cause", refusals_name_the_cause),
        ("a shell is a terminal", a_shell_is_a_terminal),
        ("an escape leaves", an_escape_leaves),
        ("escapes can be changed", escapes_can_be_changed),
        ("signals restore the terminal", signals_restore_the_terminal),
        ("a lost connection is resumed", a_lost_connection_is_resumed),
        (
            "a lost connection can be left",
            a_lost_connection_can_be_left,
        ),
        (
            "attaching leaves the container alone",
            attaching_leaves_the_container_alone,
        ),
        (
            "attaching to lines is left by ^C or an escape",
            attaching_to_lines_is_left_by_interrupt_or_escape,
        ),
        (
            "looking on in the background goes on",
            looking_on_in_the_background_goes_on,
        ),
        (
            "looking on that is put into the background goes on",
            looking_on_that_is_put_into_the_background_goes_on,
        ),
        (
            "attaching to a terminal is left by an escape",
            attaching_to_a_terminal_is_left_by_an_escape,
        ),
        ("terminals can be asked for", terminals_can_be_asked_for),
        (
            "an end that was not seen is not told",
            an_end_that_was_not_seen_is_not_told,
        ),
        ("stock paths are there", stock_paths_are_there),
    ];
    for (name, step) in steps {
        println!("step {name}");
        step(&server);
    }
    println!("step a killed server restores the terminal");
    a_killed_server_restores_the_terminal(&mut server);
}

fn exit_codes_are_passed_on(server: &Server) {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
    ] {
        let output = piped(
            server,
            &["enter", server.container(), "--", "sh", "-c", script],
            b"",
        );
        assert_eq!(output.status.code(), Some(code), "{script}: {output:?}");
        assert!(output.stderr.is_empty(), "{script}: {output:?}");
        let line = ["enter", server.container(), "--", "sh", "-c", script];
        let terminal = Terminal::open(server.platform(&line));
        assert_eq!(terminal.exit_code(), code, "{script} on a terminal");
    }
    let output = piped(
        server,
        &["enter", server.container(), "--", "/no/such"],
        b"",
    );
    assert_eq!(output.status.code(), Some(126), "{output:?}");
    assert!(
        text(&output.stderr).contains("can't be run in"),
        "{output:?}"
    );
}

fn a_pipe_is_byte_exact(server: &Server) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let sent: Vec<u8> = (0..10_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    // Counted behind `cat`, so that what is counted is what went through twice.
    let output = piped(server, &["enter", server.container(), "--", "cat"], &sent);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        text(&output.stderr)
    );
    assert!(
        output.stdout == sent,
        "{} of {} bytes came back",
        output.stdout.len(),
        sent.len()
    );
}

fn a_pipe_has_no_terminal(server: &Server) {
    let container = server.container();
    let script = "test -t 0 || echo none; cat; echo oops >&2";
    let output = piped(
        server,
        &["enter", container, "--", "sh", "-c", script],
        b"~.\nx",
    );
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("none\n~.\nx".into(), "oops\n".into())
    );
    // Without a command it is a shell that reads commands.
    let output = piped(server, &["enter", container], b"echo $((6 * 7)); exit 5\n");
    assert_eq!(
        (text(&output.stdout), output.status.code()),
        ("42\n".into(), Some(5))
    );
}

fn refusals_name_the_cause(server: &Server) {
    let check = |arguments: &[&str], code: i32, words: &str| {
        let output = piped(server, arguments, b"");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        assert!(
            text(&output.stderr).contains(words),
            "{arguments:?}: {output:?}"
        );
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    };
    let container = server.container();
    check(&["enter", "no-such"], 255, "No such container: no-such");
    check(
        &["enter", "--node", "elsewhere", container],
        255,
        &format!("No such container: elsewhere/{container}: there is no node elsewhere"),
    );
    check(
        &["attach", "no-such"],
        255,
        "No such container: no-such; 'docker ps -a'",
    );
    server.run("ended", false, "echo last words");
    let waited = server.status(
        "POST /containers/ended/wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(waited, "200");
    for arguments in [&["attach", "ended"][..], &["attach", "--backlog", "ended"]] {
        let words =
            "ended is not running: `docker start ended` first; what it said before: `docker logs";
        check(arguments, 255, words);
    }
    check(&["cp", "no-such:/etc", "-"], 1, "'docker ps -a'");
    check(&["sessions", "--limit", "0"], 2, "--limit");
    check(
        &["attach", "--node", "elsewhere", container],
        255,
        "there is no node elsewhere",
    );
    check(
        &["enter", "--patience", "0s", container],
        255,
        "--patience should be a positive number",
    );
    check(
        &["enter", "-H", "unix:///no/such.sock", container],
        255,
        "is the platform running?",
    );
    check(
        &["enter", "--cleanup", "none", container],
        255,
        "cleanup none is not allowed, tree at the least; the control plane is told so with",
    );
    check(
        &["enter", "--cleanup", "all", container],
        2,
        "expected tree, foreground or none",
    );
    check(
        &["enter", "--escape", "ab", container],
        2,
        "expected one character",
    );
}

fn a_shell_is_a_terminal(server: &Server) {
    let terminal = Terminal::open(server.platform(&["enter", server.container()]));
    terminal.type_in("PS1=; stty size; echo T=$TERM\r");
    terminal.expect("24 80");
    terminal.expect("T=xterm-test");
    assert!(terminal.is_raw());
    terminal.resize(33, 111);
    terminal.type_in("stty size\r");
    terminal.repeat("stty size\r", "33 111");
    // ^C is the command's, not ours.
    let mark = "sleep 98762";
    terminal.type_in(&format!("{mark}\r"));
    server.wait_for_process(mark, true);
    terminal.type_in("\x03");
    server.wait_for_process(mark, false);
    terminal.type_in("echo code=$?\r");
    terminal.expect("code=130");
    terminal.type_in("exit 3\r");
    assert_eq!(terminal.exit_code(), 3);
    assert!(!terminal.is_raw(), "restored at the end");
}

fn an_escape_leaves(server: &Server) {
    let mark = "sleep 98761";
    let terminal =
        Terminal::open(server.platform(&["enter", server.container(), "--", "sh", "-c", mark]));
    terminal.wait_until_raw();
    server.wait_for_process(mark, true);
    terminal.type_in("~?");
    terminal.expect("Supported escape sequences");
    terminal.type_in("~.");
    assert_eq!(terminal.exit_code(), 255);
    assert!(!terminal.is_raw());
    // A busy engine may take longer to say so than anybody is kept.
    let seen = terminal.seen();
    assert!(seen.contains("; what ran for you there "), "{seen}");
    server.wait_for_process(mark, false);
}

fn escapes_can_be_changed(server: &Server) {
    let with = |key| {
        Terminal::open(server.platform(&[
            "enter",
            "--escape",
            key,
            server.container(),
            "--",
            "cat",
        ]))
    };
    let terminal = with("^]");
    terminal.wait_until_raw();
    terminal.type_in("~.\r");
    terminal.expect("~.\r\n~.");
    terminal.type_in("\x1d.");
    assert_eq!(terminal.exit_code(), 255);
    let terminal = with("none");
    terminal.wait_until_raw();
    terminal.type_in("~.\r");
    terminal.expect("~.\r\n~.");
    terminal.type_in("\x04");
    assert_eq!(terminal.exit_code(), 0);
}

fn signals_restore_the_terminal(server: &Server) {
    for (signal, code) in [
        (Signal::TERM, 143),
        (Signal::HUP, 129),
        (Signal::INT, 130),
        (Signal::QUIT, 131),
    ] {
        let terminal = Terminal::open(server.platform(&["enter", server.container(), "--", "cat"]));
        terminal.wait_until_raw();
        terminal.type_in("here\r");
        terminal.expect("here\r\nhere");
        terminal.send(signal);
        assert_eq!(terminal.exit_code(), code, "{signal:?}");
        assert!(!terminal.is_raw(), "{signal:?}");
    }
}

fn a_lost_connection_is_resumed(server: &Server) {
    let relay = Relay::to(server.socket());
    // On a terminal, in the middle of a line.
    let terminal =
        Terminal::open(relay.platform(server, &["enter", server.container(), "--", "cat"]));
    terminal.wait_until_raw();
    terminal.type_in("before\r");
    terminal.expect("before\r\nbefore");
    terminal.type_in("aft");
    terminal.expect("aft");
    relay.cut();
    terminal.expect("trying to come back; ~. leaves");
    terminal.type_in("er\r");
    terminal.expect("nothing was lost");
    terminal.expect("after");
    terminal.type_in("\x04");
    assert_eq!(terminal.exit_code(), 0);

    // In a pipe: the status is beside the stream, and the stream is whole.
    let line = [
        "enter",
        server.container(),
        "--",
        "sh",
        "-c",
        "seq 1 300000; read line; seq 1 9; exit 4",
    ];
    let mut client = relay.platform(server, &line);
    let mut child = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut typed = child.stdin.take().expect("it is piped");
    let mut first = [0; 2];
    let mut piped = child.stdout.take().expect("it is piped");
    // A session that never began is not come back to.
    piped.read_exact(&mut first).expect("the session has begun");
    let reader = thread::spawn(move || {
        let mut stdout = first.to_vec();
        piped.read_to_end(&mut stdout).expect("it can be read");
        let rest = child.wait_with_output().expect("it is waited for");
        Output { stdout, ..rest }
    });
    for _ in 0..3 {
        relay.cut_when_connected();
    }
    typed.write_all(b"go\n").expect("it reads");
    drop(typed);
    let output = reader.join().expect("the reader ends");
    let numbers = |last| {
        (1..=last)
            .map(|n: u32| format!("{n}\n"))
            .collect::<String>()
    };
    assert!(
        text(&output.stdout) == numbers(300_000) + &numbers(9),
        "{} bytes",
        output.stdout.len()
    );
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("nothing was lost"),
        "{}",
        text(&output.stderr)
    );
}

fn a_lost_connection_can_be_left(server: &Server) {
    let relay = Relay::to(server.socket());
    let terminal =
        Terminal::open(relay.platform(server, &["enter", server.container(), "--", "cat"]));
    terminal.wait_until_raw();
    terminal.type_in("here\r");
    terminal.expect("here\r\nhere");
    relay.refuse();
    terminal.expect("trying to come back");
    terminal.type_in("~.");
    assert_eq!(terminal.exit_code(), 255);
    assert!(!terminal.is_raw());
    assert!(
        terminal.seen().contains("without a connection"),
        "{}",
        terminal.seen()
    );
}

fn attaching_leaves_the_container_alone(server: &Server) {
    let container = server.container();
    let terminal = Terminal::open(server.platform(&["attach", "--backlog", container]));
    terminal.expect("serving on http://127.0.0.1:");
    terminal.type_in("\x03");
    assert_eq!(terminal.exit_code(), 130);
    assert!(
        terminal.seen().contains("which goes on"),
        "{}",
        terminal.seen()
    );
    let output = piped(server, &["enter", container, "--", "true"], b"");
    assert!(output.status.success(), "{output:?}");
}

/// Says what it reads, and when it is interrupted.
const ECHO: &str =
    "trap 'echo interrupted' INT; while :; do read line && echo \"got:$line\" || sleep 0.1; done";

fn attaching_to_lines_is_left_by_interrupt_or_escape(server: &Server) {
    server.run("lines", false, ECHO);
    let attach = || {
        let terminal = Terminal::open(server.platform(&["attach", "lines"]));
        terminal.expect("attached to lines; Ctrl-C leaves, or ~. and Enter, and it goes on");
        terminal.type_in("hello\r");
        terminal.expect("got:hello");
        assert!(!terminal.is_raw());
        terminal
    };
    let terminal = attach();
    terminal.type_in("~?\r");
    terminal.expect("leave; the container goes on");
    terminal.type_in("~.\r");
    assert_eq!(terminal.exit_code(), 0);
    assert!(terminal.seen().contains("left lines, which goes on"));
    let terminal = attach();
    terminal.type_in("\x03");
    assert_eq!(terminal.exit_code(), 130);
    assert!(terminal.seen().contains("^C\r\nleft lines, which goes on"));
    assert!(!terminal.seen().contains("interrupted"));
    attach();
    // Who only looks on leaves in the same way.
    let terminal = Terminal::open(server.platform(&["attach", "--no-stdin", "lines"]));
    terminal.expect("looking on at lines; Ctrl-C leaves");
    terminal.type_in("~.\r");
    assert_eq!(terminal.exit_code(), 0);
}

/// One that reads the terminal there would be stopped by it.
fn looking_on_in_the_background_goes_on(server: &Server) {
    server.run("ticks", false, "while :; do echo tick; sleep 0.1; done");
    let attach = server.platform(&["attach", "--no-stdin", "ticks"]);
    let mut shell = Command::new("sh");
    // With job control, so that it is a group of its own.
    shell.args([
        "-mc",
        r#""$0" "$@" & read line; kill $!; wait $!; echo "code:$?""#,
    ]);
    shell.arg(attach.get_program()).args(attach.get_args());
    for (name, value) in attach.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let terminal = Terminal::open(shell);
    (0..30).for_each(|_| terminal.expect("tick\r\n"));
    terminal.type_in("\r");
    terminal.expect("code:143");
}

/// By ^Z and bg, as a person does it; and in front again it is left as before.
fn looking_on_that_is_put_into_the_background_goes_on(server: &Server) {
    server.run("tocks", false, "while :; do echo tock; sleep 0.1; done");
    let attach = server.platform(&["attach", "--no-stdin", "tocks"]);
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "> ");
    let words = [attach.get_program()].into_iter().chain(attach.get_args());
    let line: Vec<_> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    for (name, value) in attach.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let terminal = Terminal::open(shell);
    terminal.type_in(&format!("{}\r", line.join(" ")));
    (0..5).for_each(|_| terminal.expect("tock\r\n"));
    terminal.type_in("\x1a");
    terminal.expect("Stopped");
    terminal.type_in("bg\r");
    (0..30).for_each(|_| terminal.expect("tock\r\n"));
    // What is typed now is the shell's.
    terminal.type_in("echo it''s mine\r");
    terminal.expect("its mine");
    (0..10).for_each(|_| terminal.expect("tock\r\n"));
    terminal.type_in("fg\r");
    (0..5).for_each(|_| terminal.expect("tock\r\n"));
    terminal.type_in("~.\r");
    terminal.expect("left tocks, which goes on");
    terminal.type_in("echo code:$?\r");
    terminal.expect("code:0");
    terminal.type_in("exit\r");
}

fn attaching_to_a_terminal_is_left_by_an_escape(server: &Server) {
    server.run("keys", true, ECHO);
    for _ in 0..2 {
        let terminal = Terminal::open(server.platform(&["attach", "keys"]));
        terminal.expect(
            "attached to keys; ~. at the beginning of a line leaves, Ctrl-C goes to the program",
        );
        terminal.wait_until_raw();
        terminal.type_in("\x03");
        terminal.expect("interrupted");
        terminal.type_in("hello\r");
        terminal.expect("got:hello");
        terminal.type_in("~.");
        assert_eq!(terminal.exit_code(), 0);
        assert!(!terminal.is_raw());
        assert!(terminal.seen().contains("left keys, which goes on"));
    }
    // The program, and not we, has the size of this terminal.
    server.run("size", true, "while read line; do stty size; done");
    let terminal = Terminal::open(server.platform(&["attach", "size"]));
    terminal.resize(33, 111);
    terminal.wait_until_raw();
    terminal.repeat("\r", "33 111");
}

fn terminals_can_be_asked_for(server: &Server) {
    let container = server.container();
    let script = "test -t 0 && echo yes || echo no";
    for (flag, said) in [("-t", "yes\r\n"), ("-it", "yes\r\n"), ("-i", "no\n")] {
        let line = ["enter", flag, container, "sh", "-c", script];
        let output = piped(server, &line, b"");
        assert_eq!(text(&output.stdout), said, "{flag}: {output:?}");
    }
    // What is piped into a terminal is typed.
    let output = piped(server, &["enter", "-it", container, "sh"], b"exit 5\n");
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    // Lines, and no terminal at the other side.
    let line = [
        "enter",
        "-i",
        container,
        "--",
        "sh",
        "-c",
        "test -t 0 || cat",
    ];
    let terminal = Terminal::open(server.platform(&line));
    terminal.type_in("hello\r");
    terminal.expect("hello\r\nhello");
    assert!(!terminal.is_raw());
    terminal.type_in("~.\r");
    assert_eq!(terminal.exit_code(), 255);
    let terminal = Terminal::open(server.platform(&line));
    terminal.type_in("hello\r");
    terminal.expect("hello\r\nhello");
    terminal.type_in("\x04");
    assert_eq!(terminal.exit_code(), 0);
}

fn an_end_that_was_not_seen_is_not_told(server: &Server) {
    let line = ["enter", server.container(), "--", "cat"];
    let terminal = Terminal::open(server.platform(&line));
    terminal.wait_until_raw();
    terminal.type_in("here\r");
    terminal.expect("here\r\nhere");
    server.freeze(true);
    terminal.type_in("~.");
    let code = terminal.exit_code();
    server.freeze(false);
    assert_eq!(code, 255);
    let seen = terminal.seen();
    assert!(seen.contains("nothing was heard of it so far"), "{seen}");
    assert!(!seen.contains("is ended"), "{seen}");
}

/// Nobody has to wait for an endpoint that does not answer.
#[test]
fn connecting_can_be_left() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("mute.sock");
    let mute = UnixListener::bind(&socket).unwrap();
    let check = |command: &str, signal: Option<Signal>, code: i32| {
        let terminal = Terminal::open(calling(&socket, &[command, "web"]));
        let held = mute.accept().unwrap();
        match signal {
            Some(signal) => terminal.send(signal),
            None => terminal.type_in("\x03"),
        }
        let seen = || terminal.seen();
        assert_eq!(terminal.exit_code(), code, "{command}: {:?}", seen());
        assert!(!terminal.is_raw());
        assert!(!seen().contains("error"), "{command}: {:?}", seen());
        drop(held);
    };
    check("enter", None, 130);
    check("enter", Some(Signal::TERM), 143);
    check("enter", Some(Signal::HUP), 129);
    check("attach", None, 130);
}

#[test]
fn what_a_gateway_has_to_say_is_shown() {
    let gateway = Scripted::start(SessionOptions::default().with_moderation());
    let terminal = Terminal::open(gateway.platform(&["enter", "web", "flood"]));
    // Beside what the program says, in no order.
    let notice = "platform: input waits until somebody who may approve joins\r\n";
    until(
        || terminal.seen().contains(notice) && terminal.seen().contains("ready"),
        || format!("no notice: {:?}", terminal.seen()),
    );
    terminal.wait_until_raw();
    terminal.type_in("~.");
    assert_eq!(terminal.exit_code(), 255);
    let seen = terminal.seen();
    assert!(
        seen.contains("left web; what ran for you there is ended"),
        "{seen}"
    );
}

#[test]
fn what_was_lost_is_not_said_to_be_whole() {
    let options = SessionOptions::default()
        .with_log(16 << 10)
        .with_detached(WhileDetached::Live);
    let gateway = Scripted::start(options);
    let relay = Relay::to(gateway.socket());
    let terminal = Terminal::open(calling(&relay.socket(), &["enter", "web", "flood"]));
    terminal.expect("ready");
    terminal.wait_until_raw();
    terminal.type_in("go\r");
    gateway.wait_for(READ);
    relay.refuse();
    terminal.expect("trying to come back; ~. leaves");
    gateway.set(MAY_FLOW);
    gateway.wait_for(FLOWN);
    relay.take_again();
    terminal.expect("over");
    let seen = terminal.seen();
    assert!(seen.contains("\r\nplatform: connected again\r\n"), "{seen}");
    assert!(seen.contains("bytes of output were missed\r\n"), "{seen}");
    assert!(!seen.contains("nothing was lost"), "{seen}");
    terminal.type_in("\r~.");
    assert_eq!(terminal.exit_code(), 255);
}

fn stock_paths_are_there(server: &Server) {
    let request = |path: &str, headers: &str| {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
        );
        server.status(&head)
    };
    let container = server.container();
    for path in [
        "/v1/exec",
        "/enter",
        "/attach",
        "/ws?target=x",
        "/api/sessions/1/replay",
    ] {
        assert_eq!(request(path, ""), "101", "{path}");
        assert_eq!(
            request(path, "Origin: https://evil.example\r\n"),
            "403",
            "{path}"
        );
    }
    let pod = format!("/api/v1/namespaces/shop/pods/{container}/exec?command=true&stdout=true");
    assert_eq!(
        request(&pod, "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"),
        "101"
    );
    // Built in with the feature, where its files are.
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/exec/web/dist/index.html"
    );
    let is_built = cfg!(feature = "web") && std::path::Path::new(page).exists();
    assert_eq!(
        server.status("GET /terminal/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        if is_built { "200" } else { "404" }
    );
    // Nothing is recorded here.
    assert_eq!(
        server.status("GET /api/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "404"
    );
    assert_eq!(
        server.status("GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "200"
    );
}

fn a_killed_server_restores_the_terminal(server: &mut Server) {
    let line = ["enter", "--patience", "2s", server.container(), "--", "cat"];
    let terminal = Terminal::open(server.platform(&line));
    terminal.wait_until_raw();
    terminal.type_in("here\r");
    terminal.expect("here\r\nhere");
    server.kill();
    terminal.expect("trying to come back");
    assert_eq!(terminal.exit_code(), 255);
    assert!(!terminal.is_raw());
    assert!(
        terminal
            .seen()
            .contains("how its command ended is not known"),
        "{}",
        terminal.seen()
    );
}

/// Runs it with pipes, and this for its input.
#[track_caller]
fn piped(server: &Server, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = server
        .platform(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read is no failure of the test.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("it is waited for")
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
