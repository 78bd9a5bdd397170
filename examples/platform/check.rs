//! Checks of the configuration: all problems are found before anything starts.

mod join;
mod manage;
mod problems;
mod sessions;
mod tls;

use std::{str::FromStr, time::Duration};

use longshore::core::Endpoint;

pub use self::{
    join::{JoinPlan, join},
    manage::{ManagePlan, has_store, manage},
    problems::Problems,
    sessions::SessionPlan,
    tls::{TlsFiles, tls},
};
use crate::cli::{DiscoveryArgs, List};

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

/// The options that can be used; the others have been told of.
fn usable(options: &[String]) -> Vec<String> {
    let is_pair = |option: &&String| option.find('=').is_some_and(|at| at > 0);
    options.iter().filter(is_pair).cloned().collect()
}

fn advertise(text: &str) -> Result<(), String> {
    match Endpoint::from_str(text) {
        Ok(endpoint) if endpoint.port() > 0 => Ok(()),
        _ => Err(format!(
            "--advertise should be of the form ip:port or hostname:port: {text:?} is not"
        )),
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

fn heartbeat(text: &str) -> Result<Duration, String> {
    match duration("--heartbeat", text)? {
        (false, heartbeat) if heartbeat >= Duration::from_secs(1) => Ok(heartbeat),
        _ => Err("--heartbeat should be at least one second".into()),
    }
}

#[cfg(test)]
mod tests;
