//! The program that `longshore-exec` runs inside containers. See the library for what it is.
//!
//! * `session [--tty COLUMNSxROWS] [--no-input] [--user USER] [--keep] -- COMMAND…` owns a session;
//! * `wait` is there before its session, and becomes one when it is told to;
//! * `sweep MARKER…` ends the processes that carry a marker in their environment, and what belongs
//!   to them;
//! * `hold` says its process id and waits, so that others reach this file through `/proc`;
//! * `shell` reads lines and runs programs, for images that have no shell;
//! * `become UID GID GROUPS -- COMMAND…` is what a session starts to give up root.

mod child;
mod family;
mod options;
mod pace;
mod process;
mod session;
mod shell;
mod signals;
mod user;
mod wait;
mod wire;

use std::{io::Write, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next().unwrap_or_default();
    match mode.to_str() {
        Some("session") => match options::Options::parse(arguments) {
            Ok(options) => session::run(&options),
            Err(error) => refuse(&error),
        },
        Some("wait") => wait::run(),
        Some("become") => refuse(&user::become_and_run(arguments)),
        Some("sweep") => sweep(arguments.filter_map(|marker| marker.into_string().ok())),
        Some("hold") => hold(),
        Some("shell") => shell::run(),
        _ => refuse(
            "expected session, wait, shell, sweep, hold or become: this program is run by longshore",
        ),
    }
}

/// Says how many were left, and nothing of them: what is around may be others' secrets.
fn sweep(markers: impl Iterator<Item = String>) -> ExitCode {
    let ended = family::end(family::Marked::new(markers), &family::POLITE);
    let line = format!("killed {} left {}\n", ended.killed, ended.left);
    let _ = std::io::stdout().write_all(line.as_bytes());
    ExitCode::from(u8::from(ended.left > 0))
}

fn hold() -> ExitCode {
    signals::default_at_exec();
    let line = format!("pid {}\n", std::process::id());
    let _ = std::io::stdout().write_all(line.as_bytes());
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Code 125: the fault is not the command's.
fn refuse(error: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "longshore-exec-stub: {error}");
    ExitCode::from(125)
}
