use longshore_core::{Bytes, Labels, MilliCpu, NodeId, NodeName};

/// What a [`ProcessEngine`](super::ProcessEngine) says of itself, and its bounds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// Its id; made up if missing.
    pub id: Option<NodeId>,
    /// Its name; the host's if missing.
    pub name: Option<NodeName>,
    /// Its labels.
    pub labels: Labels,
    /// Processors to offer; the machine's if missing.
    pub cpu: Option<MilliCpu>,
    /// Memory to offer; the machine's if missing.
    pub memory: Option<Bytes>,
    /// How many bytes of output are kept for each workload: 1 MiB.
    pub log_capacity: usize,
    /// How many workloads there may be: 1024.
    pub max_workloads: usize,
    /// How many exec sessions may run at a time: 1024.
    pub max_sessions: usize,
    /// Which of this program's environment variables workloads get. Nothing else of it reaches
    /// them, so that its secrets stay its own.
    pub inherit: Vec<String>,
    /// Whether a small guard process ends the workloads when this program is killed: yes.
    pub guard: bool,
}

impl Default for ProcessOptions {
    fn default() -> Self {
        Self {
            id: None,
            name: None,
            labels: Labels::new(),
            cpu: None,
            memory: None,
            log_capacity: 1 << 20,
            max_workloads: 1024,
            max_sessions: 1024,
            inherit: ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"]
                .map(str::to_owned)
                .to_vec(),
            guard: true,
        }
    }
}

impl ProcessOptions {
    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: NodeId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: NodeName) -> Self {
        self.name = Some(name);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key, value);
        self
    }

    /// Sets the resources to offer.
    #[must_use]
    pub fn with_capacity(mut self, cpu: MilliCpu, memory: Bytes) -> Self {
        self.cpu = Some(cpu);
        self.memory = Some(memory);
        self
    }

    /// Sets how many bytes of output are kept for each workload.
    #[must_use]
    pub fn with_log_capacity(mut self, bytes: usize) -> Self {
        self.log_capacity = bytes;
        self
    }

    /// Lets workloads get one more of this program's environment variables.
    #[must_use]
    pub fn with_inherited(mut self, name: impl Into<String>) -> Self {
        self.inherit.push(name.into());
        self
    }

    /// Does without the guard process.
    #[must_use]
    pub fn without_guard(mut self) -> Self {
        self.guard = false;
        self
    }
}
