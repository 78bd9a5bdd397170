use sha2::{Digest, Sha256};

use super::HASH;

/// The versions of the form: what a file begins with, and how its records are bound together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// SHA-256 of the hash before and the record.
    One,
    /// BLAKE3 of the hash before, what stands before the content, and the content's BLAKE3: the long
    /// part is hashed by itself, from its first byte on, which is what its tree is fastest at.
    Two,
}

impl Form {
    pub(super) const NEWEST: Self = Self::Two;

    pub(super) const ALL: [Self; 2] = [Self::One, Self::Two];

    /// What every version begins with.
    pub(super) const NAME: &[u8] = b"LONGSHORE RECORD ";

    pub(super) fn magic(self) -> &'static [u8] {
        match self {
            Self::One => b"LONGSHORE RECORD 1\n",
            Self::Two => b"LONGSHORE RECORD 2\n",
        }
    }

    /// The hash before the first record.
    pub(super) fn begin(self, head: &[u8]) -> [u8; HASH] {
        match self {
            Self::One => Sha256::digest(head).into(),
            Self::Two => blake3::hash(head).into(),
        }
    }

    /// The hash of a record, in two parts.
    pub(super) fn next(self, before: &[u8; HASH], lead: &[u8], content: &[u8]) -> [u8; HASH] {
        match self {
            Self::One => Sha256::new()
                .chain_update(before)
                .chain_update(lead)
                .chain_update(content)
                .finalize()
                .into(),
            Self::Two => {
                let content = blake3::hash(content);
                let mut hasher = blake3::Hasher::new();
                hasher
                    .update(before)
                    .update(lead)
                    .update(content.as_bytes());
                hasher.finalize().into()
            }
        }
    }
}
