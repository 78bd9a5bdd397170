use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use longshore_core::{Error, ErrorKind, Result, http::Body};

/// What becomes of a line that is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlong {
    /// It ends the stream with an error.
    Fails,
    /// It is left out, and the stream goes on.
    IsSkipped,
}

/// The lines of a body, trimmed; empty ones are left out, a line has at most `longest` bytes.
pub(super) fn lines(
    body: Body,
    longest: usize,
    overlong: Overlong,
) -> impl Stream<Item = Result<Bytes>> + Send {
    let lines = Lines {
        body,
        longest,
        overlong,
        buffer: BytesMut::new(),
        searched: 0,
        within_skipped: false,
        skipped: 0,
        done: false,
    };
    stream::unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        lines.done |= line.is_err();
        Some((line, lines))
    })
}

struct Lines {
    body: Body,
    longest: usize,
    overlong: Overlong,
    buffer: BytesMut,
    /// No line ends before this point of the buffer.
    searched: usize,
    /// The buffer begins within a line that is left out.
    within_skipped: bool,
    skipped: u64,
    done: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            while let Some(line) = self.buffered() {
                let rest = std::mem::take(&mut self.within_skipped);
                if rest || line.is_empty() {
                    continue;
                }
                if line.len() <= self.longest {
                    return Some(Ok(line));
                }
                if let Some(error) = self.too_long() {
                    return Some(Err(error));
                }
            }
            if self.done {
                return None;
            }
            if self.within_skipped {
                self.drop_buffer();
            } else if self.buffer.len() > self.longest {
                if let Some(error) = self.too_long() {
                    return Some(Err(error));
                }
                self.within_skipped = true;
                self.drop_buffer();
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Some(Err(error)),
                None => {
                    // The last line may lack its end.
                    self.done = true;
                    self.buffer.extend_from_slice(b"\n");
                }
            }
        }
    }

    fn too_long(&mut self) -> Option<Error> {
        let longest = self.longest;
        match self.overlong {
            Overlong::Fails => {
                let text = format!("a line of the engine's answer is longer than {longest} bytes");
                Some(Error::new(ErrorKind::Protocol, text))
            }
            Overlong::IsSkipped => {
                self.skipped += 1;
                if self.skipped == 1 {
                    tracing::warn!(
                        longest,
                        "the engine sends lines that are too long: left out"
                    );
                } else {
                    tracing::debug!(longest, skipped = self.skipped, "a line was left out");
                }
                None
            }
        }
    }

    /// Its memory too: one long line should not be paid for as long as the stream lasts.
    fn drop_buffer(&mut self) {
        self.buffer = BytesMut::new();
        self.searched = 0;
    }

    fn buffered(&mut self) -> Option<Bytes> {
        let Some(at) = self.buffer[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at + 1).freeze();
        self.searched = 0;
        Some(line.slice_ref(line.trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use longshore_core::http::stream_body;

    use super::*;

    const LONGEST: usize = 1000;

    async fn read(pieces: Vec<Vec<u8>>, overlong: Overlong) -> Vec<Result<Bytes>> {
        let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from(piece)));
        let body = stream_body(stream::iter(pieces));
        lines(body, LONGEST, overlong).collect().await
    }

    #[tokio::test]
    async fn lines_split_anywhere_come_out_whole() {
        let wire = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            let read = read(vec![head.to_vec(), tail.to_vec()], Overlong::Fails).await;
            let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
            assert_eq!(read, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_an_error() {
        let read = read(vec![vec![b'x'; LONGEST]; 3], Overlong::Fails).await;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[tokio::test]
    async fn the_stream_goes_on_behind_a_line_that_is_left_out() {
        let long = |length| [vec![b'x'; length], b"\n".to_vec()].concat();
        let wire = [
            b"a\n".to_vec(),
            long(LONGEST + 1),
            b"b\n".to_vec(),
            long(10 * LONGEST),
            long(LONGEST),
            b"c".to_vec(),
        ]
        .concat();
        for size in [1, 7, LONGEST - 1, LONGEST, LONGEST + 1, wire.len()] {
            let pieces = wire.chunks(size).map(<[u8]>::to_vec).collect();
            let read = read(pieces, Overlong::IsSkipped).await;
            let read: Vec<_> = read.into_iter().map(|line| line.unwrap().len()).collect();
            assert_eq!(read, [1, 1, LONGEST, 1], "in pieces of {size}");
        }
    }
}
