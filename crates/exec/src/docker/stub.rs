//! Sessions through the stub.

mod conversation;
mod placement;
mod pump;
mod session;
mod waiting;
mod window;
mod wrapped;

use std::fmt;

use bytes::Bytes;
use longshore_core::{Error, Result};

pub use self::waiting::WaitingStubs;
pub(super) use self::{
    placement::{PROGRAM, Placements, image},
    session::{NoStub, StubSession},
    waiting::Waiting,
};

/// The small static program that owns a session inside a container: it delivers signals, tells how
/// the command ended, and leaves nothing behind, whatever becomes of this program.
///
/// Build it with `cargo xtask stub` or as the crate `longshore-exec-stub` says, for the engine's
/// architecture, and bring it along: with `include_bytes!`, or as a file. Nothing is downloaded, and
/// nothing is built when your program is.
///
/// It is put into a container once, as the file `/.longshore-exec-stub-…` of about a megabyte. Where
/// the file system is read-only, a helper container that shares the container's processes lends it
/// through `/proc`, for as long as the container runs.
#[derive(Clone)]
pub struct Stub {
    program: Bytes,
    name: String,
}

impl Stub {
    /// From the program's bytes.
    ///
    /// # Errors
    /// They are no ELF program, or one that needs other files to run.
    pub fn new(program: impl Into<Bytes>) -> Result<Self> {
        let program = program.into();
        if !program.starts_with(b"\x7fELF") || program.len() < 64 {
            return Err(Error::invalid("the stub is no Linux program (ELF)"));
        }
        if program.len() > LARGEST {
            return Err(Error::invalid(format!(
                "the stub has {} bytes, more than {LARGEST}: build it with `cargo xtask stub`",
                program.len()
            )));
        }
        if needs_interpreter(&program) {
            return Err(Error::invalid(
                "the stub is linked dynamically and would not run in every image: build it with \
                 `cargo xtask stub`",
            ));
        }
        // FNV-1a: a name for these bytes, so that two versions don't meet in one container.
        let hash = program.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Ok(Self {
            program,
            name: format!("{hash:016x}"),
        })
    }

    /// For which processors it is, as `uname -m` names them: `x86_64` or `aarch64`. `None` for others.
    pub fn architecture(&self) -> Option<&'static str> {
        // `e_machine` of elf(5); both are little-endian.
        match self.program.get(18..20)? {
            [62, 0] => Some("x86_64"),
            [183, 0] => Some("aarch64"),
            _ => None,
        }
    }

    pub(super) fn program(&self) -> &Bytes {
        &self.program
    }

    /// Tells two programs apart.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub")
            .field("name", &self.name)
            .field("bytes", &self.program.len())
            .finish()
    }
}

/// Whether a 64-bit little-endian program asks for a dynamic linker (`PT_INTERP`, elf(5)). Others
/// are not looked at.
fn needs_interpreter(program: &[u8]) -> bool {
    let word = |at: usize, bytes: usize| -> Option<usize> {
        let slice = program.get(at..at.checked_add(bytes)?)?;
        let value = slice
            .iter()
            .rev()
            .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    let find = || -> Option<bool> {
        if program.get(4..6)? != [2, 1] {
            return None;
        }
        let (table, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
        for index in 0..count {
            let at = index.checked_mul(size)?.checked_add(table)?;
            if word(at, 4)? == 3 {
                return Some(true);
            }
        }
        Some(false)
    };
    find().unwrap_or(false)
}

const LARGEST: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_static_programs_are_taken() {
        let error = Stub::new(&b"#!/bin/sh\n"[..]).unwrap_err();
        assert!(error.message().contains("ELF"));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let mut header = own[..4096].to_vec();
        let error = Stub::new(header.clone()).unwrap_err();
        assert!(error.message().contains("dynamically"), "{error}");
        // No program headers at all.
        header[56..58].fill(0);
        let stub = Stub::new(header.clone()).unwrap();
        assert_eq!(stub.architecture(), Some(std::env::consts::ARCH));
        header[18] = 183;
        assert_eq!(
            Stub::new(header.clone()).unwrap().architecture(),
            Some("aarch64")
        );
        header[18] = 8;
        assert_eq!(Stub::new(header).unwrap().architecture(), None);
    }
}
