use std::{collections::BTreeMap, sync::Arc, time::Duration};

use longshore_core::{Connector, Endpoint, Labels, NodeName};

use crate::LeaderGate;

/// What an agent is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AgentConfig {
    /// What the host is called, for logs and the list of sessions. The node itself is known by its
    /// certificate's name, whatever is told here.
    pub name: Option<NodeName>,
    /// Control planes, tried in turn.
    pub planes: Vec<Endpoint>,
    /// Labels added to those of the engine, and put in place of its own of the same name.
    pub labels: Labels,
    /// Further services lent to the plane, by name. Whatever is not listed here is refused.
    pub services: BTreeMap<String, Arc<dyn Connector>>,
    /// Who may act through this node, if it is one of several managers.
    pub gate: LeaderGate,
    /// First and longest delay between connection attempts.
    pub backoff: (Duration, Duration),
    /// How long dialling and greeting may take.
    pub connect_limit: Duration,
    /// How many streams of the plane may be open at a time.
    pub max_streams: usize,
}

impl AgentConfig {
    /// One plane, no labels, the engine alone, 200 ms to 20 s between attempts.
    pub fn new(name: NodeName, plane: Endpoint) -> Self {
        Self {
            name: Some(name),
            ..Self::unnamed(plane)
        }
    }

    /// As [`new`](Self::new), without a word of what the host is called.
    pub fn unnamed(plane: Endpoint) -> Self {
        Self {
            name: None,
            planes: vec![plane],
            labels: Labels::new(),
            services: BTreeMap::new(),
            gate: LeaderGate::in_memory(),
            backoff: (Duration::from_millis(200), Duration::from_secs(20)),
            connect_limit: Duration::from_secs(15),
            max_streams: 1024,
        }
    }

    /// Adds a plane to fall back to.
    #[must_use]
    pub fn with_plane(mut self, plane: Endpoint) -> Self {
        self.planes.push(plane);
        self
    }

    /// Sets the labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Lends one more service to the plane.
    #[must_use]
    pub fn with_service(mut self, name: impl Into<String>, to: Arc<dyn Connector>) -> Self {
        self.services.insert(name.into(), to);
        self
    }

    /// Shares a gate with other agents of this node, or sets one that outlives its process. Without,
    /// the agent has one of its own in memory.
    #[must_use]
    pub fn with_gate(mut self, gate: LeaderGate) -> Self {
        self.gate = gate;
        self
    }

    /// Sets the first and the longest delay between attempts.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }
}
