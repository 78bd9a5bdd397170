use std::{str::FromStr, time::Duration};

use longshore::core::{Endpoint, Labels};

use super::{
    Problems, TlsFiles, advertise, discovery_url, duration, heartbeat, tls::tunnel_tls, usable,
};
use crate::cli::Join;

/// A checked `join`: by registration or by tunnel.
#[derive(Debug)]
pub enum JoinPlan {
    Register {
        url: String,
        options: Vec<String>,
        advertise: Endpoint,
        heartbeat: Duration,
        ttl: Duration,
        delay: Duration,
    },
    Tunnel {
        planes: Vec<Endpoint>,
        /// `None` when that is one of the problems.
        tls: Option<TlsFiles>,
        labels: Labels,
    },
}

/// What there is to do, with stand-ins where something is wrong.
pub fn join(args: &Join) -> (JoinPlan, Problems) {
    let mut problems = Problems::default();
    let labels = problems.take(
        Labels::parse(&args.label).map_err(|error| format!("--label: {error}")),
        Labels::new(),
    );
    if !args.tunnel.is_empty() {
        let mut planes = Vec::new();
        for address in &args.tunnel {
            match Endpoint::from_str(address) {
                Ok(endpoint) if endpoint.port() > 0 => planes.push(endpoint),
                Ok(_) => problems.add(format!("invalid --tunnel: {address}: the port is missing")),
                Err(error) => problems.add(format!("invalid --tunnel: {}", error.message())),
            }
        }
        if let Some(url) = args.discovery.url() {
            problems.add(format!(
                "discovery is not used with --tunnel, and {url:?} was given (as an argument or by \
                 SWARM_DISCOVERY): leave out one of them"
            ));
        }
        let tls = tunnel_tls(&args.tls)
            .map_err(|problem| problems.add(problem))
            .ok();
        let plan = JoinPlan::Tunnel {
            planes,
            tls,
            labels,
        };
        return (plan, problems);
    }
    let url = discovery_url(&args.discovery, "join", &mut problems);
    let stand_in = Endpoint::new("", 0).expect("an empty host is allowed");
    let address = match args.advertise.as_deref() {
        None => Err("missing mandatory --advertise flag".to_owned()),
        Some(text) => advertise(text).map(|()| text.parse().unwrap_or_else(|_| stand_in.clone())),
    };
    let address = problems.take(address, stand_in.clone());
    let heartbeat = problems.take(heartbeat(&args.heartbeat), Duration::ZERO);
    let ttl = problems.take(duration("--ttl", &args.ttl), (false, Duration::MAX));
    if ttl.0 || ttl.1 <= heartbeat {
        problems.add("--ttl must be strictly superior to the heartbeat value");
    }
    let delay = problems.take(duration("--delay", &args.delay), (false, Duration::ZERO));
    if delay.0 {
        problems.add("--delay should not be a negative number");
    }
    let plan = JoinPlan::Register {
        url,
        options: usable(&args.discovery.discovery_opt),
        advertise: address,
        heartbeat,
        ttl: ttl.1,
        delay: delay.1,
    };
    (plan, problems)
}
