use longshore_core::WorkloadState;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::{
    ContainerView,
    endpoint::{error::ApiError, query::Filters},
};

/// The `filters` of a container list, compiled once per request.
#[derive(Debug)]
pub(super) struct ContainerFilter<'a> {
    filters: &'a Filters,
    names: Vec<Matcher>,
    ids: Vec<Matcher>,
    states: Vec<WorkloadState>,
    exited: Vec<i64>,
    task: Option<bool>,
}

/// Docker's way with names: a regular expression if it is one, else the text itself.
#[derive(Debug)]
enum Matcher {
    Regex(Regex),
    Exact(String),
}

impl Matcher {
    fn new(key: &str, text: &str) -> Result<Self, ApiError> {
        match RegexBuilder::new(text).size_limit(MAX_PROGRAM).build() {
            Ok(regex) => Ok(Self::Regex(regex)),
            Err(regex::Error::CompiledTooBig(_)) => Err(ApiError::bad_request(format!(
                "Invalid filter: '{key}'='{text}': the expression is too large"
            ))),
            Err(_) => Ok(Self::Exact(text.to_owned())),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Exact(exact) => exact == text,
        }
    }
}

impl<'a> ContainerFilter<'a> {
    pub(super) fn new(filters: &'a Filters) -> Result<Self, ApiError> {
        filters.only(&KNOWN)?;
        check_patterns(filters)?;
        let matchers = |key| -> Result<Vec<Matcher>, ApiError> {
            let values = filters.values(key).iter();
            values.map(|text| Matcher::new(key, text)).collect()
        };
        let mut states = Vec::new();
        for word in filters.values("status") {
            states.push(WorkloadState::from_word(word).ok_or_else(|| {
                ApiError::bad_request(format!("Unrecognised filter value for status: {word}"))
            })?);
        }
        let mut exited = Vec::new();
        for code in filters.values("exited") {
            exited.push(code.parse().map_err(|_| {
                ApiError::bad_request(format!("Invalid filter: 'exited'='{code}'"))
            })?);
        }
        for health in filters.values("health") {
            if !matches!(
                health.as_str(),
                "none" | "starting" | "healthy" | "unhealthy"
            ) {
                return Err(ApiError::bad_request(format!(
                    "Unrecognised filter value for health: {health}"
                )));
            }
        }
        Ok(Self {
            filters,
            names: matchers("name")?,
            ids: matchers("id")?,
            states,
            exited,
            task: filters.switch("is-task")?,
        })
    }

    /// Asking for a state asks for containers that don't run, too.
    pub(super) fn implies_all(&self) -> bool {
        !self.states.is_empty()
    }

    pub(super) fn matches(&self, view: &ContainerView) -> bool {
        let workload = &view.workload;
        let native = workload.native.as_deref();
        (self.states.is_empty() || self.states.contains(&workload.state))
            && (self.ids.is_empty() || self.ids.iter().any(|id| id.matches(workload.id.as_str())))
            && (self.names.is_empty() || self.name_matches(view))
            && self.filters.labels(|key| workload.labels.get(key))
            && self.filters.any("node", |node| {
                node == view.node_name.as_str() || node == view.node.as_str()
            })
            && self.filters.any("health", |wanted| {
                let health = workload.detail.as_ref().map_or("", |d| d.health.as_str());
                wanted == health || (wanted == "none" && health.is_empty())
            })
            && (self.exited.is_empty() || self.exit_matches(view))
            && self.filters.any("volume", |wanted| {
                native.is_some_and(|n| has_volume(n, wanted))
            })
            && self.filters.any("network", |wanted| {
                native.is_some_and(|native| has_network(native, wanted))
            })
            && self.filters.any("ancestor", |wanted| {
                is_image(&workload.image, &workload.image_id, wanted)
            })
            && self.task.is_none_or(|wanted| {
                wanted == workload.labels.get("com.docker.swarm.task").is_some()
            })
    }

    fn name_matches(&self, view: &ContainerView) -> bool {
        view.workload.names.iter().any(|name| {
            let name = name.trim_start_matches('/');
            let whole = format!("/{}/{name}", view.node_name);
            let own = format!("/{name}");
            self.names.iter().any(|matcher| {
                [&whole, &whole[1..], &own, name]
                    .iter()
                    .any(|candidate| matcher.matches(candidate))
            })
        })
    }

    fn exit_matches(&self, view: &ContainerView) -> bool {
        let workload = &view.workload;
        let code = workload
            .detail
            .as_ref()
            .and_then(|detail| detail.exit.as_ref()?.code);
        workload.state == WorkloadState::Exited
            && code.is_some_and(|code| self.exited.contains(&code))
    }
}

/// Whether a list takes expressions to compile, so that it is work for a thread of its own.
pub(super) fn has_patterns(filters: &Filters) -> bool {
    patterns(filters).next().is_some()
}

fn patterns(filters: &Filters) -> impl Iterator<Item = &String> {
    filters.values("name").iter().chain(filters.values("id"))
}

fn check_patterns(filters: &Filters) -> Result<(), ApiError> {
    let count = patterns(filters).count();
    let bytes: usize = patterns(filters).map(String::len).sum();
    if count > MAX_PATTERNS || bytes > MAX_PATTERN_BYTES {
        return Err(ApiError::bad_request(format!(
            "Invalid filter: {count} expressions of {bytes} bytes for name and id: at most \
             {MAX_PATTERNS} of {MAX_PATTERN_BYTES} bytes in all are accepted"
        )));
    }
    Ok(())
}

fn has_volume(native: &Value, wanted: &str) -> bool {
    let mounts = native.get("Mounts").and_then(Value::as_array);
    mounts.into_iter().flatten().any(|mount| {
        ["Name", "Destination"]
            .iter()
            .any(|key| mount.get(key).and_then(Value::as_str) == Some(wanted))
    })
}

fn has_network(native: &Value, wanted: &str) -> bool {
    let networks = native
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object);
    networks.into_iter().flatten().any(|(name, network)| {
        name == wanted
            || network
                .get("NetworkID")
                .and_then(Value::as_str)
                .is_some_and(|id| !wanted.is_empty() && id.starts_with(wanted))
    })
}

fn is_image(image: &str, id: &str, wanted: &str) -> bool {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    let wanted_id = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let repository = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    image == wanted
        || repository.is_some_and(|(repository, _)| repository == wanted)
        || wanted.strip_suffix(":latest") == Some(image)
        || (wanted_id.len() >= 3 && bare.starts_with(wanted_id))
}

const MAX_PATTERNS: usize = 32;
const MAX_PATTERN_BYTES: usize = 4096;
/// How large one expression may be when compiled.
const MAX_PROGRAM: usize = 64 * 1024;
const KNOWN: [&str; 13] = [
    "name", "id", "label", "status", "node", "health", "exited", "volume", "network", "is-task",
    "ancestor", "before", "since",
];
