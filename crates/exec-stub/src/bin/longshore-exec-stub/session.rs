//! One session: moves bytes, sends signals, and ends what it started when it is lost.

use std::{
    collections::VecDeque,
    os::fd::OwnedFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use longshore_exec_stub::{
    Ending, FromStub, INPUT_WINDOW, LONGEST_PAYLOAD, OUTPUT_WINDOW, SILENCE, ToStub, VERSION,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, read, write},
    process::{getpid, set_child_subreaper},
    stdio::{stdin, stdout},
};

use crate::{child::Child, family, options::Options, pace::Pace, signals, wire::Wire};

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
    /// How much output the other side has room for.
    room: usize,
    heard: Instant,
    told_to_end: bool,
    /// When orphans were last looked for.
    reaped: Instant,
    pace: Pace,
    buffer: Vec<u8>,
}

/// What can be read.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    wire: bool,
    ending: bool,
    outputs: bool,
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
        room: OUTPUT_WINDOW,
        heard: Instant::now(),
        told_to_end: false,
        reaped: Instant::now(),
        pace: Pace::default(),
        buffer: vec![0; CHUNK],
    };
    session.run(options.keep)
}

impl Session {
    fn run(mut self, keep: bool) -> ExitCode {
        while !self.is_over() {
            let ready = self.wait();
            // Without a handle, the command's end is seen so.
            if ready.ending || self.child.handle.is_none() || self.reaped.elapsed() >= ORPHANS {
                self.child.reap();
                self.reaped = Instant::now();
            }
            if ready.wire {
                self.listen();
            }
            self.feed();
            if ready.outputs || self.child.ending.is_some() {
                self.read_outputs();
            }
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
            family::end(family::Descendants(&mut self.child), &family::POLITE)
        } else if by_itself {
            family::Ended::default()
        } else {
            family::end_foreground(&mut self.child)
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
    fn wait(&self) -> Ready {
        let mut fds = vec![PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
        let pause = self.pace.pause(Instant::now());
        let outputs = match self.has_room() && pause.is_none() {
            true => &self.child.outputs[..],
            false => &[],
        };
        let readable = outputs.iter().map(|(_, output)| output);
        let readable = readable.chain(&self.child.handle);
        fds.extend(readable.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let reads = fds.len();
        if self.wire.queued() > 0 {
            fds.push(PollFd::from_borrowed_fd(stdout(), PollFlags::OUT));
        }
        if let Some(input) = &self.child.input
            && !self.input.is_empty()
        {
            fds.push(PollFd::new(input, PollFlags::OUT));
        }
        let limit = match self.child.handle {
            Some(_) => SECOND,
            None => MOMENT,
        };
        let limit = pause.unwrap_or(limit).min(limit);
        let limit = Timespec::try_from(limit).ok();
        if poll(&mut fds, limit.as_ref()).is_err() {
            return Ready::default();
        }
        let mut ready = fds[..reads].iter().map(|fd| !fd.revents().is_empty());
        Ready {
            wire: ready.next().unwrap_or_default(),
            outputs: ready
                .by_ref()
                .take(outputs.len())
                .fold(false, |any, one| any | one),
            ending: ready.next().unwrap_or_default(),
        }
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
                ToStub::Room(bytes) => {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    self.room = self.room.saturating_add(bytes);
                }
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

    /// Whether output may be sent.
    fn has_room(&self) -> bool {
        self.wire.queued() < MOST_QUEUED && self.room > 0
    }

    /// A frame of each output, and what is left once the command has ended.
    fn read_outputs(&mut self) {
        let has_ended = self.child.ending.is_some();
        let (mut at, mut most) = (0, 0);
        while at < self.child.outputs.len() && self.has_room() {
            let (source, output) = &self.child.outputs[at];
            let room = self.room.min(CHUNK);
            let (count, stop) = fill(output, &mut self.buffer[..room]);
            most = most.max(count);
            if count > 0 && self.allowance > 0 {
                self.wire.say_output(*source, &self.buffer[..count]);
                self.room -= count;
                if has_ended {
                    self.allowance = self.allowance.saturating_sub(count);
                }
            }
            match stop {
                Stop::Full if has_ended && self.allowance > 0 => {}
                // What is behind it waits until the others, and who types, have had their turn.
                Stop::Full | Stop::Empty if !has_ended => at += 1,
                // Empty and still open, by somebody in the background.
                _ => drop(self.child.outputs.remove(at)),
            }
        }
        self.pace.took(most, Instant::now());
    }
}

/// Why [`fill`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Full,
    Empty,
    /// Nothing follows.
    End,
}

/// Reads what there is, as far as it fits. A terminal gives a few kilobytes at a time; each sent by
/// itself would wake everybody on its way.
fn fill(source: &OwnedFd, buffer: &mut [u8]) -> (usize, Stop) {
    let mut count = 0;
    while count < buffer.len() {
        match read(source, &mut buffer[count..]) {
            Ok(0) => return (count, Stop::End),
            Ok(more) => count += more,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return (count, Stop::Empty),
            // A terminal that nobody has open any more.
            Err(_) => return (count, Stop::End),
        }
    }
    (count, Stop::Full)
}

/// Sends the last words, as long as the other side lives.
fn flush(wire: &mut Wire, mut heard: Instant) {
    while wire.queued() > 0 && !wire.closed && heard.elapsed() < SILENCE {
        let mut fds = [
            PollFd::from_borrowed_fd(stdout(), PollFlags::OUT),
            PollFd::from_borrowed_fd(stdin(), PollFlags::IN),
        ];
        let _ = poll(&mut fds, Timespec::try_from(SECOND).ok().as_ref());
        if wire.receive() {
            heard = Instant::now();
        }
        while wire.next().is_some() {}
        wire.send();
    }
}

/// With its head a frame is as long as what shim and engine read at a time: longer, a frame would
/// leave a few bytes that go on their way alone.
const CHUNK: usize = LONGEST_PAYLOAD - 5;
/// With more than this to be sent, nothing more is read from the command: it waits for its reader.
const MOST_QUEUED: usize = 64 * 1024;
/// The most that an unprivileged process can have in a pipe.
const LARGEST_PIPE: usize = 1 << 20;
const ORPHANS: Duration = SECOND;
const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(20);
