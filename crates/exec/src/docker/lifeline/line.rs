use std::sync::Arc;

use bytes::Bytes;
use longshore_core::{BoxByteStream, Error, OutputKind, Result, http::Demultiplexer, printable};
use tokio::io::{AsyncReadExt, ReadHalf, WriteHalf};

use super::{Key, helper::Helper, seat::Seat};
use crate::{cleanup::Group, docker::api::Api};

/// The stream of a shell that runs.
pub(super) struct Line {
    pub(super) said: Said,
    pub(super) write: WriteHalf<BoxByteStream>,
    /// Behind the stream, whose end it is told first.
    helper: Option<Helper>,
}

/// What a shell says.
pub(super) struct Said {
    read: ReadHalf<BoxByteStream>,
    frames: Demultiplexer,
    unfinished: Vec<u8>,
    /// What was said on the other stream.
    complaint: Vec<u8>,
    buffer: Box<[u8; 512]>,
}

impl Line {
    /// Starts the shell and hears its first word.
    pub(super) async fn start(api: &Arc<Api>, key: &Key, group: &Group) -> Result<Self> {
        let (stream, helper) = Seat::start(api, key, group).await?;
        let (read, write) = tokio::io::split(stream);
        let said = Said {
            read,
            frames: Demultiplexer::new(),
            unfinished: Vec::new(),
            complaint: Vec::new(),
            buffer: Box::new([0; 512]),
        };
        let mut line = Self {
            said,
            write,
            helper,
        };
        let mut other = String::new();
        while other.len() < LONGEST_COMPLAINT
            && let Some(lines) = line.said.next().await
        {
            if lines.iter().any(|said| said == READY) {
                line.helper.iter_mut().for_each(Helper::stands);
                line.said.complaint = Vec::new();
                return Ok(line);
            }
            other.extend(lines);
        }
        for rest in [&line.said.unfinished, &line.said.complaint] {
            other.push_str(&String::from_utf8_lossy(rest));
        }
        let said = printable(other.trim(), 200).into_owned();
        Err(Error::unsupported(key.seat.complaint()).with_context(SAID, said))
    }
}

impl Said {
    /// Whole lines of what comes; `None` at its end. It comes from a container: it is bounded, and
    /// frames may be none.
    ///
    /// Dropped, it has lost nothing.
    pub(super) async fn next(&mut self) -> Option<Vec<String>> {
        let count = self.read.read(&mut self.buffer[..]).await.unwrap_or(0);
        if count == 0 {
            return None;
        }
        let mut piece = Bytes::copy_from_slice(&self.buffer[..count]);
        let mut lines = Vec::new();
        while let Some(output) = self.frames.next(&mut piece).ok()? {
            if output.kind != OutputKind::Stdout {
                let room = LONGEST_COMPLAINT.saturating_sub(self.complaint.len());
                self.complaint.extend(output.bytes.iter().take(room));
                continue;
            }
            for byte in output.bytes {
                match byte {
                    b'\n' => {
                        lines.push(String::from_utf8_lossy(&self.unfinished).into_owned());
                        self.unfinished.clear();
                    }
                    _ if self.unfinished.len() < LONGEST_COMPLAINT => self.unfinished.push(byte),
                    _ => {}
                }
            }
        }
        Some(lines)
    }
}

/// What was said instead of the word, in an error.
pub(super) const SAID: &str = "said";
const READY: &str = "ready";
const LONGEST_COMPLAINT: usize = 512;
