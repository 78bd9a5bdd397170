//! The two standard streams, through which the stub is told what to do and says what happens.

use std::{collections::VecDeque, io};

use longshore_exec_stub::{Decoder, FromStub, ToStub};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, read, write},
    stdio::{stdin, stdout},
};

/// Frames in and out. Nothing blocks.
#[derive(Debug)]
pub(crate) struct Wire {
    decoder: Decoder<ToStub>,
    out: VecDeque<u8>,
    frame: Vec<u8>,
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
            out: VecDeque::new(),
            frame: Vec::new(),
            buffer: vec![0; 32 * 1024],
            closed: false,
        })
    }

    /// Queues a message and sends what the stream takes.
    pub(crate) fn say(&mut self, message: &FromStub) {
        self.frame.clear();
        message.write(&mut self.frame);
        self.out.extend(&self.frame);
        self.send();
    }

    /// How many bytes are still to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.out.len()
    }

    /// Sends what the stream takes.
    pub(crate) fn send(&mut self) {
        while !self.out.is_empty() && !self.closed {
            match write(stdout(), self.out.as_slices().0) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.closed = true,
            }
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
