//! Starts one child with its pipes or its terminal.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use longshore_core::{Error, ErrorKind, OutputKind, Result, TerminalSize};

use super::{
    leader::Leader,
    pipe::{Input, Pipe, Terminal},
    user::User,
};

/// What to start.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) command: &'a [String],
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) dir: &'a str,
    pub(super) user: Option<User>,
    /// A terminal of this size, or pipes.
    pub(super) terminal: Option<TerminalSize>,
    pub(super) stdin: bool,
}

/// What was started.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) leader: Leader,
    pub(super) input: Option<Input>,
    pub(super) outputs: Vec<(OutputKind, Pipe)>,
    pub(super) terminal: Option<Terminal>,
}

impl Launch<'_> {
    /// Starts it. Blocks for as long as the kernel needs to load a program.
    pub(super) fn start(&self) -> Result<Launched> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Error::invalid("the command is empty"));
        };
        let dir = if self.dir.is_empty() { "/" } else { self.dir };
        if !Path::new(dir).is_dir() {
            return Err(refusal(
                format!("the working directory {dir:?} does not exist: no such file or directory"),
                "127",
            ));
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.env)
            .current_dir(dir);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        let started = match self.terminal {
            Some(size) => self.start_on_terminal(command, size),
            None => self.start_with_pipes(command),
        };
        started.map_err(|error| {
            let (reason, code) = match error.kind() {
                // Docker's command line makes exit codes of these words: 127 and 126.
                io::ErrorKind::NotFound => ("executable file not found in $PATH", "127"),
                io::ErrorKind::PermissionDenied => ("permission denied", "126"),
                _ => ("it cannot be run", "126"),
            };
            refusal(format!("cannot run {program:?}: {reason}"), code).with_source(error)
        })
    }

    fn start_with_pipes(&self, mut command: Command) -> io::Result<Launched> {
        command
            .process_group(0)
            .stdin(if self.stdin {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let leader = Leader::new(child)?;
        let input = stdin.map(Pipe::new).transpose()?;
        let mut outputs = Vec::with_capacity(2);
        for (kind, fd) in [(OutputKind::Stdout, stdout), (OutputKind::Stderr, stderr)] {
            if let Some(fd) = fd {
                outputs.push((kind, Pipe::new(fd)?));
            }
        }
        Ok(Launched {
            leader,
            input: input.map(|pipe| Input::Pipe(Some(pipe))),
            outputs,
            terminal: None,
        })
    }

    /// The child leads a session of its own, whose terminal this is. Without input it has the
    /// terminal all the same, and nobody types.
    fn start_on_terminal(&self, command: Command, size: TerminalSize) -> io::Result<Launched> {
        let (master, child) = {
            let _alone = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
            let (master, slave) = pty_process::blocking::open().map_err(to_io)?;
            let size = pty_process::Size::new(size.rows, size.columns);
            master.resize(size).map_err(to_io)?;
            let command = pty_process::blocking::Command::from(command);
            (master, command.spawn(slave).map_err(to_io)?)
        };
        let leader = Leader::new(child)?;
        let terminal = Terminal(Pipe::new(master.into())?);
        Ok(Launched {
            leader,
            input: self.stdin.then(|| Input::terminal(terminal.clone())),
            outputs: vec![(OutputKind::Stdout, terminal.0.clone())],
            terminal: Some(terminal),
        })
    }
}

/// A terminal's descriptor is closed on exec only some time after it was opened. A child started
/// in between would inherit it and keep the terminal open.
static OPENING: Mutex<()> = Mutex::new(());

fn refusal(message: String, code: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, message).with_context("exit_code", code)
}

fn to_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other),
    }
}
