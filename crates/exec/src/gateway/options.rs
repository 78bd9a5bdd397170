use std::time::Duration;

use longshore_core::Cleanup;

use crate::session::SessionOptions;

/// How a gateway treats its connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// The bounds of each session. The grace time counts for the native protocol; sessions of the
    /// others end with their connection. What the sessions of one user may take together, in number,
    /// bandwidth, time and idleness, are the hub's
    /// [`HubLimits`](crate::session::HubLimits).
    pub session: SessionOptions,
    /// The least cleanup that anybody may ask for: what of a session's processes may be left behind.
    /// Access control may allow somebody less than that, and nobody more
    /// ([`Admission::least_cleanup`](crate::access::Admission)). `tree`: nothing. What is done for those
    /// who do not ask is the backend's
    /// ([`default_cleanup`](longshore_core::ExecBackend::default_cleanup)).
    pub least_cleanup: Cleanup,
    /// Connections at a time. 20,000. Of those beyond, 64 at a time are told so in their protocol's own
    /// words and closed; others get 503 instead of an upgrade, which costs nothing.
    pub connections: usize,
    /// Connections at a time whose clients have no leave yet. One more closes the one that has waited
    /// longest of those that have not said what they want, and only where there is none the one that
    /// has been asked about longest. 1,024.
    pub waiting: usize,
    /// The largest message of a client without leave, in bytes: 32 KiB. So all those who wait hold
    /// about 64 MiB at most, whatever they send.
    pub first_message_size: usize,
    /// How often a connection is asked whether it lives. 10 s.
    pub ping: Duration,
    /// After how many unanswered pings it is dead, of which the last has half the time between two for
    /// its answer. 3: a client that falls silent is found within 35 s.
    pub missed: u32,
    /// How long a message may take to be sent. 30 s.
    pub write_limit: Duration,
    /// How long a client may take to say what it wants. 10 s.
    pub first_message: Duration,
    /// How long access control, the directory and the audit may take. 15 s.
    pub admit_limit: Duration,
    /// How long a client may take to close its side. 5 s.
    pub close_limit: Duration,
    /// The largest message of a client, in bytes. 256 KiB.
    pub message: usize,
    /// Whether output of the native protocol is compressed for clients that ask for it. Off; without
    /// the feature `compression` it has no effect. See
    /// [`protocol::native`](crate::protocol::native) for what it gives away.
    pub compression: bool,
    /// LAIN applications that nobody enters. `entry`.
    pub closed_apps: Vec<String>,
    /// Where LAIN's `/api/authorize` sends a user who has signed on. `/web/`.
    pub sign_on_landing: String,
    /// Whether LAIN's CLOSE carries exit code, reason and signal in fields of its own. Old readers
    /// skip them. Off.
    pub lain_exit_fields: bool,
    /// Whether sessions go on that can't be audited. Off: they are refused.
    pub without_audit: bool,
    /// Whether the header `X-Real-IP` says where clients are, for records. Only behind a proxy that
    /// sets it. Off.
    pub trusts_real_ip: bool,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            least_cleanup: Cleanup::Tree,
            connections: 20_000,
            waiting: 1024,
            first_message_size: 32 << 10,
            ping: Duration::from_secs(10),
            missed: 3,
            write_limit: Duration::from_secs(30),
            first_message: Duration::from_secs(10),
            admit_limit: Duration::from_secs(15),
            close_limit: Duration::from_secs(5),
            message: 256 << 10,
            compression: false,
            closed_apps: vec!["entry".to_owned()],
            sign_on_landing: "/web/".to_owned(),
            lain_exit_fields: false,
            without_audit: false,
            trusts_real_ip: false,
        }
    }
}

impl GatewayOptions {
    /// Sets the bounds of sessions.
    #[must_use]
    pub fn with_session(mut self, session: SessionOptions) -> Self {
        self.session = session;
        self
    }

    /// Sets the least cleanup that anybody may ask for.
    #[must_use]
    pub fn with_least_cleanup(mut self, least: Cleanup) -> Self {
        self.least_cleanup = least;
        self
    }

    /// Sets how many connections there may be.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how many connections may wait for leave, and how large a message of theirs may be.
    #[must_use]
    pub fn with_waiting(mut self, connections: usize, message: usize) -> Self {
        (self.waiting, self.first_message_size) = (connections.max(1), message.max(1024));
        self
    }

    /// Sets how often a connection is asked whether it lives, and how often it may be silent.
    #[must_use]
    pub fn with_ping(mut self, every: Duration, missed: u32) -> Self {
        (self.ping, self.missed) = (every.max(Duration::from_millis(10)), missed.max(1));
        self
    }

    /// Compresses output for clients that ask for it.
    #[must_use]
    pub fn with_compression(mut self) -> Self {
        self.compression = true;
        self
    }

    /// Sets which LAIN applications nobody enters.
    #[must_use]
    pub fn with_closed_apps(mut self, apps: Vec<String>) -> Self {
        self.closed_apps = apps;
        self
    }

    /// Sets where a user is sent who has signed on.
    #[must_use]
    pub fn with_sign_on_landing(mut self, path: impl Into<String>) -> Self {
        self.sign_on_landing = path.into();
        self
    }

    /// LAIN's CLOSE carries exit code, reason and signal.
    #[must_use]
    pub fn with_lain_exit_fields(mut self) -> Self {
        self.lain_exit_fields = true;
        self
    }

    /// Lets sessions go on that can't be audited.
    #[must_use]
    pub fn without_audit_if_it_fails(mut self) -> Self {
        self.without_audit = true;
        self
    }

    /// Believes a proxy's header `X-Real-IP`.
    #[must_use]
    pub fn with_real_ip_trusted(mut self) -> Self {
        self.trusts_real_ip = true;
        self
    }
}
