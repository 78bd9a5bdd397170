use std::{collections::VecDeque, time::Duration};

use longshore_core::{Backoff, NodeHealth, NodeId, Random, Timestamp};

use super::detector::{Depth, Detector};
use crate::{NodeEventKind, PlaneOptions, cluster::NodeStatus};

/// The life of one node from its announcement to its removal, as a pure state machine: told what
/// happened and when, it says what to do next. It never asks anything of the network itself.
///
/// Pending → Healthy ⇄ Unhealthy; any → Disconnected, which is final.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    address: String,
    name: String,
    options: Timing,
    detector: Detector,
    health: NodeHealth,
    error: Option<String>,
    since: Timestamp,
    updated_at: Timestamp,
    next_retry: Option<Timestamp>,
    backoff: Backoff,
    retries: u32,
    /// Whether it was Healthy under its present identity.
    connected: bool,
    validating: bool,
    confirming: bool,
    pinging: bool,
    refreshing: bool,
    refresh_again: bool,
    next_ping: Timestamp,
    next_refresh: Timestamp,
    next_specs: Timestamp,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Timing {
    probe_interval: Duration,
    refresh_min: Duration,
    refresh_max: Duration,
}

/// What happened to a node.
#[derive(Debug)]
pub(crate) enum Input {
    /// [`Output::Validate`] succeeded; the node's name.
    Validated(String),
    /// [`Output::Validate`] failed.
    NotValidated(String),
    /// Another engine answers at the address.
    IdentityChanged { old: NodeId, new: NodeId },
    /// A call was answered.
    Success(Depth),
    /// A call failed on its way.
    Failure {
        depth: Depth,
        started: Timestamp,
        error: String,
    },
    /// [`Output::Ping`] has ended; its success or failure is told by itself.
    PingDone,
    /// [`Output::Refresh`] has ended; its success or failure is told by itself.
    RefreshDone { specs: bool },
    /// [`Output::Confirm`] has ended.
    Confirmed(Result<(), String>),
    /// The event stream ended: perhaps the engine did.
    StreamLost,
    /// Something may have changed unseen: look at everything soon; `specs`: also at the engine's
    /// information.
    LookAgain { specs: bool },
    /// The node's agent dialled in: now is the time to try.
    DialledIn,
    /// It left discovery.
    Removed(String),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Read everything of the node, from its identity on.
    Validate,
    /// One last probe of this depth before it is called unhealthy.
    Confirm(Depth),
    /// See whether it answers.
    Ping,
    /// List what is on it; `specs`: also read its information again.
    Refresh { specs: bool },
    /// Tell the cluster.
    Event(NodeEventKind, String),
}

impl Lifecycle {
    pub(crate) fn new(address: &str, options: &PlaneOptions, now: Timestamp) -> Self {
        Self {
            address: address.to_owned(),
            name: address.to_owned(),
            detector: Detector::new(options.engine_failure_retry, options.failure_window),
            options: Timing {
                probe_interval: options.probe_interval,
                refresh_min: options.engine_refresh_min_interval,
                refresh_max: options.engine_refresh_max_interval,
            },
            health: NodeHealth::Pending,
            error: None,
            since: now,
            updated_at: now,
            next_retry: Some(now),
            backoff: Backoff::new(FIRST_RETRY.min(options.retry_cap), options.retry_cap),
            retries: 0,
            connected: false,
            validating: false,
            confirming: false,
            pinging: false,
            refreshing: false,
            refresh_again: false,
            next_ping: now,
            next_refresh: now,
            next_specs: now,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn health(&self) -> NodeHealth {
        self.health
    }

    pub(crate) fn status(&self) -> NodeStatus {
        NodeStatus {
            health: self.health,
            indicator: match self.health {
                NodeHealth::Healthy => self.detector.indicator(),
                _ => 0,
            },
            error: self.error.clone(),
            since: self.since,
            next_retry: self.next_retry,
            updated_at: self.updated_at,
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match self.health {
            NodeHealth::Pending | NodeHealth::Unhealthy if !self.validating => self.next_retry,
            NodeHealth::Healthy => {
                let ping = (!self.pinging).then_some(self.next_ping);
                let refresh = (!self.refreshing).then_some(self.next_refresh);
                ping.into_iter().chain(refresh).min()
            }
            _ => None,
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Timestamp, random: &dyn Random) {
        if self.health == NodeHealth::Disconnected {
            return;
        }
        match input {
            Input::Validated(name) => self.validated(name, now, random),
            Input::NotValidated(error) => {
                self.validating = false;
                self.retries = self.retries.saturating_add(1);
                self.error = Some(error);
                self.next_retry = Some(now.after(self.backoff.next_delay(random)));
            }
            Input::IdentityChanged { old, new } => self.identity_changed(&old, &new, now),
            Input::Success(depth) => self.success(depth, now),
            Input::Failure {
                depth,
                started,
                error,
            } => self.failure(depth, started, error, now, random),
            Input::PingDone => {
                self.pinging = false;
                if self.detector.failures() == 0 {
                    self.next_ping = now.after(jittered(self.options.probe_interval, random));
                }
            }
            Input::RefreshDone { specs } => {
                self.refreshing = false;
                if specs {
                    self.next_specs = now.after(SPECS_INTERVAL);
                }
                if std::mem::take(&mut self.refresh_again) {
                    self.next_refresh = now;
                } else if self.detector.depth() != Depth::Work {
                    self.next_refresh = now.after(self.refresh_wait(random));
                }
            }
            Input::Confirmed(Ok(())) => {
                self.confirming = false;
                if self.health == NodeHealth::Healthy {
                    self.detector.success(Depth::Work);
                    self.answered(now);
                }
            }
            Input::Confirmed(Err(error)) => self.unhealthy(error, now, random),
            Input::StreamLost => {
                if self.health == NodeHealth::Healthy {
                    self.next_ping = now;
                }
            }
            Input::LookAgain { specs } => {
                if specs {
                    self.next_specs = now;
                }
                self.next_refresh = now;
                self.refresh_again = self.refreshing;
            }
            Input::DialledIn => match self.health {
                NodeHealth::Healthy => self.next_ping = now,
                _ => {
                    self.backoff.reset();
                    self.next_retry = Some(now);
                }
            },
            Input::Removed(reason) => self.removed(reason, now),
            Input::Tick => {}
        }
        self.due(now);
    }

    fn validated(&mut self, name: String, now: Timestamp, random: &dyn Random) {
        self.validating = false;
        let (kind, reason) = if self.health == NodeHealth::Unhealthy {
            let retries = self.retries.max(1);
            (
                NodeEventKind::Reconnect,
                format!("Engine came back to life after {retries} retries. Hooray!"),
            )
        } else {
            (
                NodeEventKind::Connect,
                format!("Registered Engine {name} at {}", self.address),
            )
        };
        self.name = name;
        self.detector.success(Depth::Work);
        self.retries = 0;
        self.backoff.reset();
        self.connected = true;
        self.enter(NodeHealth::Healthy, now);
        self.answered(now);
        self.next_retry = None;
        self.next_ping = now.after(jittered(self.options.probe_interval, random));
        self.next_refresh = now.after(self.refresh_wait(random));
        self.next_specs = now.after(SPECS_INTERVAL);
        self.outputs.push_back(Output::Event(kind, reason));
    }

    fn identity_changed(&mut self, old: &NodeId, new: &NodeId, now: Timestamp) {
        let error = format!(
            "Engine (ID: {old}, Addr: {}) shows up with another ID:{new}. Please remove it from \
             cluster, it can be added back.",
            self.address
        );
        self.validating = false;
        self.confirming = false;
        if self.health == NodeHealth::Healthy {
            self.outputs
                .push_back(Output::Event(NodeEventKind::Disconnect, error.clone()));
        }
        self.connected = false;
        self.error = Some(error);
        self.enter(NodeHealth::Pending, now);
        self.backoff.reset();
        // Swarm left it there for good. Here the new identity is validated by itself, a moment
        // later, so that whoever watches sees what happened.
        self.next_retry = Some(now.after(FIRST_RETRY));
    }

    fn success(&mut self, depth: Depth, now: Timestamp) {
        match self.health {
            NodeHealth::Healthy => {
                self.detector.success(depth);
                if self.detector.failures() == 0 {
                    self.answered(now);
                }
            }
            // Somebody else got through.
            NodeHealth::Unhealthy => self.next_retry = Some(now),
            _ => {}
        }
    }

    fn failure(
        &mut self,
        depth: Depth,
        started: Timestamp,
        error: String,
        now: Timestamp,
        random: &dyn Random,
    ) {
        // What began before the node was last validated says nothing about it now.
        if self.health != NodeHealth::Healthy || started < self.since {
            return;
        }
        self.error = Some(error);
        self.detector.failure(depth, started, now);
        if self.detector.is_over() {
            if !self.confirming {
                self.confirming = true;
                self.outputs
                    .push_back(Output::Confirm(self.detector.depth()));
            }
            return;
        }
        let soon = now.after(jittered(RECHECK.min(self.options.probe_interval), random));
        match depth {
            Depth::Answer => self.next_ping = self.next_ping.max(now).min(soon),
            Depth::Work => self.next_refresh = soon,
        }
    }

    fn unhealthy(&mut self, error: String, now: Timestamp, random: &dyn Random) {
        self.confirming = false;
        if self.health != NodeHealth::Healthy {
            return;
        }
        let reason = format!(
            "Flagging engine as unhealthy. Connect failed {} times",
            self.detector.failures()
        );
        self.enter(NodeHealth::Unhealthy, now);
        self.outputs.push_back(Output::Event(
            NodeEventKind::Disconnect,
            format!("{reason}: {error}"),
        ));
        self.error = Some(error);
        self.backoff.reset();
        self.next_retry = Some(now.after(self.backoff.next_delay(random)));
    }

    fn removed(&mut self, reason: String, now: Timestamp) {
        let connected = self.connected;
        self.enter(NodeHealth::Disconnected, now);
        self.next_retry = None;
        if connected {
            self.outputs.push_back(Output::Event(
                NodeEventKind::Disconnect,
                format!("Removed Engine {}: {reason}", self.name),
            ));
        }
        self.error = Some(reason);
    }

    fn answered(&mut self, now: Timestamp) {
        self.error = None;
        self.updated_at = now;
    }

    fn enter(&mut self, health: NodeHealth, now: Timestamp) {
        if self.health != health {
            self.health = health;
            self.since = now;
        }
    }

    /// Starts what is due.
    fn due(&mut self, now: Timestamp) {
        match self.health {
            NodeHealth::Pending | NodeHealth::Unhealthy
                if !self.validating && self.next_retry.is_some_and(|at| at <= now) =>
            {
                self.validating = true;
                self.outputs.push_back(Output::Validate);
            }
            NodeHealth::Healthy => {
                if !self.pinging && self.next_ping <= now {
                    self.pinging = true;
                    // Until it is done; then the outcome says when.
                    self.next_ping = now.after(self.options.probe_interval);
                    self.outputs.push_back(Output::Ping);
                }
                if !self.refreshing && self.next_refresh <= now {
                    self.refreshing = true;
                    self.next_refresh = now.after(self.options.refresh_max);
                    self.outputs.push_back(Output::Refresh {
                        specs: self.next_specs <= now,
                    });
                }
            }
            _ => {}
        }
    }

    /// Between the shortest and the longest interval, so that many nodes spread out.
    fn refresh_wait(&self, random: &dyn Random) -> Duration {
        let spread = self.options.refresh_max - self.options.refresh_min;
        self.options.refresh_min + spread.mul_f64(random.unit())
    }
}

/// Between 75 % and 125 %.
fn jittered(duration: Duration, random: &dyn Random) -> Duration {
    duration.mul_f64(0.75 + random.unit() / 2.0)
}

/// The first retry of a node that can't be validated comes after this much at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// After a failure the next probe comes after about this much.
const RECHECK: Duration = Duration::from_secs(1);
/// How often a healthy node's information is read again, as in Swarm.
const SPECS_INTERVAL: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
