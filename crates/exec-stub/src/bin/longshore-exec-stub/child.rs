//! The command, with its terminal or its pipes.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use longshore_exec_stub::Ending;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process_group, pidfd_open, wait,
    },
    termios::{LocalModes, SpecialCodeIndex, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize},
};

use crate::{options::Options, user, user::User};

/// From which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Output,
    Errors,
}

/// The command. Its descriptors don't block.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    /// Readable at its end; `None` on a kernel before 5.3.
    pub(crate) handle: Option<OwnedFd>,
    pub(crate) input: Option<OwnedFd>,
    pub(crate) outputs: Vec<(Source, OwnedFd)>,
    /// The terminal's other side.
    terminal: Option<OwnedFd>,
    pub(crate) ending: Option<Ending>,
}

/// Why there is no child: an exit code as shells give it, and words.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) reason: String,
}

impl Child {
    pub(crate) fn start(options: &Options) -> Result<Self, Failure> {
        let [program, arguments @ ..] = options.command.as_slice() else {
            return Err(fault("the command is empty"));
        };
        let mut command;
        match &options.user {
            None => {
                command = Command::new(program);
                command.args(arguments);
            }
            Some(spec) => {
                let user = User::find(spec).map_err(|reason| fault(&reason))?;
                if !user::is_root() {
                    return Err(fault("the stub is not root and can't become somebody else"));
                }
                if !exists(program) {
                    return Err(refusal(program, &io::ErrorKind::NotFound.into()));
                }
                command = Command::new("/proc/self/exe");
                command.arg("become").args(user.arguments());
                command.arg("--").arg(program).args(arguments);
                // The engine sets it for root, whom it was told to start.
                command.env("HOME", user.home.as_deref().unwrap_or("/"));
            }
        }
        let started = match options.terminal {
            Some(size) => Self::on_terminal(command, size, options.input),
            None => Self::with_pipes(command, options.input),
        };
        started.map_err(|error| refusal(program, &error))
    }

    fn with_pipes(mut command: Command, input: bool) -> io::Result<Self> {
        command
            .process_group(0)
            .stdin(if input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut outputs = Vec::new();
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        outputs.extend(stdout.map(|fd| (Source::Output, fd)));
        outputs.extend(stderr.map(|fd| (Source::Errors, fd)));
        let input = child.stdin.take().map(OwnedFd::from);
        Self::new(&child, input, outputs, None)
    }

    /// The command leads a session of its own, whose terminal this is. Without input it has the
    /// terminal all the same, and nobody types.
    fn on_terminal(command: Command, (columns, rows): (u16, u16), input: bool) -> io::Result<Self> {
        let (master, slave) = pty_process::blocking::open().map_err(to_io)?;
        master
            .resize(pty_process::Size::new(rows, columns))
            .map_err(to_io)?;
        let command = pty_process::blocking::Command::from(command);
        let child = command.spawn(slave).map_err(to_io)?;
        let master = OwnedFd::from(master);
        let input = input.then(|| master.try_clone()).transpose()?;
        let outputs = vec![(Source::Output, master.try_clone()?)];
        Self::new(&child, input, outputs, Some(master))
    }

    fn new(
        child: &std::process::Child,
        input: Option<OwnedFd>,
        outputs: Vec<(Source, OwnedFd)>,
        terminal: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let pid = Pid::from_child(child);
        for fd in input.iter().chain(outputs.iter().map(|(_, fd)| fd)) {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            pid,
            handle: pidfd_open(pid, PidfdFlags::empty()).ok(),
            input,
            outputs,
            terminal,
            ending: None,
        })
    }

    /// Buries whoever has ended: the command, and orphans that came to this process. Whether nobody
    /// is left, neither child nor orphan.
    pub(crate) fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => {
                    self.ending = Some(ending(status));
                    self.handle = None;
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                // ECHILD.
                Err(_) => return true,
            }
        }
    }

    /// A signal to the foreground: of the terminal, else the command's own process group. Real-time
    /// signals can't be sent.
    pub(crate) fn signal(&self, number: u8) {
        let Some(signal) = Signal::from_named_raw(i32::from(number)) else {
            return;
        };
        if let Some(group) = self.foreground().first() {
            let _ = kill_process_group(*group, signal);
        }
    }

    /// The groups in the foreground, the terminal's first.
    pub(crate) fn foreground(&self) -> Vec<Pid> {
        let shown = self.terminal.as_ref().and_then(|fd| tcgetpgrp(fd).ok());
        shown.into_iter().chain(self.group()).collect()
    }

    /// The command's own group, while it runs.
    pub(crate) fn group(&self) -> Option<Pid> {
        self.ending.is_none().then_some(self.pid)
    }

    /// Has the command and its group stand still.
    pub(crate) fn stop(&self) {
        if let Some(group) = self.group() {
            let _ = kill_process_group(group, Signal::STOP);
        }
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = &self.terminal {
            let size = Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// What is typed at the end of the input: the terminal's end key, if it has one just now.
    /// Behind an unfinished line the first only sends that line.
    pub(crate) fn end_keys(&self, at_line_start: bool) -> Vec<u8> {
        let Some(modes) = self.terminal.as_ref().and_then(|fd| tcgetattr(fd).ok()) else {
            return Vec::new();
        };
        if !modes.local_modes.contains(LocalModes::ICANON) {
            return Vec::new();
        }
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        vec![key; if at_line_start { 1 } else { 2 }]
    }
}

fn ending(status: WaitStatus) -> Ending {
    let small = |number: i32| u8::try_from(number).ok();
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => small(code).map_or(Ending::Unknown, Ending::Code),
        (None, Some(signal)) => small(signal).map_or(Ending::Unknown, Ending::Signal),
        (None, None) => Ending::Unknown,
    }
}

/// Whether there is a file of this name where programs are looked for.
fn exists(program: &OsString) -> bool {
    let path = std::path::Path::new(program);
    if path.components().count() > 1 {
        return path.exists();
    }
    let places = std::env::var_os("PATH").unwrap_or_else(|| PLACES.into());
    std::env::split_paths(&places).any(|place| place.join(path).exists())
}

/// In the engine's words, from which its clients make exit codes.
pub(crate) fn refusal(program: &OsString, error: &io::Error) -> Failure {
    let (code, reason) = match error.kind() {
        io::ErrorKind::NotFound => (127, "executable file not found in $PATH".to_owned()),
        io::ErrorKind::PermissionDenied => (126, "permission denied".to_owned()),
        _ => (126, error.to_string()),
    };
    let reason = format!("cannot run {:?}: {reason}", program.display().to_string());
    Failure { code, reason }
}

fn fault(reason: &str) -> Failure {
    Failure {
        code: 125,
        reason: reason.to_owned(),
    }
}

/// Further variants depend on features that other packages of a build may turn on.
fn to_io(error: pty_process::Error) -> io::Error {
    if let pty_process::Error::Rustix(error) = error {
        return error.into();
    }
    if let pty_process::Error::Io(error) = error {
        return error;
    }
    io::ErrorKind::Other.into()
}

/// Where programs are looked for that have no `PATH`.
pub(crate) const PLACES: &str = "/bin:/usr/bin";
