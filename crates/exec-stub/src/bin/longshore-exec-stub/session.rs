//! One session: moves bytes, sends signals, and ends what it started when it is lost.

use std::{collections::VecDeque, process::ExitCode, time::Instant};

use longshore_exec_stub::{Ending, FromStub, INPUT_WINDOW, SILENCE, ToStub, VERSION};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, write},
    process::{getpid, set_child_subreaper},
    stdio::{stdin, stdout},
};

use crate::{
    child::{Child, Source},
    family,
    options::Options,
    signals,
    wire::Wire,
};

struct Session {
    wire: Wire,
    child: Child,
    /// Input that the command has not taken yet.
    input: VecDeque<u8>,
    input_ends: bool,
    at_line_start: bool,
    /// How much output may still be sent after the command's end: a process in the background may
    /// hold its pipes open and write for ever.
    allowance: usize,
    heard: Instant,
    told_to_end: bool,
    buffer: Vec<u8>,
}

/// Runs a session to its end. The code is the command's, for who looks at it from outside.
pub(crate) fn run(options: &Options) -> ExitCode {
    signals::default_at_exec();
    let _ = set_child_subreaper(Some(getpid()));
    let Ok(mut wire) = Wire::open() else {
        return ExitCode::from(125);
    };
    wire.say(&FromStub::Hello(VERSION));
    let child = match Child::start(options) {
        Ok(child) => child,
        Err(failure) => {
            wire.say(&FromStub::Failed {
                code: failure.code,
                reason: failure.reason,
            });
            wire.say(&FromStub::Cleaned { killed: 0, left: 0 });
            flush(&mut wire, Instant::now());
            return ExitCode::from(failure.code);
        }
    };
    wire.say(&FromStub::Started);
    let session = Session {
        wire,
        child,
        input: VecDeque::new(),
        input_ends: false,
        at_line_start: true,
        allowance: LARGEST_PIPE,
        heard: Instant::now(),
        told_to_end: false,
        buffer: vec![0; CHUNK],
    };
    session.run(options.keep)
}

impl Session {
    fn run(mut self, keep: bool) -> ExitCode {
        while !self.is_over() {
            self.wait();
            self.child.reap();
            self.listen();
            self.feed();
            self.read_outputs();
            self.wire.send();
        }
        let by_itself = self.child.ending.is_some();
        let mut told = false;
        if let Some(ending) = self.child.ending {
            told = true;
            self.wire.say(&FromStub::Exit(ending));
        }
        self.child.input = None;
        let ended = if !keep {
            family::end(family::Descendants(&mut self.child))
        } else if by_itself {
            family::Ended::default()
        } else {
            let groups = self.child.foreground().into_iter();
            let groups = groups.map(|pid| pid.as_raw_nonzero().get()).collect();
            family::end(family::Groups(&mut self.child, groups))
        };
        self.child.reap();
        if !told {
            let ending = self.child.ending.unwrap_or(Ending::Unknown);
            self.wire.say(&FromStub::Exit(ending));
        }
        self.wire.say(&FromStub::Cleaned {
            killed: ended.killed,
            left: ended.left,
        });
        flush(&mut self.wire, self.heard);
        ExitCode::from(match self.child.ending {
            Some(Ending::Code(code)) => code,
            Some(Ending::Signal(signal)) => 128u8.saturating_add(signal),
            Some(Ending::Unknown) | None => 125,
        })
    }

    fn is_over(&self) -> bool {
        let drained = self.child.outputs.is_empty() || self.allowance == 0;
        self.wire.closed
            || self.told_to_end
            || self.heard.elapsed() >= SILENCE
            || self.child.ending.is_some() && drained
    }

    /// Until something can be read or written, or for a second.
    fn wait(&mut self) {
        let mut interests = vec![(stdin(), PollFlags::IN)];
        if self.wire.queued() > 0 {
            interests.push((stdout(), PollFlags::OUT));
        }
        if let Some(handle) = &self.child.handle {
            interests.push((std::os::fd::AsFd::as_fd(handle), PollFlags::IN));
        }
        if let Some(input) = &self.child.input
            && !self.input.is_empty()
        {
            interests.push((std::os::fd::AsFd::as_fd(input), PollFlags::OUT));
        }
        if self.wire.queued() < MOST_QUEUED {
            for (_, output) in &self.child.outputs {
                interests.push((std::os::fd::AsFd::as_fd(output), PollFlags::IN));
            }
        }
        let mut fds: Vec<PollFd<'_>> = interests
            .iter()
            .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        // Orphans are buried at least that often; without a handle the command's end is seen so.
        let limit = if self.child.handle.is_some() {
            SECOND
        } else {
            MOMENT
        };
        let _ = poll(&mut fds, Some(&limit));
    }

    fn listen(&mut self) {
        if self.wire.receive() {
            self.heard = Instant::now();
        }
        while let Some(message) = self.wire.next() {
            match message {
                // More than the window is not agreed: what is beyond would be kept without bound.
                ToStub::Input(bytes) if self.input.len() + bytes.len() > INPUT_WINDOW => {
                    self.wire.closed = true;
                }
                ToStub::Input(bytes) if self.child.input.is_some() && !self.input_ends => {
                    if let Some(last) = bytes.last() {
                        self.at_line_start = matches!(last, b'\n' | b'\r');
                    }
                    self.input.extend(bytes);
                }
                // Nobody reads it; the sender goes on.
                ToStub::Input(bytes) => self.took(bytes.len()),
                ToStub::InputEnd if !self.input_ends => {
                    self.input_ends = true;
                    if self.child.input.is_some() {
                        self.input.extend(self.child.end_keys(self.at_line_start));
                    }
                }
                ToStub::Resize { columns, rows } => self.child.resize(columns, rows),
                ToStub::Signal(number) => self.child.signal(number),
                ToStub::End => self.told_to_end = true,
                _ => {}
            }
        }
    }

    /// Gives the command what it takes.
    fn feed(&mut self) {
        while let Some(input) = &self.child.input
            && !self.input.is_empty()
        {
            match write(input, self.input.as_slices().0) {
                Ok(count) => {
                    self.input.drain(..count);
                    self.took(count);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // It has closed its input.
                Err(_) => {
                    let rest = self.input.len();
                    self.input.clear();
                    self.child.input = None;
                    self.took(rest);
                }
            }
        }
        if self.input_ends && self.input.is_empty() {
            self.child.input = None;
        }
    }

    fn took(&mut self, count: usize) {
        if count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.wire.say(&FromStub::Taken(count));
        }
    }

    fn read_outputs(&mut self) {
        let mut at = 0;
        while at < self.child.outputs.len() && self.wire.queued() < MOST_QUEUED {
            let (source, output) = &self.child.outputs[at];
            match read(output, &mut self.buffer) {
                Ok(count) if count > 0 && self.allowance > 0 => {
                    if self.child.ending.is_some() {
                        self.allowance = self.allowance.saturating_sub(count);
                    }
                    let bytes = self.buffer[..count].to_vec();
                    let message = match source {
                        Source::Output => FromStub::Output(bytes),
                        Source::Errors => FromStub::Errors(bytes),
                    };
                    self.wire.say(&message);
                    // Again, unless this was all there is.
                    if count < CHUNK && self.child.ending.is_none() {
                        at += 1;
                    }
                }
                Err(Errno::INTR) => {}
                // Empty and still open, by somebody in the background.
                Err(Errno::AGAIN) if self.child.ending.is_none() => at += 1,
                _ => drop(self.child.outputs.remove(at)),
            }
        }
    }
}

/// Sends the last words, as long as the other side lives.
fn flush(wire: &mut Wire, mut heard: Instant) {
    while wire.queued() > 0 && !wire.closed && heard.elapsed() < SILENCE {
        let mut fds = [
            PollFd::from_borrowed_fd(stdout(), PollFlags::OUT),
            PollFd::from_borrowed_fd(stdin(), PollFlags::IN),
        ];
        let _ = poll(&mut fds, Some(&SECOND));
        if wire.receive() {
            heard = Instant::now();
        }
        while wire.next().is_some() {}
        wire.send();
    }
}

const CHUNK: usize = 16 * 1024;
/// With more than this to be sent, nothing more is read from the command: it waits for its reader.
const MOST_QUEUED: usize = 64 * 1024;
/// The most that an unprivileged process can have in a pipe.
const LARGEST_PIPE: usize = 1 << 20;
const SECOND: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const MOMENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};
const _: () = assert!(CHUNK <= longshore_exec_stub::LONGEST_PAYLOAD);
