//! Records with their length before them, on a stream.

use bytes::{Buf, Bytes, BytesMut};
use longshore_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::store::told;

/// The next frame of at most `longest` bytes. Cancel safe: what was read stays in the buffer.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    longest: usize,
) -> Result<Bytes> {
    loop {
        if let Some(head) = buffer.first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(usize::MAX);
            if length > longest {
                return Err(Error::protocol(format!(
                    "zookeeper announced a record of more than {longest} bytes"
                )));
            }
            if buffer.len() >= 4 + length {
                buffer.advance(4);
                return Ok(buffer.split_to(length).freeze());
            }
            buffer.reserve(4 + length - buffer.len());
        }
        let read = stream.read_buf(buffer).await;
        match read {
            Ok(0) => return Err(Error::unavailable("zookeeper closed the connection")),
            Ok(_) => {}
            Err(error) => {
                let broken = || Error::unavailable("the connection to zookeeper broke");
                return Err(told(&error).unwrap_or_else(broken).with_source(error));
            }
        }
    }
}

/// A frame around a record.
pub(super) fn around(record: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(4 + record.len());
    let length = i32::try_from(record.len()).unwrap_or(i32::MAX);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(record);
    frame
}
