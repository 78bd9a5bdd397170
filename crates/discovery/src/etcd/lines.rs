//! Messages out of a long answer: one per line.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use longshore_core::{Error, ErrorKind, Result, http::Body};

/// The lines of a body, each at most so many bytes.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    searched: usize,
    longest: usize,
}

impl Lines {
    pub(super) fn new(body: Body, longest: usize) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            longest,
        }
    }

    /// The next line; `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let found = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let line = self.buffer.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > self.longest {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("a message of a watch is larger than {} bytes", self.longest),
                ));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use longshore_core::http::stream_body;

    fn lines(pieces: &[&'static str], longest: usize) -> Lines {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect();
        Lines::new(stream_body(stream::iter(pieces)), longest)
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut() {
        let mut lines = lines(&["{\"a", "\":1}\n{}", "\n", "rest"], 100);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(found, ["{\"a\":1}\n", "{}\n"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let error = lines(&["12345678", "9"], 8).next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    }
}
