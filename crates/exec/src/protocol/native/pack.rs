//! Compressed output. Bounded in both directions: what comes out of a frame is what it says, and no
//! more is made room for.

use bytes::Bytes;
#[cfg(feature = "client")]
use longshore_core::{Error, Result};
#[cfg(feature = "gateway")]
use miniz_oxide::deflate::compress_to_vec;
#[cfg(feature = "client")]
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags},
};

/// Compresses what gets shorter by it. It keeps nothing between two pieces but how that went, so an
/// idle session costs no memory for it.
#[cfg(feature = "gateway")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Packer {
    /// So many pieces are not tried.
    skip: u32,
}

#[cfg(feature = "gateway")]
impl Packer {
    /// `None`: it is better sent as it is.
    pub(crate) fn pack(&mut self, bytes: &[u8]) -> Option<Bytes> {
        if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        let packed = compress_to_vec(bytes, LEVEL);
        if packed.len() > bytes.len() - bytes.len() / 8 {
            // Pictures, archives: what follows is likely of the same kind.
            self.skip = PAUSE;
            return None;
        }
        Some(packed.into())
    }
}

/// What was compressed, which must be of this length.
///
/// # Errors
/// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol): it is not.
#[cfg(feature = "client")]
pub(crate) fn unpack(packed: &[u8], length: u32) -> Result<Bytes> {
    let length = length as usize;
    if !(1..=LONGEST).contains(&length) {
        return Err(Error::protocol(format!(
            "compressed output of {length} bytes; at most {LONGEST} may be in one piece"
        )));
    }
    let mut bytes = vec![0; length];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = Box::<DecompressorOxide>::default();
    let (status, read, written) = decompress(&mut state, packed, &mut bytes, 0, flags);
    match status {
        TINFLStatus::Done if read == packed.len() && written == length => Ok(bytes.into()),
        TINFLStatus::HasMoreOutput => Err(Error::protocol(format!(
            "compressed output is longer than the {length} bytes that it says"
        ))),
        _ => Err(Error::protocol("compressed output is damaged")),
    }
}

/// Below this a frame's head and the codes outweigh what is saved.
#[cfg(feature = "gateway")]
const SHORTEST: usize = 256;
/// The longest OUTPUT has 64 KiB.
const LONGEST: usize = 256 << 10;
/// The fastest that finds repetitions.
#[cfg(feature = "gateway")]
const LEVEL: u8 = 1;
#[cfg(feature = "gateway")]
const PAUSE: u32 = 16;

#[cfg(all(test, feature = "client", feature = "gateway"))]
mod tests {
    use longshore_core::{Random, SeededRandom};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_packed_is_unpacked(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..30), 1usize..40), 0..20),
        ) {
            let bytes: Vec<u8> = parts.iter().flat_map(|(bytes, times)| bytes.repeat(*times)).collect();
            if let Some(packed) = Packer::default().pack(&bytes) {
                prop_assert!(packed.len() < bytes.len());
                prop_assert_eq!(unpack(&packed, bytes.len() as u32).unwrap(), bytes);
            }
        }

        /// Whatever comes: exactly as much as was said, or a refusal.
        #[test]
        fn no_bytes_make_more_than_they_say(bytes in prop::collection::vec(any::<u8>(), 0..200), length in 0u32..5000) {
            if let Ok(unpacked) = unpack(&bytes, length) {
                prop_assert_eq!(unpacked.len(), length as usize);
            }
        }

        #[test]
        fn a_changed_frame_is_no_longer_than_it_says(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let text = b"the same again and again, ".repeat(200);
            let mut packed = Packer::default().pack(&text).unwrap().to_vec();
            let at = at.index(packed.len());
            packed[at] = to;
            if let Ok(unpacked) = unpack(&packed, text.len() as u32) {
                prop_assert_eq!(unpacked.len(), text.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let zeros = vec![0; LONGEST];
        let packed = Packer::default().pack(&zeros).unwrap();
        assert!(packed.len() < 2000);
        assert_eq!(unpack(&packed, LONGEST as u32).unwrap(), zeros);
        for (length, says) in [
            (0, "at most"),
            (100, "longer than the 100"),
            (LONGEST as u32 - 1, "longer than"),
            (LONGEST as u32 + 1, "at most"),
            (u32::MAX, "at most"),
        ] {
            let error = unpack(&packed, length).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let mut longer = packed.to_vec();
        longer.push(0);
        assert!(unpack(&longer, LONGEST as u32).is_err());
        assert!(unpack(&packed[..packed.len() - 1], LONGEST as u32).is_err());
    }

    #[test]
    fn what_does_not_get_shorter_is_left_and_not_tried_again_at_once() {
        let mut packer = Packer::default();
        let mut noise = vec![0; 4096];
        SeededRandom::new(1).fill(&mut noise);
        let text = vec![b'a'; 4096];
        assert!(packer.pack(&noise).is_none());
        for _ in 0..PAUSE {
            assert!(packer.pack(&text).is_none());
        }
        assert!(packer.pack(&text).is_some());
        assert!(packer.pack(b"short").is_none());
    }
}
