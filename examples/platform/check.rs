//! Checks of the configuration: all problems are found before anything starts.

use std::{fmt, str::FromStr, time::Duration};

use longshore::core::{Endpoint, Labels};

use crate::cli::{DiscoveryArgs, Join, List, Manage, TlsArgs};

/// Everything that is wrong with a command line, in the order in which it was found.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: impl fmt::Display) {
        self.0.push(problem.to_string());
    }

    /// Keeps the value, or the problem and a stand-in that is never used.
    fn take<T>(&mut self, result: Result<T, String>, stand_in: T) -> T {
        result.unwrap_or_else(|problem| {
            self.add(problem);
            stand_in
        })
    }

    /// The value, or `None` and its problem.
    pub fn check<T, E: Into<crate::Failure>>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.add(format!("{:?}", error.into())))
            .ok()
    }

    /// `value` if nothing is wrong.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// A duration as Go and Docker write it: `10s`, `1m30s`, `300ms`; a sign is kept apart.
fn duration(flag: &str, text: &str) -> Result<(bool, Duration), String> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok((false, Duration::ZERO));
    }
    humantime::parse_duration(rest)
        .map(|duration| (negative && !duration.is_zero(), duration))
        .map_err(|error| format!("invalid {flag}: {error}: {text:?}; expected for example 10s"))
}

pub fn positive(flag: &str, text: &str) -> Result<Duration, String> {
    match duration(flag, text)? {
        (true, _) | (_, Duration::ZERO) => Err(format!("{flag} should be a positive number")),
        (false, duration) => Ok(duration),
    }
}

fn discovery_url(args: &DiscoveryArgs, command: &str, problems: &mut Problems) -> String {
    for option in &args.discovery_opt {
        match option.split_once('=') {
            Some((key, _)) if !key.is_empty() => {}
            _ => problems.add(format!(
                "--discovery-opt must contain key=value strings: {option:?} does not"
            )),
        }
    }
    match args.url() {
        Some(url) => url.to_owned(),
        None => {
            problems.add(format!(
                "discovery required to {command} a cluster. See 'platform {command} --help'."
            ));
            String::new()
        }
    }
}

fn advertise(text: &str) -> Result<(), String> {
    match Endpoint::from_str(text) {
        Ok(endpoint) if endpoint.port() > 0 => Ok(()),
        _ => Err(format!(
            "--advertise should be of the form ip:port or hostname:port: {text:?} is not"
        )),
    }
}

/// What TLS files were given, when the combination is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: Option<String>,
    pub cert: String,
    pub key: String,
    pub verify: bool,
}

pub fn tls(args: &TlsArgs) -> Result<Option<TlsFiles>, String> {
    if !args.tls && !args.tlsverify {
        if args.tlscacert.is_some() || args.tlscert.is_some() || args.tlskey.is_some() {
            return Err(
                "--tlscert, --tlskey and --tlscacert require the use of either --tls or \
                        --tlsverify"
                    .into(),
            );
        }
        return Ok(None);
    }
    let (Some(cert), Some(key)) = (&args.tlscert, &args.tlskey) else {
        return Err("--tlscert and --tlskey must be provided when using --tls".into());
    };
    if args.tlsverify && args.tlscacert.is_none() {
        return Err("--tlscacert must be provided when using --tlsverify".into());
    }
    Ok(Some(TlsFiles {
        ca: args.tlscacert.clone(),
        cert: cert.clone(),
        key: key.clone(),
        verify: args.tlsverify,
    }))
}

/// The three files of a tunnel: all of them are needed.
fn tunnel_tls(args: &TlsArgs) -> Result<TlsFiles, String> {
    match (&args.tlscacert, &args.tlscert, &args.tlskey) {
        (Some(ca), Some(cert), Some(key)) => Ok(TlsFiles {
            ca: Some(ca.clone()),
            cert: cert.clone(),
            key: key.clone(),
            verify: true,
        }),
        _ => Err(
            "--tunnel needs --tlscacert, --tlscert and --tlskey: tunnels are always mutual \
                  TLS. Make them with 'platform cert'."
                .into(),
        ),
    }
}

/// A checked `list`.
#[derive(Debug)]
pub struct ListPlan {
    pub url: String,
    pub options: Vec<String>,
    pub timeout: Duration,
}

pub fn list(args: &List) -> Result<ListPlan, Problems> {
    let mut problems = Problems::default();
    let url = discovery_url(&args.discovery, "list", &mut problems);
    let timeout = problems.take(positive("--timeout", &args.timeout), Duration::ZERO);
    problems.or(ListPlan {
        url,
        options: args.discovery.discovery_opt.clone(),
        timeout,
    })
}

/// A checked `manage`.
#[derive(Debug)]
pub struct ManagePlan {
    pub url: Option<String>,
    pub options: Vec<String>,
    pub tls: Option<TlsFiles>,
    pub tunnel: Option<(Endpoint, TlsFiles)>,
    pub heartbeat: Duration,
    pub refresh: (Duration, Duration),
    pub failure_retry: u32,
    pub overcommit: f64,
    pub create_retry: u32,
}

pub fn manage(args: &Manage) -> Result<ManagePlan, Problems> {
    let mut problems = Problems::default();
    // With agents' tunnels alone a cluster needs no discovery.
    let url = match (args.discovery.url(), &args.tunnel) {
        (None, Some(_)) => None,
        _ => Some(discovery_url(&args.discovery, "manage", &mut problems)),
    };
    if args.cluster_driver != "swarm" {
        problems.add(format!("unsupported cluster {:?}", args.cluster_driver));
    }
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
        let scheme = url
            .as_deref()
            .and_then(|url| url.split_once("://"))
            .map_or("nodes", |s| s.0);
        if !matches!(scheme, "consul" | "etcd" | "zk") {
            problems.add(
                "Leader election is only supported with consul, etcd and zookeeper discovery.",
            );
        }
    }
    problems.take(
        positive("--replication-ttl", &args.replication_ttl),
        Duration::ZERO,
    );
    let heartbeat = problems.take(heartbeat(&args.heartbeat), Duration::ZERO);
    let min = problems.take(
        positive(
            "--engine-refresh-min-interval",
            &args.engine_refresh_min_interval,
        )
        .map_err(|error| format!("min refresh interval should be a positive number: {error}")),
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
            .ok_or_else(|| "invalid failure retry count".to_owned()),
        3,
    );
    let (mut overcommit, mut create_retry) = (0.05, 0);
    for option in &args.cluster_opt {
        match cluster_option(option) {
            Ok(ClusterOption::Overcommit(ratio)) => overcommit = ratio,
            Ok(ClusterOption::CreateRetry(count)) => create_retry = count,
            Err(problem) => problems.add(problem),
        }
    }
    let tunnel = args.tunnel.as_ref().and_then(|address| {
        let endpoint = Endpoint::from_str(address)
            .map_err(|error| problems.add(format!("invalid --tunnel: {}", error.message())));
        let files = tunnel_tls(&args.tls).map_err(|problem| problems.add(problem));
        endpoint.ok().zip(files.ok())
    });
    // The tunnel's files alone do not put TLS on the endpoint.
    let tls = match (&tunnel, args.tls.tls || args.tls.tlsverify) {
        (Some(_), false) => None,
        _ => problems.take(tls(&args.tls), None),
    };
    problems.or(ManagePlan {
        url,
        options: args.discovery.discovery_opt.clone(),
        tls,
        tunnel,
        heartbeat,
        refresh: (min, max),
        failure_retry,
        overcommit,
        create_retry,
    })
}

enum ClusterOption {
    Overcommit(f64),
    CreateRetry(u32),
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
        _ => Err(format!(
            "--cluster-opt {key:?} is unknown; known are swarm.overcommit and swarm.createretry"
        )),
    }
}

fn heartbeat(text: &str) -> Result<Duration, String> {
    match duration("--heartbeat", text)? {
        (false, heartbeat) if heartbeat >= Duration::from_secs(1) => Ok(heartbeat),
        _ => Err("--heartbeat should be at least one second".into()),
    }
}

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
        tls: TlsFiles,
        labels: Labels,
    },
}

pub fn join(args: &Join) -> Result<JoinPlan, Problems> {
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
        return match tunnel_tls(&args.tls) {
            Ok(tls) => problems.or(JoinPlan::Tunnel {
                planes,
                tls,
                labels,
            }),
            Err(problem) => {
                problems.add(problem);
                Err(problems)
            }
        };
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
    problems.or(JoinPlan::Register {
        url,
        options: args.discovery.discovery_opt.clone(),
        advertise: address,
        heartbeat,
        ttl: ttl.1,
        delay: delay.1,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split_whitespace())
            .unwrap()
            .command
            .unwrap()
    }

    #[track_caller]
    fn refuse(line: &str, message: &str) {
        let problems = match parse(line) {
            Command::Manage(args) => manage(&args).map(drop),
            Command::Join(args) => join(&args).map(drop),
            Command::List(args) => list(&args).map(drop),
            other => panic!("{other:?}"),
        };
        assert_eq!(problems.unwrap_err().to_string(), message);
    }

    #[test]
    fn problems_are_reported_together() {
        refuse(
            "platform manage --engine-failure-retry 0 --heartbeat 10ms",
            "discovery required to manage a cluster. See 'platform manage --help'.\n\
             --heartbeat should be at least one second\n\
             invalid failure retry count",
        );
    }

    #[test]
    fn each_message_is_swarms() {
        for (line, message) in [
            (
                "list",
                "discovery required to list a cluster. See 'platform list --help'.",
            ),
            (
                "list a:1 --timeout 0s",
                "--timeout should be a positive number",
            ),
            (
                "list a:1 --timeout=-1s",
                "--timeout should be a positive number",
            ),
            (
                "list a:1 --discovery-opt x",
                "--discovery-opt must contain key=value strings: \"x\" does not",
            ),
            ("join a:1", "missing mandatory --advertise flag"),
            (
                "join a:1 --addr b",
                "--advertise should be of the form ip:port or hostname:port: \"b\" is not",
            ),
            (
                "join a:1 --addr b:0",
                "--advertise should be of the form ip:port or hostname:port: \"b:0\" is not",
            ),
            (
                "join a:1 --addr b:2 --ttl 60s",
                "--ttl must be strictly superior to the heartbeat value",
            ),
            (
                "join a:1 --addr b:2 --delay=-1s",
                "--delay should not be a negative number",
            ),
            (
                "join --tunnel a:1",
                "--tunnel needs --tlscacert, --tlscert and --tlskey: tunnels are always mutual TLS. \
              Make them with 'platform cert'.",
            ),
            (
                "manage a:1 --tls",
                "--tlscert and --tlskey must be provided when using --tls",
            ),
            (
                "manage a:1 --tlsverify --tlscert a --tlskey b",
                "--tlscacert must be provided when using --tlsverify",
            ),
            (
                "manage a:1 --tlscert a",
                "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify",
            ),
            (
                "manage a:1 --engine-refresh-min-interval 2m",
                "max refresh interval cannot be less than min refresh interval",
            ),
            (
                "manage a:1 --engine-refresh-retry 4",
                "--engine-refresh-retry is deprecated. Use --engine-failure-retry",
            ),
            ("manage a:1 -c mesos", "unsupported cluster \"mesos\""),
            (
                "manage a:1 --cluster-opt swarm.overcommit=-2",
                "swarm.overcommit should be larger than -1, -2.000000 is invalid",
            ),
            (
                "manage a:1 --cluster-opt swarm.createretry=-1",
                "swarm.createretry can not be negative, -1 is invalid",
            ),
            (
                "manage a:1 --cluster-opt x",
                "--cluster-opt must contain key=value strings: \"x\" does not",
            ),
            (
                "manage a:1 --cluster-opt x=1",
                "--cluster-opt \"x\" is unknown; known are swarm.overcommit and swarm.createretry",
            ),
            (
                "manage a:1 --replication --addr b:1",
                "Leader election is only supported with consul, etcd and zookeeper discovery.",
            ),
        ] {
            refuse(&format!("platform {line}"), message);
        }
    }

    #[test]
    fn aliases_and_both_forms_of_discovery_are_accepted() {
        let Command::Manage(args) = parse("platform m --discovery file:///x --cors -H unix:///s")
        else {
            panic!()
        };
        assert_eq!(manage(&args).unwrap().url.as_deref(), Some("file:///x"));
        let Command::List(args) = parse("platform l nodes://a:1") else {
            panic!()
        };
        assert_eq!(list(&args).unwrap().url, "nodes://a:1");
    }

    #[test]
    fn tls_files_serve_tunnel_and_endpoint_alone_or_together() {
        let files = "--tlscacert a --tlscert b --tlskey c";
        let Command::Manage(args) = parse(&format!("platform m --tunnel :1 {files}")) else {
            panic!()
        };
        let plan = manage(&args).unwrap();
        assert!(plan.tls.is_none() && plan.tunnel.is_some() && plan.url.is_none());
        let Command::Manage(args) = parse(&format!("platform m --tunnel :1 {files} --tlsverify"))
        else {
            panic!()
        };
        assert!(manage(&args).unwrap().tls.is_some_and(|tls| tls.verify));
    }
}
