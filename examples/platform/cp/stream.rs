//! Archives as they are: `-` for our standard output or input.

use std::{
    io::{IsTerminal, stdin, stdout},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http::Method;
use http_body_util::BodyExt;
use longshore::{
    Error, Result,
    core::http::{empty_body, read_body, stream_body},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Archives, place::Inside, shown, successful};
use crate::{Failure, progress::Step, say::unwritten};

/// Before anything is asked for.
///
/// # Errors
/// The archive would go to a terminal, or come from one.
pub fn refuse_terminal(is_out: bool) -> std::result::Result<(), Failure> {
    let (is_terminal, text) = match is_out {
        true => (
            stdout().is_terminal(),
            "- writes an archive to the standard output, which is a terminal: send it to a file or a \
             program, such as | tar -x",
        ),
        false => (
            stdin().is_terminal(),
            "- reads an archive from the standard input, which is a terminal: send it one, such as by \
             tar -c FOLDER |",
        ),
    };
    match is_terminal {
        true => Err(Failure::new(text)),
        false => Ok(()),
    }
}

impl Archives {
    /// What an engine sends, byte for byte.
    pub(super) async fn read_out(
        &self,
        from: &Inside,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> std::result::Result<(), Failure> {
        let step = Step::start(format!("reading {from}"));
        let request = self.request(Method::GET, from, &from.path, "", empty_body())?;
        let response = successful(self.answer(request).await?, from).await?;
        let moved = AtomicU64::new(0);
        let mut body = response.into_body();
        let moving = async {
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else {
                    continue;
                };
                let written = to.write_all(&data).await;
                written.map_err(|error| unwritten(&error))?;
                moved.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
            to.flush().await.map_err(|error| unwritten(&error))
        };
        shown(&step, &moved, moving).await?;
        let bytes = moved.load(Ordering::Relaxed);
        step.done(&format!("an archive of {bytes} bytes"));
        Ok(())
    }

    /// An archive of ours, into a folder that is there.
    pub(super) async fn read_in(
        &self,
        from: impl AsyncRead + Send + Unpin + 'static,
        to: &Inside,
    ) -> std::result::Result<(), Failure> {
        let (to, stat) = self.follow(to).await?;
        if !stat.is_some_and(|stat| stat.is_folder) {
            return Err(Failure::new(format!(
                "there is no folder {to} to unpack an archive in; make it first"
            )));
        }
        let step = Step::start(format!("unpacking in {to}"));
        let moved = Arc::<AtomicU64>::default();
        let body = stream_body(pieces(from, Arc::clone(&moved)));
        let sent = self.call(
            Method::PUT,
            &to,
            &to.path,
            "&noOverwriteDirNonDir=true",
            body,
        );
        let response = shown(&step, &moved, sent).await?;
        read_body(response.into_body(), 64 << 10).await?;
        let bytes = moved.load(Ordering::Relaxed);
        step.done(&format!("an archive of {bytes} bytes"));
        Ok(())
    }
}

fn pieces(
    from: impl AsyncRead + Send + Unpin + 'static,
    moved: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold((from, moved), |(mut from, moved)| async {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = from.read_buf(&mut piece).await;
        let count = read.map_err(|error| Error::io("the archive can't be read", error))?;
        moved.fetch_add(count as u64, Ordering::Relaxed);
        Ok((count > 0).then(|| (piece.freeze(), (from, moved))))
    })
}

const PIECE: usize = 64 << 10;
