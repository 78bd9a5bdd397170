//! Between archives, which are read and written by threads, and bodies, which are streams.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf, Bytes};
use futures::Stream;
use tokio::sync::mpsc;

/// The end that is written to. Dropping it is the end of the bytes.
pub struct Pipe {
    pieces: mpsc::Sender<Bytes>,
    /// Bytes so far.
    pub moved: Arc<AtomicU64>,
}

/// The end that is read from.
pub struct PipeReader {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Pipe {
    pub fn new() -> (Self, PipeReader) {
        let (sender, receiver) = mpsc::channel(PIECES);
        let pipe = Self {
            pieces: sender,
            moved: Arc::default(),
        };
        let reader = PipeReader {
            pieces: receiver,
            piece: Bytes::new(),
        };
        (pipe, reader)
    }

    /// Says whether somebody still reads.
    pub async fn send(&self, piece: Bytes) -> bool {
        self.moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.pieces.send(piece).await.is_ok()
    }

    /// For a thread; in pieces of some size.
    pub fn writer(self) -> io::BufWriter<impl Write> {
        io::BufWriter::with_capacity(PIECE, self)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let count = piece.len();
        let sent = self.pieces.blocking_send(piece);
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PipeReader {
    pub fn stream(self) -> impl Stream<Item = longshore::Result<Bytes>> + Send + 'static {
        futures::stream::unfold(self.pieces, |mut pieces| async {
            let piece = pieces.recv().await?;
            Some((Ok(piece), pieces))
        })
    }
}

/// For a thread.
impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

const PIECES: usize = 8;
const PIECE: usize = 64 << 10;
