//! A helper for containers that have no shell: reads lines, runs programs, and knows a few commands
//! that such images lack. It is no shell: no pipes, no jobs, no scripts.

mod builtin;
mod words;

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, IsTerminal, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    process::{Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read},
    process::{Pid, WaitOptions, WaitStatus, waitpid},
    stdio::stdin,
};

use crate::{signals, user};

/// What a line may refer to and change.
struct Shell {
    variables: BTreeMap<OsString, OsString>,
    /// The code of the last command.
    code: u8,
    is_terminal: bool,
    /// Set by an interrupt.
    interrupted: Arc<AtomicBool>,
    over: bool,
}

/// What came from the input.
enum Line {
    Typed(Vec<u8>),
    /// What was typed so far is given up.
    Interrupted,
    TooLong,
    End,
}

/// Reads and runs lines until the input ends. The code is the last command's.
pub(crate) fn run() -> ExitCode {
    // An interrupt is for the program that runs, not for who started it.
    let interrupted = signals::outlive_keys();
    let mut shell = Shell {
        variables: std::env::vars_os().collect(),
        code: 0,
        is_terminal: io::stdin().is_terminal(),
        interrupted,
        over: false,
    };
    if shell.is_terminal {
        shell.note("this container has no shell; this is longshore's helper: try help");
    }
    while !shell.over {
        shell.prompt();
        match read_line(shell.is_terminal) {
            Line::Typed(line) => shell.obey(&line),
            Line::Interrupted => {
                let _ = io::stdout().write_all(b"\n");
                shell.code = INTERRUPTED;
            }
            Line::TooLong => shell.fail(2, "the line is too long"),
            Line::End => shell.over = true,
        }
    }
    ExitCode::from(shell.code)
}

impl Shell {
    fn obey(&mut self, line: &[u8]) {
        let words = words::split(line, &|name| self.value(name));
        let words = match words {
            Ok(words) => words,
            Err(why) => return self.fail(2, &why),
        };
        let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
        let Some((program, arguments)) = words.split_first() else {
            return;
        };
        if let Some((name, value)) = assignment(program) {
            match arguments {
                [] => self.set(name, value),
                _ => self.fail(2, "a variable is set by a line of its own"),
            }
        } else {
            // What was typed before is not meant for it.
            self.interrupted.store(false, Ordering::Relaxed);
            if !self.build_in(program, arguments) {
                self.start(program, arguments);
            } else if self.is_interrupted() {
                self.code = INTERRUPTED;
                if self.is_terminal {
                    self.print(b"\n");
                }
            }
        }
    }

    /// Whether what is built in is to stop.
    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The value of a variable, or of `?`.
    fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        if name == b"?" {
            return Some(self.code.to_string().into_bytes());
        }
        let value = self.variables.get(OsStr::from_bytes(name));
        value.map(|value| value.as_bytes().to_vec())
    }

    fn set(&mut self, name: OsString, value: OsString) {
        self.variables.insert(name, value);
        self.code = 0;
    }

    fn start(&mut self, program: &OsStr, arguments: &[OsString]) {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.variables);
        let started = command.spawn();
        let shown = shown(program);
        match started {
            Ok(child) => self.code = self.wait_for(Pid::from_child(&child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.fail(127, &format!("{shown}: there is no such program"));
            }
            Err(error) => self.fail(126, &format!("{shown}: {error}")),
        }
    }

    /// Its code as shells give it. The suspend key stops nobody: nothing waits outside this session
    /// to continue it, so the kernel discards it (POSIX, "orphaned process group").
    fn wait_for(&self, child: Pid) -> u8 {
        loop {
            match waitpid(Some(child), WaitOptions::empty()) {
                Ok(Some((_, status))) => {
                    if self.is_terminal && status.signaled() {
                        let _ = io::stdout().write_all(b"\n");
                    }
                    return code(status);
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(_) => return 125,
            }
        }
    }

    fn prompt(&self) {
        if self.is_terminal {
            let folder = std::env::current_dir().unwrap_or_default();
            let mark = if user::is_root() { '#' } else { '$' };
            let prompt = format!("{} {mark} ", shown(folder.as_os_str()));
            self.print(prompt.as_bytes());
        }
    }

    /// Who reads nothing any more is told nothing.
    fn print(&self, bytes: &[u8]) {
        let mut out = io::stdout();
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }

    fn fail(&mut self, code: u8, why: &str) {
        self.code = code;
        self.note(why);
    }

    fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "longshore: {text}");
    }
}

/// Byte by byte: what is behind the line is for the program that the line starts.
fn read_line(is_terminal: bool) -> Line {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        // Unlike a read, this is not begun again after a signal.
        match poll(
            &mut [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)],
            None,
        ) {
            Err(Errno::INTR) if is_terminal => return Line::Interrupted,
            _ => {}
        }
        let mut byte = [0];
        match read(stdin(), &mut byte) {
            Ok(0) if length == 0 => return Line::End,
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => {
                length += 1;
                if length <= LONGEST_LINE {
                    line.push(byte[0]);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return Line::End,
        }
    }
    if length > LONGEST_LINE {
        return Line::TooLong;
    }
    Line::Typed(line)
}

fn code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal).unwrap_or(125);
    u8::try_from(code).unwrap_or(255)
}

/// `NAME=value`.
fn assignment(word: &OsStr) -> Option<(OsString, OsString)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&bytes[..at], &bytes[at + 1..]);
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    words::is_name(name).then(|| (owned(name), owned(value)))
}

/// A name as it may be shown on a terminal.
fn shown(text: &OsStr) -> String {
    let text = text.to_string_lossy();
    text.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}

/// The code of what an interrupt ended, as shells give it.
const INTERRUPTED: u8 = 130;
const LONGEST_LINE: usize = 64 * 1024;
