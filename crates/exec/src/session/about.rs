use std::net::IpAddr;

use longshore_core::{Cleanup, Identity, TerminalSize};
use serde::{Deserialize, Serialize};

use super::Launch;

/// What a session's record begins with: who, what, where. Holds no secret: the environment is left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionAbout {
    /// Who opened it.
    pub who: Identity,
    /// Whether it runs a command or looks at the container's own process.
    pub kind: SessionKind,
    /// The command with its arguments; where there are several, the first that the container has
    /// is run. Empty for an attachment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Vec<String>>,
    /// The container, as its engine knows it.
    pub container: String,
    /// Where it came from and what it was asked for.
    #[serde(default)]
    pub origin: SessionOrigin,
    /// The terminal's first size; `None` without a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<TerminalSize>,
    /// The terminal's type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// Whether the user agreed to have input recorded.
    #[serde(default)]
    pub records_input: bool,
    /// What happens to its processes when it ends. `None` for an attachment, which leaves them alone,
    /// and where it is decided elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SessionKind {
    /// It runs a command.
    Exec,
    /// It is attached to the container's own process.
    Attach,
}

/// Where a session came from, and under which names its container was asked for. What is not known
/// is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SessionOrigin {
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What was asked for, in the words of the protocol that was used: a container's name, or the
    /// names of its application or pod with slashes between them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// The application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app: String,
    /// The process of the application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proc: String,
    /// The number of the instance, as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl SessionOrigin {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the client's address.
    #[must_use]
    pub fn with_source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// Adds what was asked for.
    #[must_use]
    pub fn with_place(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }

    /// Adds the names of application, process and instance.
    #[must_use]
    pub fn with_instance(
        mut self,
        app: impl Into<String>,
        proc: impl Into<String>,
        instance: impl Into<String>,
    ) -> Self {
        (self.app, self.proc, self.instance) = (app.into(), proc.into(), instance.into());
        self
    }

    /// Adds the node.
    #[must_use]
    pub fn with_node(mut self, node: Option<String>) -> Self {
        self.node = node;
        self
    }
}

impl SessionAbout {
    /// What is known of a session before it starts.
    pub fn new(who: Identity, launch: &Launch, origin: SessionOrigin) -> Self {
        let (request, commands) = match launch {
            Launch::Attach(request) => {
                return Self {
                    who,
                    kind: SessionKind::Attach,
                    commands: Vec::new(),
                    container: request.workload.to_string(),
                    origin,
                    size: None,
                    term: None,
                    records_input: false,
                    cleanup: None,
                };
            }
            Launch::Exec(request) => (request, vec![request.command.clone()]),
            Launch::FirstOf(request, commands) => (request, commands.clone()),
        };
        let term = request
            .env
            .iter()
            .find_map(|pair| pair.strip_prefix("TERM="));
        Self {
            who,
            kind: SessionKind::Exec,
            commands,
            container: request.workload.to_string(),
            origin,
            size: request.tty.then(|| request.size.unwrap_or_default()),
            term: term.map(str::to_owned),
            records_input: false,
            cleanup: request.cleanup,
        }
    }

    /// Says what happens to its processes.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Option<Cleanup>) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// The user agreed to have input recorded. Without a terminal there is nothing to see an echo
    /// by, so nothing is recorded then.
    #[must_use]
    pub fn with_input_recorded(mut self, agreed: bool) -> Self {
        self.records_input = agreed && self.size.is_some();
        self
    }
}
