use std::io::{self, ErrorKind, IoSlice, Write};

use bytes::Bytes;

/// Bytes to append to a log; long ones are not copied.
#[derive(Debug, Default)]
pub(in crate::record) struct Pieces {
    /// All that is short, in its order.
    short: Vec<u8>,
    /// What is long, and how much of `short` comes before it.
    long: Vec<(usize, Bytes)>,
    length: usize,
}

impl Pieces {
    pub(in crate::record) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.short.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    pub(super) fn put_shared(&mut self, bytes: Bytes) {
        if bytes.len() < LONG {
            return self.put(&bytes);
        }
        self.length += bytes.len();
        self.long.push((self.short.len(), bytes));
    }

    /// None of them is empty.
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        let before = self.long.iter().flat_map(move |(end, bytes)| {
            let short = &self.short[start..*end];
            start = *end;
            [short, &bytes[..]]
        });
        let last = self.long.last().map_or(0, |(end, _)| *end);
        let all = before.chain([&self.short[last..]]);
        all.filter(|slice| !slice.is_empty())
    }

    pub(in crate::record) fn append_to(&self, all: &mut Vec<u8>) {
        self.slices().for_each(|slice| all.extend_from_slice(slice));
    }

    /// Writes all of it.
    pub(in crate::record) fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        let mut slices: Vec<_> = self.slices().map(IoSlice::new).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match file.write_vectored(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(short: Vec<u8>) -> Self {
        Self {
            length: short.len(),
            short,
            long: Vec::new(),
        }
    }
}

/// Shorter ones are copied: a part of its own costs the kernel more.
const LONG: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes only so much at a time, and is interrupted in between.
    struct Slow {
        most: usize,
        interrupted: bool,
        all: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            unreachable!("it is written in parts")
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.interrupted = !self.interrupted;
            if self.interrupted {
                return Err(ErrorKind::Interrupted.into());
            }
            let before = self.all.len();
            let bytes = slices.iter().flat_map(|slice| slice.iter());
            self.all.extend(bytes.take(self.most));
            Ok(self.all.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_put_is_what_is_written() {
        let parts = [
            vec![1; 3],
            vec![2; LONG],
            Vec::new(),
            vec![3; 2 * LONG],
            vec![4; LONG - 1],
            vec![5; LONG],
        ];
        for count in 0..=parts.len() {
            let (mut pieces, expected) = (Pieces::default(), parts[..count].concat());
            for part in &parts[..count] {
                pieces.put_shared(Bytes::copy_from_slice(part));
            }
            assert_eq!(pieces.len(), expected.len());
            let mut all = Vec::new();
            pieces.append_to(&mut all);
            assert_eq!(all, expected);
            for most in [1, 700, 1 << 20] {
                let mut slow = Slow {
                    most,
                    interrupted: false,
                    all: Vec::new(),
                };
                pieces.write_to(&mut slow).unwrap();
                assert_eq!(slow.all, expected);
            }
        }
    }

    #[test]
    fn a_file_that_takes_nothing_is_an_error() {
        let mut pieces = Pieces::default();
        pieces.put(b"x");
        let mut full = Slow {
            most: 0,
            interrupted: false,
            all: Vec::new(),
        };
        let error = pieces.write_to(&mut full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WriteZero);
    }
}
