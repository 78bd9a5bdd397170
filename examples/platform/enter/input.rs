//! From our standard input to the process.

use std::{future::pending, io, time::Duration};

use bytes::{Buf, BytesMut};
use longshore::core::ExecInput;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Stdin as Input},
    sync::mpsc,
};

use super::escape::{Escape, Typed};
use crate::terminal;

/// What our standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// A terminal in raw mode: every key comes as it is typed.
    Keys,
    /// A terminal as it is: lines come, and Ctrl-C and Ctrl-Z are signals for us.
    Lines,
    /// No terminal. Its bytes are the process's, whatever they are.
    Pipe,
}

impl Stdin {
    /// Of a terminal that somebody is at, or not, and that is raw, or not.
    pub fn of(is_watched: bool, is_raw: bool) -> Self {
        match (is_watched, is_raw) {
            (false, _) => Self::Pipe,
            (true, false) => Self::Lines,
            (true, true) => Self::Keys,
        }
    }
}

/// Moves what is typed, and tells of escapes. It does not end: it is dropped. The end of the input is the
/// end of the process's input; that of a terminal is a reason to leave where it is the terminal that
/// went, or the process has no input.
///
/// What is typed while it is not taken goes nowhere, and is told among the commands.
///
/// A process that does not read must not keep anybody from leaving, so a terminal is read further
/// for a while than what was passed on.
pub async fn forward(
    mut input: Option<ExecInput>,
    mut escape: Escape,
    kind: Stdin,
    is_taken: impl Fn() -> bool,
    commands: mpsc::Sender<Typed>,
) {
    let is_terminal = kind != Stdin::Pipe;
    let leaves_at_end = kind == Stdin::Keys || (is_terminal && input.is_none());
    let most = if is_terminal { MOST_TYPED } else { 1 };
    let mut stdin = tokio::io::stdin();
    // Who passes nothing on may be put into the background, and looks on there.
    let looks_on = kind == Stdin::Lines && input.is_none();
    let mut buffer = vec![0; 16 << 10];
    // A pipe that nobody wants anything of is left to others.
    let (mut waiting, mut open) = (BytesMut::new(), is_terminal || input.is_some());
    while open || (input.is_some() && !waiting.is_empty()) {
        tokio::select! {
            read = read(&mut stdin, &mut buffer, looks_on), if open && waiting.len() < most => {
                let count = read.unwrap_or(0);
                for typed in escape.handle(&buffer[..count]) {
                    match typed {
                        // It is said why, and where a person typed it.
                        Typed::Bytes(bytes) if !is_taken() => {
                            let _ = commands.send(Typed::Bytes(bytes)).await;
                        }
                        Typed::Bytes(bytes) if input.is_some() => waiting.extend_from_slice(&bytes),
                        Typed::Bytes(_) => {}
                        command => {
                            let _ = commands.send(command).await;
                        }
                    }
                }
                if count == 0 {
                    open = false;
                    waiting.extend(escape.finish());
                }
            }
            written = pass(&mut input, &waiting) => match written {
                Ok(count) => waiting.advance(count),
                // Nobody reads any more. Whoever types may still want to leave.
                Err(_) => {
                    (input, open) = (None, open && is_terminal);
                    waiting.clear();
                }
            },
        }
    }
    if let Some(mut input) = input {
        let _ = input.shutdown().await;
    }
    if leaves_at_end {
        let _ = commands.send(Typed::Leave).await;
    }
    // It is not for us to say that it is over.
    pending::<()>().await;
}

/// Cancel safe.
async fn read(stdin: &mut Input, buffer: &mut [u8], looks_on: bool) -> io::Result<usize> {
    if looks_on {
        typed_for_us().await?;
    }
    stdin.read(buffer).await
}

/// Waits until there is something to read and we are in front. A program in the background that reads its
/// terminal is stopped, so it is looked at now and then, and not read before.
async fn typed_for_us() -> io::Result<()> {
    let input = io::stdin();
    loop {
        let mut fds = [PollFd::new(&input, PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec::default()))? > 0 && terminal::is_ours_to_read() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn pass(input: &mut Option<ExecInput>, waiting: &[u8]) -> io::Result<usize> {
    match input {
        Some(input) if !waiting.is_empty() => input.write(waiting).await,
        _ => pending().await,
    }
}

const MOST_TYPED: usize = 1 << 20;
/// Nobody notices it who types the way out.
const PAUSE: Duration = Duration::from_millis(100);
