//! A workload's output: kept within bounds, told from the beginning, followed to the end.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use longshore_core::{LogChunk, LogOptions, LogStream, OutputKind, Timestamp};
use tokio::sync::watch;

use crate::{
    journal::{Journal, Read},
    lifecycle::Phase,
};

/// One piece of output.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) at: Timestamp,
    pub(crate) kind: OutputKind,
    pub(crate) bytes: Bytes,
}

impl Output {
    /// What it costs to keep it.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

/// The stream that [`Engine::logs`](longshore_core::Engine::logs) gives.
pub(crate) fn log_stream(
    journal: Arc<Journal<Output>>,
    phase: watch::Receiver<Phase>,
    options: &LogOptions,
) -> LogStream {
    let (first, mut kept) = journal.kept();
    let next = first + kept.len() as u64;
    if let Some(since) = options.since {
        kept.retain(|output| output.at >= since);
    }
    if let Some(lines) = options.tail {
        keep_last_lines(&mut kept, lines);
    }
    let state = Follow {
        kept: kept.into(),
        journal,
        phase: options.follow.then_some(phase),
        next,
    };
    Box::pin(futures::stream::unfold(state, |mut state| async move {
        let output = state.next().await?;
        let chunk = LogChunk {
            kind: output.kind,
            bytes: output.bytes,
        };
        Some((Ok(chunk), state))
    }))
}

struct Follow {
    kept: VecDeque<Output>,
    journal: Arc<Journal<Output>>,
    /// `None` when new output is not wanted.
    phase: Option<watch::Receiver<Phase>>,
    next: u64,
}

impl Follow {
    async fn next(&mut self) -> Option<Output> {
        if let Some(output) = self.kept.pop_front() {
            return Some(output);
        }
        let phase = self.phase.as_mut()?;
        loop {
            // The phase is read first: all output of a run is in the journal before its end is
            // told, so nothing can come between.
            let active = phase.borrow_and_update().active;
            match self.journal.read(self.next) {
                Read::Item(output, next) => {
                    self.next = next;
                    return Some(output);
                }
                // A slow follower goes on with what is kept rather than slowing the workload.
                Read::Missed(first) => self.next = first,
                Read::End if !active => return None,
                Read::End => {
                    tokio::select! {
                        () = self.journal.reach(self.next) => {}
                        changed = phase.changed() => changed.ok()?,
                    }
                }
            }
        }
    }
}

/// Cuts off everything before the last `lines` lines. A last line without an end counts.
fn keep_last_lines(kept: &mut Vec<Output>, lines: u32) {
    let mut wanted = u64::from(lines);
    if wanted == 0 {
        kept.clear();
        return;
    }
    let mut is_last_byte = true;
    for index in (0..kept.len()).rev() {
        let bytes = &kept[index].bytes;
        for place in (0..bytes.len()).rev() {
            // The newline at the very end closes the last line, it does not begin another.
            if bytes[place] == b'\n' && !is_last_byte {
                wanted -= 1;
                if wanted == 0 {
                    kept[index].bytes = bytes.slice(place + 1..);
                    kept.drain(..index);
                    return;
                }
            }
            is_last_byte = false;
        }
    }
}

const OVERHEAD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&'static str], lines: u32, expected: &str) {
        let mut kept: Vec<Output> = pieces
            .iter()
            .map(|piece| Output {
                at: Timestamp::ZERO,
                kind: OutputKind::Stdout,
                bytes: Bytes::from_static(piece.as_bytes()),
            })
            .collect();
        keep_last_lines(&mut kept, lines);
        let text: Vec<u8> = kept
            .iter()
            .flat_map(|output| output.bytes.to_vec())
            .collect();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    #[test]
    fn a_tail_is_cut_at_lines_wherever_the_pieces_end() {
        check(&["a\nb\nc\n"], 2, "b\nc\n");
        check(&["a\nb", "\nc\n"], 2, "b\nc\n");
        check(&["a\n", "b\n", "c"], 2, "b\nc");
        check(&["a\n", "b\n", "c\n"], 9, "a\nb\nc\n");
        check(&["a\n\n\n"], 2, "\n\n");
        check(&["a\nb\n"], 0, "");
        check(&["", "a\n", ""], 1, "a\n");
        check(&[], 3, "");
    }
}
