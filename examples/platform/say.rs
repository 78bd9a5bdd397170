//! What a person reads: results on standard output, everything else on standard error.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

use crate::Failure;

/// Writes a line of a result. Whoever reads it may have left (`platform list … | head -1`), and a
/// disk may be full: both end the command, and neither is a defect.
pub fn say(text: impl fmt::Display) -> Result<(), Failure> {
    say_to(&mut io::stdout().lock(), text)
}

/// Tells what happens beside the result. Nothing can be said of a failure to say it.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Why a result could not be written.
pub fn unwritten(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(AFTER_SIGPIPE),
        _ => Failure::new(format!("can't write to the standard output: {error}")),
    }
}

fn say_to(output: &mut impl Write, text: impl fmt::Display) -> Result<(), Failure> {
    writeln!(output, "{text}")
        .and_then(|()| output.flush())
        .map_err(|error| unwritten(&error))
}

/// How a shell shows a program that SIGPIPE ended.
const AFTER_SIGPIPE: u8 = 141;

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_ends_the_command_quietly() {
        let failure = say_to(&mut Broken(ErrorKind::BrokenPipe), "x").unwrap_err();
        assert_eq!((failure.message.as_str(), failure.code), ("", 141));
    }

    #[test]
    fn a_full_disk_is_an_error_with_words() {
        let failure = say_to(&mut Broken(ErrorKind::StorageFull), "x").unwrap_err();
        assert_eq!(
            (failure.message.as_str(), failure.code),
            ("can't write to the standard output: no storage space", 1)
        );
    }
}
