use std::{borrow::Cow, error::Error as StdError, fmt};

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; sending it again changes nothing. The message names the input.
    InvalidInput,
    /// The thing asked for does not exist.
    NotFound,
    /// A thing of that name or id exists already.
    AlreadyExists,
    /// Somebody else changed the thing meanwhile (compare-and-swap lost): read again and retry.
    Conflict,
    /// A name matches several things; the context lists them.
    Ambiguous,
    /// The peer did not prove who it is.
    Unauthenticated,
    /// The identity is known and not allowed to do this.
    PermissionDenied,
    /// A bound (queue, size, rate, capacity) was reached.
    ResourceExhausted,
    /// No node can take the work; the explanation says why.
    Unplaceable,
    /// The backend can't be reached or answers that it is not ready.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// The operation was given up because of a shutdown or because the caller left.
    Cancelled,
    /// The stream, session, carrier or watch has ended.
    Closed,
    /// The caller holds an older epoch or fencing token than the current one: step down.
    Stale,
    /// The peer sent something that its protocol does not allow.
    Protocol,
    /// This implementation does not offer the operation; its capabilities say so.
    Unsupported,
    /// A defect of longshore or of the backend.
    Internal,
}

impl ErrorKind {
    /// A stable lower-case word for logs, metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Conflict => "conflict",
            Self::Ambiguous => "ambiguous",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission-denied",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unplaceable => "unplaceable",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
            Self::Stale => "stale",
            Self::Protocol => "protocol",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of every longshore trait.
///
/// It is opaque on purpose: callers decide on [`kind`](Self::kind) and
/// [`is_retryable`](Self::is_retryable), people read the message. `Display` prints this level only;
/// the cause is in [`source`](StdError::source). Never put a secret into a message or a context value.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retryable: bool,
    message: Cow<'static, str>,
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// `Result` with longshore's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of this kind. [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`] and
    /// [`ErrorKind::Conflict`] start out retryable, all others not.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Conflict
        );
        Self(Box::new(Inner {
            kind,
            retryable,
            message: message.into(),
            backend: None,
            operation: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// [`ErrorKind::InvalidInput`] with this message.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// [`ErrorKind::NotFound`] with this message.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// [`ErrorKind::Unavailable`] with this message.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// [`ErrorKind::Closed`] with this message.
    pub fn closed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Closed, message)
    }

    /// [`ErrorKind::Protocol`] with this message.
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// [`ErrorKind::Unsupported`] with this message.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// [`ErrorKind::Internal`] with this message.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Classifies an operating-system error: refused, reset, unreachable and the like are
    /// [`ErrorKind::Unavailable`], the rest keeps its meaning.
    pub fn io(message: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::PermissionDenied,
            Io::AlreadyExists | Io::AddrInUse => ErrorKind::AlreadyExists,
            Io::TimedOut => ErrorKind::Timeout,
            Io::InvalidInput => ErrorKind::InvalidInput,
            Io::InvalidData => ErrorKind::Protocol,
            Io::UnexpectedEof | Io::BrokenPipe => ErrorKind::Closed,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, message).with_source(source)
    }

    /// Names the backend, for example `docker` or `etcd`.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend = Some(backend);
        self
    }

    /// Names the operation, for example `engine.create`.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Adds a key and a value that help to find the thing meant (node, path, line).
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides whether trying again may help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The message alone, without operation and context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The backend that failed, where known.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The operation that failed, where known.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The value of a context key.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0
            .context
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| v.as_str())
    }

    /// This level and every cause below it, joined by `: `, for one line of a log. A cause whose
    /// text has been said already is not said again: many messages quote theirs.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !is_in(&text, &said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

/// Whether a text quotes a cause, as it is or in Swarm's spelling: `no such file or directory` for
/// `No such file or directory (os error 2)`.
fn is_in(text: &str, cause: &str) -> bool {
    let words = cause
        .split_once(" (os error ")
        .map_or(cause, |(words, _)| words);
    text.contains(cause) || text.to_lowercase().contains(&words.to_lowercase())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            f.write_str(" (")?;
            for (index, (key, value)) in self.0.context.iter().enumerate() {
                if index > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("backend", &self.0.backend)
            .field("operation", &self.0.operation)
            .field("context", &self.0.context)
            .field("retryable", &self.0.retryable)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_this_level_only() {
        let error = Error::unavailable("cannot reach the engine")
            .with_context("node", "a")
            .with_source(std::io::Error::other("refused"));
        assert_eq!(error.to_string(), "cannot reach the engine (node: a)");
        assert_eq!(error.chain(), "cannot reach the engine (node: a): refused");
    }

    #[test]
    fn a_chain_says_nothing_twice() {
        let refused = || std::io::Error::other("refused");
        let dial = Error::unavailable("cannot dial a:1: refused").with_source(refused());
        assert_eq!(dial.chain(), "cannot dial a:1: refused");
        let outer = Error::unavailable("not joined").with_source(dial);
        assert_eq!(outer.chain(), "not joined: cannot dial a:1: refused");
        let swarms = Error::not_found("open x: no such file or directory. Key encrypted?")
            .with_source(std::io::Error::from_raw_os_error(2));
        assert_eq!(
            swarms.chain(),
            "open x: no such file or directory. Key encrypted?"
        );
        let silent = Error::closed("over").with_source(std::io::Error::other(""));
        assert_eq!(silent.chain(), "over");
    }

    #[test]
    fn retryable_follows_the_kind_unless_told() {
        assert!(Error::unavailable("x").is_retryable());
        assert!(!Error::invalid("x").is_retryable());
        assert!(Error::invalid("x").with_retryable(true).is_retryable());
    }
}
