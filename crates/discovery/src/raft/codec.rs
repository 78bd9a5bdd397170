//! Numbers, texts and bytes, one behind the other. Pure. Every length is checked against what is
//! there before anything is allocated.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use longshore_core::{Error, Result};

#[derive(Debug, Default)]
pub(super) struct Writer(BytesMut);

impl Writer {
    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.put_u8(value);
        self
    }

    pub(super) fn number(&mut self, value: u64) -> &mut Self {
        self.0.put_u64(value);
        self
    }

    pub(super) fn wide(&mut self, value: u128) -> &mut Self {
        self.0.put_u128(value);
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.number(value.len() as u64);
        self.0.put_slice(value);
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(super) fn maybe<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => {
                self.byte(1);
                write(self, value);
                self
            }
        }
    }

    pub(super) fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) -> &mut Self {
        self.number(values.len() as u64);
        for value in values {
            write(self, value);
        }
        self
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

#[derive(Debug)]
pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        self.need(8)?;
        Ok(self.0.get_u64())
    }

    pub(super) fn wide(&mut self) -> Result<u128> {
        self.need(16)?;
        Ok(self.0.get_u128())
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed()),
        }
    }

    /// Shares the memory that it came in.
    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.length(1)?;
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.into()).map_err(|_| malformed())
    }

    pub(super) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.flag()? {
            false => Ok(None),
            true => read(self).map(Some),
        }
    }

    /// Values of at least `smallest` bytes each.
    pub(super) fn list<T>(
        &mut self,
        smallest: usize,
        mut read: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.length(smallest)?;
        (0..count).map(|_| read(self)).collect()
    }

    /// Nothing may be left over.
    pub(super) fn end(&self) -> Result<()> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(malformed()),
        }
    }

    fn length(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| malformed())?;
        let bytes = count.checked_mul(each).ok_or_else(malformed)?;
        self.need(bytes)?;
        Ok(count)
    }

    fn need(&self, bytes: usize) -> Result<()> {
        match self.0.len() >= bytes {
            true => Ok(()),
            false => Err(malformed()),
        }
    }
}

pub(super) fn malformed() -> Error {
    Error::protocol("a manager's message or file can't be read: it is cut short or malformed")
        .with_backend("raft")
}
