use std::fmt;

use longshore_core::Random;
use subtle::ConstantTimeEq;

/// What a client shows to come back to its session: 32 random bytes, in hexadecimal on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self(random.hex(32).into_boxed_str())
    }

    /// The text for the client. Not for logs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Hides the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of a session: the newest, and the one before until the newest was used, because the
/// answer that carried the newest may have been lost.
#[derive(Debug)]
pub(super) struct Secrets {
    current: Secret,
    previous: Option<Secret>,
}

impl Secrets {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self {
            current: Secret::new(random),
            previous: None,
        }
    }

    pub(super) fn current(&self) -> &Secret {
        &self.current
    }

    /// Whether `shown` is valid; compared in constant time.
    pub(super) fn knows(&self, shown: &str) -> bool {
        let (current, previous) = self.compare(shown);
        current || previous
    }

    fn compare(&self, shown: &str) -> (bool, bool) {
        let is = |secret: &Secret| bool::from(secret.0.as_bytes().ct_eq(shown.as_bytes()));
        let previous = self.previous.as_ref().is_some_and(is);
        (is(&self.current), previous)
    }

    /// As [`knows`](Self::knows). If it is, a new one takes its place.
    pub(super) fn renew(&mut self, shown: &str, random: &dyn Random) -> bool {
        let (current, previous) = self.compare(shown);
        if current {
            self.previous = Some(std::mem::replace(&mut self.current, Secret::new(random)));
        } else if previous {
            self.current = Secret::new(random);
        }
        current || previous
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::SeededRandom;

    use super::*;

    #[test]
    fn the_one_before_is_valid_until_the_newest_was_used() {
        let random = SeededRandom::new(1);
        let mut secrets = Secrets::new(&random);
        let first = secrets.current().reveal().to_owned();
        assert_eq!(first.len(), 64);
        assert!(!secrets.renew("", &random) && !secrets.renew(&first[1..], &random));
        assert!(secrets.renew(&first, &random));
        let lost = secrets.current().reveal().to_owned();
        // The answer with `lost` did not arrive.
        assert!(secrets.renew(&first, &random));
        let second = secrets.current().reveal().to_owned();
        assert!(!secrets.renew(&lost, &random));
        assert!(secrets.renew(&second, &random));
        assert!(!secrets.renew(&first, &random));
        assert!(secrets.renew(&second, &random));
    }
}
