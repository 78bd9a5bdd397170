use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use longshore_core::{Error, ErrorKind, Result, http::Body};

/// The lines of a body, trimmed; empty ones are left out, a line has at most 1 MiB.
pub(super) fn lines(body: Body) -> impl Stream<Item = Result<Bytes>> + Send {
    let lines = Lines {
        body,
        buffer: BytesMut::new(),
        searched: 0,
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
    buffer: BytesMut,
    /// No line ends before this point of the buffer.
    searched: usize,
    done: bool,
}

impl Lines {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            while let Some(line) = self.buffered() {
                if !line.is_empty() {
                    return Some(Ok(line));
                }
            }
            if self.done {
                return None;
            }
            if self.buffer.len() > LONGEST {
                let text = format!("a line of the engine's answer is longer than {LONGEST} bytes");
                return Some(Err(Error::new(ErrorKind::Protocol, text)));
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

const LONGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use longshore_core::http::stream_body;

    use super::*;

    async fn read(pieces: Vec<Vec<u8>>) -> Vec<Result<Bytes>> {
        let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from(piece)));
        lines(stream_body(stream::iter(pieces))).collect().await
    }

    #[tokio::test]
    async fn lines_split_anywhere_come_out_whole() {
        let wire = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            let read = read(vec![head.to_vec(), tail.to_vec()]).await;
            let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
            assert_eq!(read, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"]);
        }
    }

    #[tokio::test]
    async fn an_endless_line_is_an_error() {
        let read = read(vec![vec![b'x'; LONGEST]; 3]).await;
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap_err().kind(), ErrorKind::Protocol);
    }
}
