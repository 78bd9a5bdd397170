use std::{str::FromStr, time::Duration};

use longshore::{
    control::{Accounting, DockerConfigFiles, endpoint::ListenAddress},
    core::Endpoint,
    sched::{FilterName, Strategy},
};

use super::{
    Problems, SessionPlan, TlsFiles, advertise, discovery_url, heartbeat, positive,
    sessions::sessions,
    tls::{tls, tunnel_tls},
    usable,
};
use crate::cli::Manage;

/// A checked `manage`.
#[derive(Debug)]
pub struct ManagePlan {
    pub url: Option<String>,
    pub options: Vec<String>,
    pub strategy: Strategy,
    /// Swarm's own filters when there are none.
    pub filters: Vec<FilterName>,
    /// Our address and how long leadership lasts, as one of several managers.
    pub replication: Option<(String, Duration)>,
    /// How long requests wait for a primary.
    pub primary_limit: Duration,
    /// Whether discovery has a key-value store, and stacks are to be kept there.
    pub stored_stacks: bool,
    pub hosts: Vec<ListenAddress>,
    pub tls: Option<TlsFiles>,
    pub tunnel: Option<(Endpoint, TlsFiles)>,
    pub heartbeat: Duration,
    pub refresh: (Duration, Duration),
    pub failure_retry: u32,
    pub overcommit: f64,
    pub accounting: Accounting,
    pub create_retry: u32,
    pub registries: DockerConfigFiles,
    pub sessions: SessionPlan,
}

/// What there is to do, with stand-ins where something is wrong: its files and its discovery backend
/// can be checked, too, before all problems are told.
pub fn manage(args: &Manage) -> (ManagePlan, Problems) {
    let mut problems = Problems::default();
    // With agents' tunnels alone a cluster needs no discovery.
    let url = match (args.discovery.url(), &args.tunnel) {
        (None, Some(_)) => None,
        _ => Some(discovery_url(&args.discovery, "manage", &mut problems)),
    };
    if args.cluster_driver != "swarm" {
        problems.add(format!("unsupported cluster {:?}", args.cluster_driver));
    }
    let strategy = problems.take(strategy(&args.strategy), Strategy::Spread);
    let filters = collect(&args.filter, filter, &mut problems);
    let hosts = collect(&args.host, host, &mut problems);
    if let Some(address) = &args.advertise
        && let Err(problem) = advertise(address)
    {
        problems.add(problem);
    }
    if args.replication {
        if args.advertise.is_none() {
            problems.add(
                "--advertise address must be provided when using --leader-election (same as \
                 --replication)",
            );
        }
        if !has_store(url.as_deref()) {
            problems.add(
                "Leader election is only supported with consul, etcd, zookeeper and raft discovery.",
            );
        }
    }
    let replication_ttl = problems.take(
        positive("--replication-ttl", &args.replication_ttl),
        Duration::ZERO,
    );
    let primary_limit = problems.take(
        positive("--replication-timeout", &args.replication_timeout),
        Duration::ZERO,
    );
    let replication = args.advertise.clone().filter(|_| args.replication);
    let replication = replication.map(|address| (address, replication_ttl));
    let heartbeat = problems.take(heartbeat(&args.heartbeat), Duration::ZERO);
    let min = problems.take(
        positive(
            "--engine-refresh-min-interval",
            &args.engine_refresh_min_interval,
        )
        .map_err(|error| match error.starts_with("invalid ") {
            true => format!("min refresh interval should be a positive number: {error}"),
            false => "min refresh interval should be a positive number".into(),
        }),
        Duration::ZERO,
    );
    let max = problems.take(
        positive(
            "--engine-refresh-max-interval",
            &args.engine_refresh_max_interval,
        ),
        Duration::MAX,
    );
    if max < min {
        problems.add("max refresh interval cannot be less than min refresh interval");
    }
    if args.engine_refresh_retry != 3 {
        problems.add("--engine-refresh-retry is deprecated. Use --engine-failure-retry");
    }
    let failure_retry = problems.take(
        u32::try_from(args.engine_failure_retry)
            .ok()
            .filter(|retry| *retry > 0)
            .ok_or_else(|| {
                let count = args.engine_failure_retry;
                format!("invalid failure retry count: {count} (expected a whole number above 0)")
            }),
        3,
    );
    let (mut overcommit, mut create_retry) = (0.05, 0);
    let mut accounting = Accounting::All;
    let mut stored_stacks = has_store(url.as_deref());
    for option in &args.cluster_opt {
        match cluster_option(option) {
            Ok(ClusterOption::Overcommit(ratio)) => overcommit = ratio,
            Ok(ClusterOption::CreateRetry(count)) => create_retry = count,
            Ok(ClusterOption::Accounting(mode)) => accounting = mode,
            Ok(ClusterOption::StoredStacks(true)) if !stored_stacks => problems.add(
                "--cluster-opt longshore.stacks=store needs a discovery with a key-value store: \
                 consul, etcd, zk or raft",
            ),
            Ok(ClusterOption::StoredStacks(stored)) => stored_stacks = stored,
            Err(problem) => problems.add(problem),
        }
    }
    let tunnel = args.tunnel.as_ref().and_then(|address| {
        let endpoint = Endpoint::from_str(address)
            .map_err(|error| problems.add(format!("invalid --tunnel: {}", error.message())));
        let files = tunnel_tls(&args.tls).map_err(|problem| problems.add(problem));
        endpoint.ok().zip(files.ok())
    });
    let mut registries = DockerConfigFiles::new();
    for pair in &args.registry_config {
        match pair.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                registries = registries.with_file(name, file);
            }
            _ => problems.add(format!(
                "invalid --registry-config {pair:?}: expected NAME=FILE"
            )),
        }
    }
    if let Err(error) = registries.check() {
        problems.add(format!("--registry-config: {}", error.chain()));
    }
    let sessions = sessions(&args.sessions, &mut problems);
    // The tunnel's files alone do not put TLS on the endpoint.
    let tls = match (&args.tunnel, args.tls.tls || args.tls.tlsverify) {
        (Some(_), false) => None,
        _ => problems.take(tls(&args.tls), None),
    };
    let plan = ManagePlan {
        url,
        options: usable(&args.discovery.discovery_opt),
        strategy,
        filters,
        replication,
        primary_limit,
        stored_stacks,
        hosts,
        tls,
        tunnel,
        heartbeat,
        refresh: (min, max),
        failure_retry,
        overcommit,
        accounting,
        create_retry,
        registries,
        sessions,
    };
    (plan, problems)
}

/// Whether a discovery URL names a key-value store.
pub fn has_store(url: Option<&str>) -> bool {
    let scheme = url.and_then(|url| url.split_once("://"));
    matches!(scheme, Some(("consul" | "etcd" | "zk" | "raft", _)))
}

fn collect<T>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Problems,
) -> Vec<T> {
    let parsed = texts
        .iter()
        .filter_map(|text| parse(text).map_err(|problem| problems.add(problem)).ok());
    parsed.collect()
}

fn strategy(text: &str) -> Result<Strategy, String> {
    text.parse().map_err(|error: longshore::Error| {
        format!(
            "{}: {text:?} (known: spread, binpack, random)",
            error.message()
        )
    })
}

fn filter(text: &str) -> Result<FilterName, String> {
    text.parse().map_err(|error: longshore::Error| {
        let known = FilterName::ALL.map(FilterName::as_str).join(", ");
        format!("{}: {text:?} (known: {known})", error.message())
    })
}

fn host(text: &str) -> Result<ListenAddress, String> {
    let expected = "expected unix:///path/to/socket or tcp://host:port";
    if text.is_empty() {
        return Err(format!("--host is empty: {expected}"));
    }
    text.parse().map_err(|error: longshore::Error| {
        format!("invalid --host {text:?}: {}; {expected}", error.message())
    })
}

enum ClusterOption {
    Overcommit(f64),
    CreateRetry(u32),
    Accounting(Accounting),
    StoredStacks(bool),
}

fn cluster_option(option: &str) -> Result<ClusterOption, String> {
    let Some((key, value)) = option.split_once('=') else {
        return Err(format!(
            "--cluster-opt must contain key=value strings: {option:?} does not"
        ));
    };
    match key {
        "swarm.overcommit" => {
            let ratio: f64 = value
                .parse()
                .ok()
                .filter(|ratio: &f64| ratio.is_finite())
                .ok_or_else(|| format!("--cluster-opt swarm.overcommit: {value:?} is no number"))?;
            if ratio <= -1.0 {
                return Err(format!(
                    "swarm.overcommit should be larger than -1, {ratio:.6} is invalid"
                ));
            }
            Ok(ClusterOption::Overcommit(ratio))
        }
        "swarm.createretry" => {
            let count: i64 = value
                .parse()
                .map_err(|_| format!("--cluster-opt swarm.createretry: {value:?} is no number"))?;
            match u32::try_from(count) {
                Ok(count) => Ok(ClusterOption::CreateRetry(count)),
                Err(_) if count < 0 => Err(format!(
                    "swarm.createretry can not be negative, {count} is invalid"
                )),
                Err(_) => Err(format!(
                    "--cluster-opt swarm.createretry: {count} is too large"
                )),
            }
        }
        "longshore.accounting" => match value {
            "all" => Ok(ClusterOption::Accounting(Accounting::All)),
            "running" => Ok(ClusterOption::Accounting(Accounting::Running)),
            _ => Err(format!(
                "--cluster-opt longshore.accounting: {value:?} is neither all nor running"
            )),
        },
        "longshore.stacks" => match value {
            "store" => Ok(ClusterOption::StoredStacks(true)),
            "memory" => Ok(ClusterOption::StoredStacks(false)),
            _ => Err(format!(
                "--cluster-opt longshore.stacks: {value:?} is neither store nor memory"
            )),
        },
        _ => Err(format!(
            "--cluster-opt {key:?} is unknown; known are swarm.overcommit, swarm.createretry, \
             longshore.accounting and longshore.stacks"
        )),
    }
}
