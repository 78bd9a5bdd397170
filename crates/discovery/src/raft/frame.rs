//! What stands on a stream: who dials, and then frames, each with its length before it.

use bytes::{BufMut, Bytes, BytesMut};
use longshore_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::options::LONGEST_NAME;

/// Who dials, and what for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// A member, which only sends.
    Member(String),
    /// A client, which asks and is answered.
    Client,
}

impl Hello {
    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let (kind, name) = match self {
            Self::Member(name) => (1, name.as_str()),
            Self::Client => (2, ""),
        };
        let mut out = BytesMut::from(MAGIC);
        out.put_u8(VERSION);
        out.put_u8(kind);
        // Checked where it came in.
        out.put_u8(u8::try_from(name.len()).unwrap_or(0));
        out.put_slice(name.as_bytes());
        to.write_all(&out).await.map_err(broken)?;
        to.flush().await.map_err(broken)
    }

    /// # Errors
    /// Somebody else's protocol, or another version of this one.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Self> {
        let mut head = [0; 7];
        from.read_exact(&mut head).await.map_err(broken)?;
        if &head[..4] != MAGIC {
            return Err(Error::protocol(
                "the peer does not speak the managers' protocol",
            ));
        }
        if head[4] != VERSION {
            return Err(Error::unsupported(format!(
                "the peer speaks version {} of the managers' protocol, not {VERSION}",
                head[4]
            )));
        }
        let mut name = vec![0; usize::from(head[6]).min(LONGEST_NAME)];
        from.read_exact(&mut name).await.map_err(broken)?;
        match head[5] {
            1 => String::from_utf8(name)
                .map(Self::Member)
                .map_err(|_| Error::protocol("the peer's name is no text")),
            2 => Ok(Self::Client),
            _ => Err(Error::protocol("the peer is neither manager nor client")),
        }
    }
}

/// Puts a frame behind others.
pub(super) fn push(out: &mut BytesMut, frame: &[u8]) {
    // Far below, as all that is sent is bounded.
    out.put_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
    out.put_slice(frame);
}

/// The next frame; none at the end of the stream.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Bytes>> {
    let mut length = [0; 4];
    if let Err(error) = from.read_exact(&mut length).await {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Ok(None),
            _ => Err(broken(error)),
        };
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LARGEST {
        return Err(Error::protocol(format!(
            "a frame of {length} bytes, more than {LARGEST}"
        )));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await.map_err(broken)?;
    Ok(Some(frame.into()))
}

pub(super) fn broken(error: std::io::Error) -> Error {
    Error::unavailable("the connection between managers broke")
        .with_source(error)
        .with_backend("raft")
}

const MAGIC: &[u8] = b"LSRF";
const VERSION: u8 = 1;

/// More than a command with what is around it.
pub(super) const LARGEST: usize = LARGEST_COMMAND + (2 << 20);

/// Of one change, with all its keys and values.
pub(super) const LARGEST_COMMAND: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hello_is_read_as_written_and_nothing_else_is() {
        for hello in [Hello::Member("m-1".to_owned()), Hello::Client] {
            let mut bytes = std::io::Cursor::new(Vec::new());
            hello.write(&mut bytes).await.unwrap();
            let read = Hello::read(&mut &bytes.into_inner()[..]).await.unwrap();
            assert_eq!(read, hello);
        }
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"LSRF\x02\x01\x00",
            b"LSRF\x01\x07\x00",
            b"LS",
        ] {
            assert!(Hello::read(&mut &bytes[..]).await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_frame_that_claims_too_much_is_refused_before_it_is_read() {
        let claims = u32::MAX.to_be_bytes();
        let error = read(&mut &claims[..]).await.unwrap_err();
        assert_eq!(error.kind(), longshore_core::ErrorKind::Protocol);
        let mut frames = BytesMut::new();
        push(&mut frames, b"one");
        push(&mut frames, b"");
        let mut from = &frames[..];
        assert_eq!(read(&mut from).await.unwrap().unwrap(), "one");
        assert_eq!(read(&mut from).await.unwrap().unwrap(), "");
        assert_eq!(read(&mut from).await.unwrap(), None);
    }
}
