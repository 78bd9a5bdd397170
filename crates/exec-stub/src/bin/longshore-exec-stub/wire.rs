//! The two standard streams, through which the stub is told what to do and says what happens.

use std::io;

use longshore_exec_stub::{Decoder, FromStub, ToStub};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, read, write},
    stdio::{stdin, stdout},
};

use crate::child::Source;

/// Frames in and out. Nothing blocks.
#[derive(Debug)]
pub(crate) struct Wire {
    decoder: Decoder<ToStub>,
    out: Vec<u8>,
    /// How much of `out` was sent.
    sent: usize,
    buffer: Vec<u8>,
    /// Nobody is at the other end any more.
    pub(crate) closed: bool,
}

impl Wire {
    pub(crate) fn open() -> io::Result<Self> {
        fcntl_setfl(stdin(), fcntl_getfl(stdin())? | OFlags::NONBLOCK)?;
        fcntl_setfl(stdout(), fcntl_getfl(stdout())? | OFlags::NONBLOCK)?;
        Ok(Self {
            decoder: Decoder::new(),
            out: Vec::new(),
            sent: 0,
            buffer: vec![0; 32 * 1024],
            closed: false,
        })
    }

    /// Queues a message and sends what the stream takes.
    pub(crate) fn say(&mut self, message: &FromStub) {
        message.write(&mut self.out);
        self.send();
    }

    /// As [`say`](Self::say), for output that stays where it is.
    pub(crate) fn say_output(&mut self, source: Source, bytes: &[u8]) {
        match source {
            Source::Output => FromStub::write_output(bytes, &mut self.out),
            Source::Errors => FromStub::write_errors(bytes, &mut self.out),
        }
        self.send();
    }

    /// How many bytes are still to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends what the stream takes.
    pub(crate) fn send(&mut self) {
        while self.queued() > 0 && !self.closed {
            match write(stdout(), &self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => self.closed = true,
            }
        }
        if self.sent == self.out.len() || self.sent >= MOST_SENT {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads what has come. Whether anything has.
    pub(crate) fn receive(&mut self) -> bool {
        match read(stdin(), &mut self.buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => {
                self.decoder.push(&self.buffer[..count]);
                return true;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.closed = true,
        }
        false
    }

    /// The next message that was read. What can't be understood ends the session.
    pub(crate) fn next(&mut self) -> Option<ToStub> {
        match self.decoder.next_message() {
            Ok(message) => message,
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }
}

/// What was sent is thrown away by then.
const MOST_SENT: usize = 64 * 1024;
