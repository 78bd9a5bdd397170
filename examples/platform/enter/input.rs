//! From our standard input to the process.

use std::future::pending;

use bytes::{Buf, BytesMut};
use longshore::core::ExecInput;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use super::escape::{Escape, Typed};

/// Moves what is typed, and tells of escapes. It does not end: it is dropped. The end of the input is the
/// end of the process's input; that of a terminal is a reason to leave.
///
/// A process that does not read must not keep anybody from leaving, so a terminal is read further
/// for a while than what was passed on.
pub async fn forward(
    mut input: Option<ExecInput>,
    mut escape: Escape,
    is_terminal: bool,
    commands: mpsc::Sender<Typed>,
) {
    let most = if is_terminal { MOST_TYPED } else { 1 };
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 16 << 10];
    let (mut waiting, mut open) = (BytesMut::new(), true);
    while open || (input.is_some() && !waiting.is_empty()) {
        tokio::select! {
            read = stdin.read(&mut buffer), if open && waiting.len() < most => {
                let count = read.unwrap_or(0);
                for typed in escape.handle(&buffer[..count]) {
                    match typed {
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
    if is_terminal {
        let _ = commands.send(Typed::Leave).await;
    }
    // It is not for us to say that it is over.
    pending::<()>().await;
}

async fn pass(input: &mut Option<ExecInput>, waiting: &[u8]) -> std::io::Result<usize> {
    match input {
        Some(input) if !waiting.is_empty() => input.write(waiting).await,
        _ => pending().await,
    }
}

const MOST_TYPED: usize = 1 << 20;
