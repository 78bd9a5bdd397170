//! Passed, failed, skipped.

use std::fmt;
use std::ops::Add;

use super::junit::skip_in;

/// How many checks ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// A stage that is one check.
    pub(crate) fn check(success: bool) -> Self {
        Self {
            passed: usize::from(success),
            failed: usize::from(!success),
            skipped: 0,
        }
    }

    pub(crate) fn failed() -> Self {
        Self::check(false)
    }

    /// Says that `suite` did not run, and counts it.
    pub(crate) fn skip(suite: &str, reason: &str) -> Self {
        println!("SKIPPED {suite}: {reason}");
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    /// Counts from a command that failed: at least one failure, even if no test
    /// got as far as failing.
    pub(crate) fn or_failed(mut self, success: bool) -> Self {
        if !success {
            self.failed = self.failed.max(1);
        }
        self
    }

    /// From a line as [`Display`](fmt::Display) makes it.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(", ");
        let mut number = |word: &str| {
            let (number, found) = parts.next()?.split_once(' ')?;
            (found == word).then(|| number.parse().ok()).flatten()
        };
        let counts = Self {
            passed: number("passed")?,
            failed: number("failed")?,
            skipped: number("skipped")?,
        };
        parts.next().is_none().then_some(counts)
    }

    /// What one line of `cargo test` adds. A test that says it was skipped is
    /// also reported as passed: the later `test result` line would count it twice.
    pub(crate) fn see(&mut self, line: &str) {
        if skip_in(line).is_some() {
            self.skipped += 1;
            self.passed = self.passed.wrapping_sub(1);
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.passed = self.passed.wrapping_add(number_before(result, " passed"));
            self.failed += number_before(result, " failed");
        }
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let Some((before, _)) = text.split_once(word) else {
        return 0;
    };
    before
        .rsplit(' ')
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_and_skips_are_read_from_cargo_test() {
        let mut counts = Counts::default();
        for line in [
            "test x ... SKIPPED lab_x: needs root",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "not SKIPPED at all",
        ] {
            counts.see(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 14,
                failed: 2,
                skipped: 1
            }
        );
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let counts = Counts {
            passed: 14,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(Counts::parse(&counts.to_string()), Some(counts));
        for other in [
            "━━ fresh: 2 passed, 0 failed, 0 skipped in 3.0 s",
            "2 passed, 0 failed",
            "passed, failed, skipped",
            "",
        ] {
            assert_eq!(Counts::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_failed_command_counts_even_without_a_failed_test() {
        assert_eq!(Counts::default().or_failed(false), Counts::failed());
        assert_eq!(Counts::default().or_failed(true), Counts::default());
    }
}
