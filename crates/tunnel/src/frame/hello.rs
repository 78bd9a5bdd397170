use bytes::{BufMut, BytesMut};

use super::{HEADER, header, kind};

/// The first frame of each side: which versions it speaks and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The lowest protocol version that the side speaks.
    pub lowest_version: u16,
    /// The highest protocol version that the side speaks.
    pub highest_version: u16,
    /// How many streams the other side may hold open.
    pub max_streams: u32,
    /// How many bytes of one stream it takes before it gives more credit.
    pub stream_credit: u32,
    /// How many bytes of all streams together it takes before it gives more credit.
    pub carrier_credit: u32,
}

impl Hello {
    pub(crate) const MAX_LENGTH: usize = 256;
    const MAGIC: [u8; 4] = *b"LNGS";
    const LENGTH: usize = 20;

    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(HEADER + Self::LENGTH);
        out.put_slice(&header(kind::HELLO, 0, Self::LENGTH, 0));
        out.put_slice(&Self::MAGIC);
        out.put_u16(self.lowest_version);
        out.put_u16(self.highest_version);
        out.put_u32(self.max_streams);
        out.put_u32(self.stream_credit);
        out.put_u32(self.carrier_credit);
        out
    }

    /// Reads a payload; bytes after the known fields belong to later versions.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let fields = payload.get(..Self::LENGTH)?;
        let word = |at: usize| {
            u32::from_be_bytes([fields[at], fields[at + 1], fields[at + 2], fields[at + 3]])
        };
        (fields[..4] == Self::MAGIC).then(|| Self {
            lowest_version: u16::from_be_bytes([fields[4], fields[5]]),
            highest_version: u16::from_be_bytes([fields[6], fields[7]]),
            max_streams: word(8),
            stream_credit: word(12),
            carrier_credit: word(16),
        })
    }
}
