use std::{fmt, time::Duration};

use longshore_core::Cleanup;

/// How a client talks to its gateway.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The name in `Host`, which the gateway must know as its own. `localhost`.
    pub host: String,
    /// The path. `/v1/exec`.
    pub path: String,
    /// Who asks; sent in the first message.
    pub token: Option<String>,
    /// What happens to a command's processes at its session's end, where the request does not say.
    /// `None`: what the gateway does by default.
    pub cleanup: Option<Cleanup>,
    /// Whether output may come compressed, where the gateway allows it: for slow connections. Off;
    /// without the feature `compression` it has no effect.
    pub compress: bool,
    /// How long one attempt to connect may take. 10 s.
    pub connect_limit: Duration,
    /// For how long a lost session is tried to be resumed. Five minutes.
    pub patience: Duration,
    /// How often the gateway is asked whether it lives; three times without an answer is a lost
    /// connection. 10 s.
    pub ping: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            host: "localhost".to_owned(),
            path: "/v1/exec".to_owned(),
            token: None,
            cleanup: None,
            compress: false,
            connect_limit: Duration::from_secs(10),
            patience: Duration::from_secs(300),
            ping: Duration::from_secs(10),
        }
    }
}

impl ClientOptions {
    /// Sets the name in `Host` and the path.
    #[must_use]
    pub fn with_address(mut self, host: impl Into<String>, path: impl Into<String>) -> Self {
        (self.host, self.path) = (host.into(), path.into());
        self
    }

    /// Sets who asks.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Asks for this cleanup behind each session whose request does not say.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Cleanup) -> Self {
        self.cleanup = Some(cleanup);
        self
    }

    /// Asks for compressed output.
    #[must_use]
    pub fn with_compression(mut self) -> Self {
        self.compress = true;
        self
    }

    /// Sets for how long a lost session is tried to be resumed.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

/// Hides the token.
impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("host", &self.host)
            .field("path", &self.path)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
