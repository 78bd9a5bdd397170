use std::time::Duration;

use longshore_core::{Error, Result};

use crate::{node::ApiVersion, placement::Accounting};

/// How a [`ControlPlane`](crate::ControlPlane) behaves. The defaults are Swarm's where Swarm has
/// the same option.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlaneOptions {
    /// How often discovery is polled where it can't tell by itself; also how long a sudden loss of
    /// more than half of the announced nodes is held before it is believed.
    pub heartbeat: Duration,
    /// Shortest time between two full refreshes of a node.
    pub engine_refresh_min_interval: Duration,
    /// Longest time between two full refreshes of a node.
    pub engine_refresh_max_interval: Duration,
    /// How many failures in a row make a node unhealthy.
    pub engine_failure_retry: u32,
    /// Failures closer together than this count once; 0 counts each, as Swarm did.
    pub failure_window: Duration,
    /// How often a healthy node is probed through the data path.
    pub probe_interval: Duration,
    /// How long a probe may take.
    pub probe_timeout: Duration,
    /// How long any other call to an engine may take.
    pub call_timeout: Duration,
    /// Longest time between two tries to reach a node that does not answer.
    pub retry_cap: Duration,
    /// Share of a node's processors and memory that is handed out on top of what it has.
    pub overcommit: f64,
    /// Which containers take up room on their node.
    pub accounting: Accounting,
    /// How often a create that failed is tried again as it is.
    pub create_retry: u32,
    /// How long a node must be lost before its work is replaced elsewhere.
    pub node_loss_grace: Duration,
    /// The share of nodes whose loss within [`mass_failure_window`](Self::mass_failure_window)
    /// stops all replacement, above 0 and at most 1.
    pub mass_failure_ratio: f64,
    /// Losses within this time count as one event.
    pub mass_failure_window: Duration,
    /// How long after the start nodes that were not reached yet, or that dial in, are waited for
    /// before stacks make instances: they may run some already.
    pub settle: Duration,
    /// How long a tunnel node without a session is remembered.
    pub tunnel_forget: Duration,
    /// How many events are kept for replay.
    pub event_capacity: usize,
    /// About how many bytes of events are kept for replay. Where either bound is met, the node that
    /// holds most gives up its oldest events.
    pub event_bytes: usize,
    /// For how many workloads the reason of their placement is kept.
    pub explanation_capacity: usize,
    /// When a reservation that nobody released is given up.
    pub reservation_ttl: Duration,
    /// How many pieces of work can wait for room; 0: none. Stacks take at most half of it.
    pub pending_capacity: usize,
    /// How many of them one owner's can be: one stack's, one caller's of the endpoint, or one whom the
    /// program [names](crate::ControlPlane::enqueue_for). `None`: a quarter, at least one. What the
    /// program queues without naming an owner may take all.
    pub pending_per_owner: Option<usize>,
    /// The engine API versions that this control plane speaks, oldest and newest.
    pub api_versions: (ApiVersion, ApiVersion),
    /// How long a shutdown waits for tasks.
    pub shutdown_limit: Duration,
}

impl Default for PlaneOptions {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(60),
            engine_refresh_min_interval: Duration::from_secs(30),
            engine_refresh_max_interval: Duration::from_secs(60),
            engine_failure_retry: 3,
            failure_window: Duration::from_secs(1),
            probe_interval: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            retry_cap: Duration::from_secs(60),
            overcommit: 0.05,
            accounting: Accounting::All,
            create_retry: 0,
            node_loss_grace: Duration::from_secs(30),
            mass_failure_ratio: 0.5,
            mass_failure_window: Duration::from_secs(300),
            settle: Duration::from_secs(10),
            tunnel_forget: Duration::from_secs(3600),
            event_capacity: 10_000,
            event_bytes: 16 << 20,
            explanation_capacity: 10_000,
            reservation_ttl: Duration::from_secs(3600),
            pending_capacity: 1_000,
            pending_per_owner: None,
            api_versions: (ApiVersion::new(1, 24), ApiVersion::new(1, 60)),
            shutdown_limit: Duration::from_secs(10),
        }
    }
}

macro_rules! setters {
    ($($name:ident, $field:ident: $type:ty;)*) => {
        impl PlaneOptions {
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
    with_heartbeat, heartbeat: Duration;
    with_engine_refresh_min_interval, engine_refresh_min_interval: Duration;
    with_engine_refresh_max_interval, engine_refresh_max_interval: Duration;
    with_engine_failure_retry, engine_failure_retry: u32;
    with_failure_window, failure_window: Duration;
    with_probe_interval, probe_interval: Duration;
    with_probe_timeout, probe_timeout: Duration;
    with_call_timeout, call_timeout: Duration;
    with_retry_cap, retry_cap: Duration;
    with_overcommit, overcommit: f64;
    with_accounting, accounting: Accounting;
    with_create_retry, create_retry: u32;
    with_node_loss_grace, node_loss_grace: Duration;
    with_mass_failure_ratio, mass_failure_ratio: f64;
    with_mass_failure_window, mass_failure_window: Duration;
    with_settle, settle: Duration;
    with_tunnel_forget, tunnel_forget: Duration;
    with_event_capacity, event_capacity: usize;
    with_event_bytes, event_bytes: usize;
    with_explanation_capacity, explanation_capacity: usize;
    with_reservation_ttl, reservation_ttl: Duration;
    with_pending_capacity, pending_capacity: usize;
    with_pending_per_owner, pending_per_owner: Option<usize>;
    with_api_versions, api_versions: (ApiVersion, ApiVersion);
    with_shutdown_limit, shutdown_limit: Duration;
}

impl PlaneOptions {
    /// Checks that the values make sense together.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) in Swarm's words where
    /// Swarm has the same check.
    pub fn validate(&self) -> Result<()> {
        let check = |good: bool, message: &'static str| {
            if good {
                Ok(())
            } else {
                Err(Error::invalid(message))
            }
        };
        check(
            !self.engine_refresh_min_interval.is_zero(),
            "min refresh interval should be a positive number",
        )?;
        check(
            self.engine_refresh_max_interval >= self.engine_refresh_min_interval,
            "max refresh interval cannot be less than min refresh interval",
        )?;
        check(self.engine_failure_retry > 0, "invalid failure retry count")?;
        if !(self.overcommit.is_finite() && self.overcommit > -1.0) {
            return Err(Error::invalid(format!(
                "swarm.overcommit should be larger than -1, {:.6} is invalid",
                self.overcommit
            )));
        }
        check(
            self.mass_failure_ratio > 0.0 && self.mass_failure_ratio <= 1.0,
            "mass failure ratio should be above 0 and at most 1",
        )?;
        check(
            !self.probe_interval.is_zero()
                && !self.probe_timeout.is_zero()
                && !self.call_timeout.is_zero()
                && !self.retry_cap.is_zero()
                && !self.heartbeat.is_zero(),
            "intervals and timeouts should be positive",
        )?;
        check(
            self.event_capacity > 0 && self.event_bytes > 0,
            "event capacity should be a positive number",
        )?;
        check(
            self.api_versions.0 <= self.api_versions.1,
            "the oldest API version cannot be newer than the newest",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuse(options: PlaneOptions, message: &str) {
        assert_eq!(options.validate().unwrap_err().message(), message);
    }

    #[test]
    fn bad_options_are_refused_in_swarms_words() {
        PlaneOptions::default().validate().unwrap();
        let options = PlaneOptions::default;
        refuse(
            options().with_overcommit(-2.0),
            "swarm.overcommit should be larger than -1, -2.000000 is invalid",
        );
        refuse(
            options().with_engine_failure_retry(0),
            "invalid failure retry count",
        );
        refuse(
            options().with_engine_refresh_max_interval(Duration::from_secs(1)),
            "max refresh interval cannot be less than min refresh interval",
        );
        refuse(
            options().with_engine_refresh_min_interval(Duration::ZERO),
            "min refresh interval should be a positive number",
        );
    }
}
