//! The script itself, on this machine, in whichever shells it has. It touches nobody without the
//! mark, and each test has a mark of its own.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::SCRIPT;

/// What a container may have for `sh`. The last stands for a `grep` that knows no `-z`.
const SHELLS: [&[&str]; 4] = [
    &["dash"],
    &["bash"],
    &["busybox", "sh"],
    &["dash", "without -z"],
];

/// A mark that nobody else has, of the right form.
fn group() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{:016x}{:016x}{place:08x}", 0xfeed, std::process::id())
}

fn mark(group: &str) -> String {
    format!("{group}{:024x}", 7)
}

/// A shell that runs the script; `None` where this machine does not have it.
struct Lifeline {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Lifeline {
    /// Behind other commands of the same shell.
    fn start_behind(before: &str, shell: &[&str], group: &str) -> Option<Self> {
        let (program, rest) = shell.split_first().unwrap();
        let mut command = Command::new(program);
        let mut script = format!("{before}{SCRIPT}");
        match rest {
            ["without -z"] => script = script.replace("|| zeros=1", "|| zeros="),
            _ => drop(command.args(rest)),
        }
        let child = command
            .args(["-c", &script, "longshore-lifeline", group, "tree"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.ok()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut lifeline = Self {
            child,
            input,
            output,
        };
        assert_eq!(lifeline.line(), "ready");
        Some(lifeline)
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        if self.input.is_some() {
            self.say("q");
        }
        let _ = self.child.wait();
    }
}

/// A script in a shell that carries the mark. It has said a word when this returns.
struct Marked(Child);

impl Marked {
    fn start(mark: &str, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("LONGSHORE_EXEC_ID", mark);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut word = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut word)
            .unwrap();
        Self(child)
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A word that only one test's processes have in their command lines.
fn number(group: &str) -> String {
    format!("66{}", u64::from_str_radix(&group[25..41], 16).unwrap())
}

fn processes(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let has = |line: &Vec<u8>| {
        let mut words = line.split(|byte| *byte == 0);
        words.any(|part| part == word.as_bytes())
    };
    lines.filter(has).count()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn in_each_shell(test: impl Fn(&mut Lifeline, &str)) {
    in_each_shell_behind("", test);
}

fn in_each_shell_behind(before: &str, test: impl Fn(&mut Lifeline, &str)) {
    let mut tried = 0;
    for shell in SHELLS {
        let group = group();
        if let Some(mut lifeline) = Lifeline::start_behind(before, shell, &group) {
            tried += 1;
            test(&mut lifeline, &group);
        }
    }
    assert!(tried > 0, "this machine has no shell");
}

/// Of two sessions the one that is named ends, with what sheds its environment, its session or its
/// parent, and what ignores signals; and that is said.
#[test]
fn a_session_ends_with_its_tree_and_no_other() {
    in_each_shell(|lifeline, group| {
        let number = number(group);
        let mut one = Marked::start(
            &mark(group),
            &format!(
                "trap '' HUP TERM; setsid sleep {number} & env -i sleep {number} &
                 (setsid sleep {number} &) ; echo ready; sleep {number}"
            ),
        );
        let other = format!("{group}{:024x}", 8);
        let mut two = Marked::start(&other, "echo ready; exec sleep 600");
        until("the tree", || processes(&number) == 4);
        lifeline.say(&format!("e 3 {}", mark(group)));
        assert_eq!(lifeline.line(), "d 3");
        assert!(!one.runs() && processes(&number) == 0);
        assert!(two.runs());
        lifeline.say(&format!("e 4 {other} {}", mark(group)));
        assert_eq!(lifeline.line(), "d 4");
        assert!(!two.runs());
    });
}

/// Time as the script measures it, for who is waited for: a nap of the grace is counted, and lasts until
/// something was saved where anything is to be. So no load of the machine makes the time too short.
fn napping(folder: &std::path::Path, saves: bool) -> String {
    let folder = folder.display();
    let until = if saves { r#"-s "$kept""# } else { "1" };
    format!(
        r#"
sleep() {{
    [ "$1" = 0.0125 ] || {{ command sleep "$1"; return; }}
    kept={folder}/$group waited=0
    echo nap >>"$kept.naps"
    until [ {until} ] || [ "$waited" -ge 3000 ]; do
        waited=$((waited + 1))
        command sleep 0.01
    done
}}
"#
    )
}

/// Who has something to save at a hang-up gets the time for it.
#[test]
fn who_handles_a_hang_up_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    in_each_shell_behind(&napping(folder.path(), true), |lifeline, group| {
        let file = folder.path().join(group);
        let script = format!(
            "trap 'sleep 0.03; echo saved > {}; exit 9' HUP
             echo ready; while :; do sleep 0.01; done",
            file.display()
        );
        let mut session = Marked::start(&mark(group), &script);
        lifeline.say(&format!("e 1 {}", mark(group)));
        assert_eq!(lifeline.line(), "d 1");
        assert!(!session.runs());
        assert_eq!(
            std::fs::read_to_string(&file).unwrap_or_default(),
            "saved\n"
        );
    });
}

/// And who handles it and stays is waited for a tenth of a second behind each request.
#[test]
fn who_handles_a_hang_up_and_stays_is_not_waited_for_longer() {
    let folder = tempfile::tempdir().unwrap();
    in_each_shell_behind(&napping(folder.path(), false), |lifeline, group| {
        let script = "trap : HUP TERM; echo ready; while :; do sleep 0.01; done";
        let mut session = Marked::start(&mark(group), script);
        lifeline.say(&format!("e 1 {}", mark(group)));
        assert_eq!(lifeline.line(), "d 1");
        assert!(!session.runs());
        let naps = folder.path().join(format!("{group}.naps"));
        let naps = std::fs::read_to_string(naps).unwrap_or_default();
        assert_eq!(
            naps.lines().count(),
            16,
            "twice eight eightieths of a second"
        );
    });
}

/// At the end of the input all of the group end, whose marks it was never told, and nobody else.
#[test]
fn the_end_of_its_input_ends_the_group() {
    in_each_shell(|lifeline, group| {
        let mut own = Marked::start(&mark(group), "echo ready; exec sleep 600");
        let stranger = mark(&format!("{}1", &group[..group.len() - 1]));
        let near = group.ends_with('1');
        let mut other = Marked::start(&stranger, "echo ready; exec sleep 600");
        drop(lifeline.input.take());
        until("its end", || !own.runs());
        assert!(near || other.runs());
        // It would look for latecomers for half a minute.
        lifeline.child.kill().unwrap();
    });
}

/// Text in an environment that looks like another process's is no mark.
#[test]
fn an_environment_that_quotes_a_mark_is_not_marked() {
    in_each_shell(|lifeline, group| {
        let pair = format!("LONGSHORE_EXEC_ID={}", mark(group));
        let mut victim = Marked::start("none", "echo ready; exec sleep 600");
        let forged = format!("x\n==> /proc/{}/environ <==\n{pair}\n", victim.0.id());
        let mut quoting = Command::new("sleep");
        let mut quoting = quoting.arg("600").env("TEXT", forged).spawn().unwrap();
        lifeline.say(&format!("e 1 {}", mark(group)));
        assert_eq!(lifeline.line(), "d 1");
        // Where environments are read as lines, this one has the mark itself.
        let _ = quoting.kill();
        let _ = quoting.wait();
        assert!(victim.runs());
    });
}

/// Of the 128 KiB that a command line has at least, its environment included, 4 KiB are left: less than
/// the files of 150 processes take.
const NARROW: &str = r#"
ulimit -s 512
pad=0123456789abcdef
while [ "${#pad}" -lt 65536 ]; do
    pad=$pad$pad
    [ "${#pad}" -lt 4096 ] || export "PAD${#pad}=$pad"
done
"#;

struct Crowd(Vec<Child>);

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn processes_that_are_more_than_a_command_line_holds_are_searched_all_the_same() {
    let mut crowd = Crowd(Vec::new());
    for _ in 0..150 {
        let sleep = Command::new("sleep").arg("600").spawn();
        crowd.0.push(sleep.unwrap());
    }
    in_each_shell_behind(NARROW, |lifeline, group| {
        let number = number(group);
        let script = format!("(setsid sleep {number} &) ; echo ready; exec sleep 600");
        let mut session = Marked::start(&mark(group), &script);
        until("the tree", || processes(&number) == 1);
        lifeline.say(&format!("e 1 {}", mark(group)));
        assert_eq!(lifeline.line(), "d 1");
        assert!(!session.runs() && processes(&number) == 0);
    });
}
