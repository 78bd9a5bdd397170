use bytes::{Bytes, BytesMut};
use longshore_core::{ErrorKind, Result};

use crate::session::Attachment;

/// Input that its session has no room for, of a client that does not count it. It waits here, so that
/// what comes behind it (sizes, pauses, pings and their answers) is still read.
#[derive(Debug, Default)]
pub(super) struct HeldInput {
    bytes: BytesMut,
    /// The input ends behind it.
    ends: bool,
}

impl HeldInput {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether another message may be read. It has its own limit
    /// ([`GatewayOptions::message`](super::GatewayOptions::message)).
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < MOST
    }

    /// Gives input to its session as far as there is room, and keeps the rest.
    ///
    /// # Errors
    /// As for [`Attachment::receive`].
    pub(super) fn push(&mut self, mut bytes: Bytes, to: &Attachment) -> Result<()> {
        if self.ends {
            return Ok(());
        }
        if self.bytes.is_empty() {
            let now = bytes.split_to(to.free_input().min(bytes.len()));
            give(now, to)?;
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    /// There is room for so much.
    ///
    /// # Errors
    /// As for [`Attachment::receive`].
    pub(super) fn pass_on(&mut self, room: usize, to: &Attachment) -> Result<()> {
        let piece = self.bytes.split_to(room.min(self.bytes.len())).freeze();
        if self.bytes.is_empty() {
            // Its memory belongs to the piece; what comes begins anew.
            self.bytes = BytesMut::new();
        }
        give(piece, to)?;
        match self.ends && self.bytes.is_empty() {
            true => to.end_input(None),
            false => Ok(()),
        }
    }

    /// The input ends behind what is held.
    ///
    /// # Errors
    /// As for [`Attachment::end_input`].
    pub(super) fn end(&mut self, at: Option<u64>, to: &Attachment) -> Result<()> {
        if self.bytes.is_empty() {
            return to.end_input(at);
        }
        self.ends = true;
        Ok(())
    }
}

fn give(bytes: Bytes, to: &Attachment) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match to.receive(None, bytes) {
        // Input behind its end is no reason to lose the output.
        Err(error) if error.kind() == ErrorKind::Protocol => Ok(()),
        other => other,
    }
}

const MOST: usize = 64 << 10;
