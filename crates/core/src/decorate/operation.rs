use std::{fmt, fmt::Display, time::Duration};

/// One call, as its trait describes it to a [`Layer`](crate::decorate::Layer).
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    name: &'static str,
    subject: Option<&'a (dyn Display + Sync)>,
    repeatable: bool,
    allowance: Option<Duration>,
}

impl<'a> Operation<'a> {
    /// A call that may be made again after a failure: doing it twice is doing it once. The name is
    /// `trait.method`.
    pub fn repeatable(name: &'static str) -> Self {
        Self {
            name,
            subject: None,
            repeatable: true,
            allowance: Some(Duration::ZERO),
        }
    }

    /// A call that must not be made again blindly: a failed one may have had its effect.
    pub fn once(name: &'static str) -> Self {
        Self {
            repeatable: false,
            ..Self::repeatable(name)
        }
    }

    /// Says what it is about: an id, a key, an address. Never a value or a secret.
    #[must_use]
    pub fn about(mut self, subject: &'a (dyn Display + Sync)) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Says that the caller gives it so much time by itself, on top of any limit.
    #[must_use]
    pub fn with_allowance(mut self, extra: Duration) -> Self {
        self.allowance = Some(extra);
        self
    }

    /// Says that it waits for something to happen, for however long that takes.
    #[must_use]
    pub fn unbounded(mut self) -> Self {
        self.allowance = None;
        self
    }

    /// `trait.method`, for example `kv.get`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is about, where there is one such thing.
    pub fn subject(&self) -> Option<&'a (dyn Display + Sync)> {
        self.subject
    }

    /// Whether it may be made again after a failure.
    pub fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// The time that the caller gives it on top of any limit; `None`: it has no limit.
    pub fn allowance(&self) -> Option<Duration> {
        self.allowance
    }
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .field("subject", &self.subject.map(ToString::to_string))
            .field("repeatable", &self.repeatable)
            .field("allowance", &self.allowance)
            .finish()
    }
}
