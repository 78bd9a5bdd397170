//! ZooKeeper's records ("jute"): big-endian numbers, texts and bytes with their length before them.
//! Pure.

use bytes::{Buf, Bytes};
use longshore_core::{Error, Result};

/// Kinds of request (`ZooDefs.OpCode`).
pub(super) mod op {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const SYNC: i32 = 9;
    pub(crate) const PING: i32 = 11;
    pub(crate) const GET_CHILDREN: i32 = 12;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const AUTH: i32 = 100;
    pub(crate) const ADD_WATCH: i32 = 106;
    pub(crate) const CLOSE: i32 = -11;
}

/// A record being written.
#[derive(Debug, Default)]
pub(super) struct Record(pub(super) Vec<u8>);

impl Record {
    pub(super) fn int(mut self, number: i32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn long(mut self, number: i64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn flag(mut self, flag: bool) -> Self {
        self.0.push(u8::from(flag));
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        // Keys and values are bounded far below.
        let mut this = self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        this.0.extend_from_slice(bytes);
        this
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }
}

/// A record being read.
#[derive(Clone, Debug)]
pub(super) struct Reader(pub(super) Bytes);

impl Reader {
    pub(super) fn int(&mut self) -> Result<i32> {
        self.0.try_get_i32().map_err(|_| short())
    }

    pub(super) fn long(&mut self) -> Result<i64> {
        self.0.try_get_i64().map_err(|_| short())
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        Ok(self.0.try_get_u8().map_err(|_| short())? != 0)
    }

    /// A length of -1 stands for nothing.
    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.int()?).unwrap_or(0);
        if length > self.0.len() {
            return Err(short());
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>> {
        let count = usize::try_from(self.int()?).unwrap_or(0);
        // Each has four bytes of length at least, so nothing is allocated on a lie.
        if count > self.0.len() / 4 {
            return Err(short());
        }
        (0..count).map(|_| self.text()).collect()
    }

    pub(super) fn stat(&mut self) -> Result<Stat> {
        let created = self.long()?;
        let modified = self.long()?;
        let (_, _) = (self.long()?, self.long()?);
        let version = self.int()?;
        let (_, _) = (self.int()?, self.int()?);
        let owner = self.long()?;
        let _ = self.int()?;
        let children = self.int()?;
        let children_changed = self.long()?;
        Ok(Stat {
            created,
            modified,
            version,
            owner,
            children,
            children_changed,
        })
    }
}

/// What ZooKeeper knows of a znode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) created: i64,
    pub(super) modified: i64,
    pub(super) version: i32,
    /// The session of an ephemeral znode, or 0.
    pub(super) owner: i64,
    pub(super) children: i32,
    pub(super) children_changed: i64,
}

fn short() -> Error {
    Error::protocol("zookeeper sent a record that is cut short").with_backend("zookeeper")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let record = Record::default()
            .int(-2)
            .long(7)
            .flag(true)
            .text("ä")
            .bytes(b"\0x");
        let mut reader = Reader(record.0.into());
        assert_eq!((reader.int().unwrap(), reader.long().unwrap()), (-2, 7));
        assert!(reader.flag().unwrap());
        assert_eq!(reader.text().unwrap(), "ä");
        assert_eq!(reader.bytes().unwrap(), &b"\0x"[..]);
        assert!(reader.int().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let reader = Reader(bytes.into());
            let _ = reader.clone().texts();
            let _ = reader.clone().stat();
            let _ = reader.clone().bytes();
        }
    }
}
