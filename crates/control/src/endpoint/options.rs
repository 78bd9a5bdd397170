use std::time::Duration;

use crate::ApiVersion;

/// How the [endpoint](super::router) answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointOptions {
    /// The API version that every answer announces (`API-Version`, `/version`, `/_ping`), and the one
    /// taken for requests without a version prefix. Negotiating clients settle on it.
    pub api_version: ApiVersion,
    /// The oldest version that is accepted in a prefix.
    pub min_api_version: ApiVersion,
    /// The newest version that is accepted in a prefix: one above the announced one, because
    /// clients of Docker 20.10's time that don't negotiate ask for 1.41.
    pub max_api_version: ApiVersion,
    /// Whether browsers of any origin may call.
    pub cors: bool,
    /// Containers with this label are the system's own and hidden unless all are asked for.
    pub system_label: String,
    /// How large a JSON request body may be.
    pub body_limit: usize,
    /// How large an engine's JSON answer may be.
    pub answer_limit: usize,
    /// How long an engine may take to answer a plain question.
    pub call_limit: Duration,
    /// How long a client may send nothing in the middle of a request body.
    pub body_idle_limit: Duration,
    /// How long an engine may take to create or remove something.
    pub work_limit: Duration,
    /// How long an engine may take at most to make or start something after its answer was lost: what
    /// it has not done by then it never does. Queued work is not made anew before that, nor before
    /// [`work_limit`](Self::work_limit) is over again.
    pub longest_create: Duration,
    /// How long a pull may take in all.
    pub pull_limit: Duration,
    /// How many other nodes are tried when the engine of the best one refuses a create.
    pub next_nodes: usize,
    /// For how many exec instances the owner is remembered.
    pub exec_capacity: usize,
    /// How long a hijacked stream lives on after the engine's side ended, and after a shutdown was
    /// asked for.
    pub linger: Duration,
    /// How long a manager that does not lead waits for one that does.
    pub primary_limit: Duration,
    /// The highest priority of queued work that everybody may ask for who may queue any. Who wants more
    /// needs leave to [`Administer`](longshore_core::Action::Administer) the target `priority`, by the
    /// priority's number.
    pub free_priority: i32,
    /// How often queued work is tried that engines refuse for reasons that may pass, before it has
    /// failed.
    pub pending_tries: u32,
    /// How long it waits before it is tried the second time. The pause doubles with each try, up to the
    /// control plane's [`retry_cap`](crate::PlaneOptions::retry_cap).
    pub pending_pause: Duration,
    /// What `docker info` prints as a warning, for example that TLS verifies nobody.
    pub warnings: Vec<String>,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            api_version: ApiVersion::new(1, 40),
            min_api_version: ApiVersion::new(1, 12),
            max_api_version: ApiVersion::new(1, 41),
            cors: false,
            system_label: "longshore.system".to_owned(),
            body_limit: 4 << 20,
            answer_limit: 64 << 20,
            call_limit: Duration::from_secs(30),
            body_idle_limit: Duration::from_secs(60),
            work_limit: Duration::from_secs(120),
            longest_create: Duration::from_secs(120),
            pull_limit: Duration::from_secs(3600),
            next_nodes: 3,
            exec_capacity: 10_000,
            linger: Duration::from_secs(10),
            primary_limit: Duration::from_secs(30),
            free_priority: 0,
            pending_tries: 8,
            pending_pause: Duration::from_secs(1),
            warnings: Vec::new(),
        }
    }
}

macro_rules! setters {
    ($($name:ident, $field:ident: $type:ty;)*) => {
        impl EndpointOptions {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.$field = value;
                    self
                }
            )*
        }
    };
}

setters! {
    with_api_version, api_version: ApiVersion;
    with_min_api_version, min_api_version: ApiVersion;
    with_max_api_version, max_api_version: ApiVersion;
    with_system_label, system_label: String;
    with_body_limit, body_limit: usize;
    with_answer_limit, answer_limit: usize;
    with_call_limit, call_limit: Duration;
    with_body_idle_limit, body_idle_limit: Duration;
    with_work_limit, work_limit: Duration;
    with_longest_create, longest_create: Duration;
    with_pull_limit, pull_limit: Duration;
    with_next_nodes, next_nodes: usize;
    with_exec_capacity, exec_capacity: usize;
    with_linger, linger: Duration;
    with_primary_limit, primary_limit: Duration;
    with_free_priority, free_priority: i32;
    with_pending_tries, pending_tries: u32;
    with_pending_pause, pending_pause: Duration;
}

impl EndpointOptions {
    /// Lets browsers of any origin call.
    #[must_use]
    pub fn with_cors(mut self) -> Self {
        self.cors = true;
        self
    }

    /// Adds a line to the warnings of `docker info`.
    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}
