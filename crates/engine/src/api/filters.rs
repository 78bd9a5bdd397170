use std::collections::BTreeMap;

use longshore_core::{Error, Result, Workload, WorkloadState};

use super::lookup;

/// The filters of a list of containers, checked.
pub(super) struct ContainerFilters {
    filters: BTreeMap<String, Vec<String>>,
}

impl ContainerFilters {
    pub(super) fn new(filters: BTreeMap<String, Vec<String>>) -> Result<Self> {
        for (name, values) in &filters {
            if !KNOWN.contains(&name.as_str()) {
                return Err(Error::invalid(format!("Invalid filter '{name}'")));
            }
            let bad = values.iter().find(|value| match name.as_str() {
                "exited" => value.parse::<i64>().is_err(),
                "status" => WorkloadState::from_word(value).is_none(),
                _ => false,
            });
            if let Some(value) = bad {
                return Err(Error::invalid(format!("Invalid filter '{name}={value}'")));
            }
        }
        Ok(Self { filters })
    }

    /// Whether they ask for containers that do not run.
    pub(super) fn imply_all(&self) -> bool {
        self.filters.contains_key("status") || self.filters.contains_key("exited")
    }

    /// Those among `listed` that pass. All values of `label` must fit; of others, one.
    pub(super) fn apply(&self, listed: Vec<Workload>) -> Result<Vec<Workload>> {
        let mut bounds = Vec::new();
        for (name, keep_newer) in [("before", false), ("since", true)] {
            for value in self.values(name) {
                let id = lookup::resolve(&listed, value)?;
                let bound = listed.iter().find(|workload| workload.id == id);
                bounds.extend(bound.map(|workload| (workload.created, keep_newer)));
            }
        }
        let in_bounds = |workload: &Workload| {
            bounds.iter().all(|(bound, newer)| match newer {
                true => workload.created > *bound,
                false => workload.created < *bound,
            })
        };
        Ok(listed
            .into_iter()
            .filter(|workload| in_bounds(workload) && self.fits(workload))
            .collect())
    }

    fn fits(&self, workload: &Workload) -> bool {
        self.filters.iter().all(|(name, values)| {
            if values.is_empty() {
                return true;
            }
            let mut fits = values.iter().map(|value| fits(workload, name, value));
            if name == "label" {
                fits.all(|fits| fits)
            } else {
                fits.any(|fits| fits)
            }
        })
    }

    fn values(&self, name: &str) -> &[String] {
        self.filters.get(name).map_or(&[], Vec::as_slice)
    }
}

fn fits(workload: &Workload, name: &str, value: &str) -> bool {
    let detail = workload.detail.as_ref();
    match name {
        "id" => workload.id.as_str().starts_with(value),
        "name" => workload.names.iter().any(|own| name_fits(own, value)),
        "label" => match value.split_once('=') {
            Some((key, wanted)) => workload.labels.get(key) == Some(wanted),
            None => workload.labels.get(value).is_some(),
        },
        "status" => workload.state.as_str() == value,
        "ancestor" => workload.image == value || workload.image_id == value,
        "exited" => {
            workload.state == WorkloadState::Exited
                && detail.and_then(|detail| detail.exit.as_ref()?.code) == value.parse().ok()
        }
        "health" => {
            let health = detail.map_or("", |detail| detail.health.as_str());
            health == value || (health.is_empty() && value == "none")
        }
        "publish" | "expose" => workload.ports.iter().any(|port| {
            let number = match name {
                "publish" => port.host.as_ref().map(|host| host.port),
                _ => Some(port.container_port),
            };
            let (wanted, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
            number.is_some_and(|number| number.to_string() == wanted)
                && port.protocol.as_str() == protocol
        }),
        "is-task" => matches!(value, "false" | "0"),
        // Decided by the caller (`before`, `since`), or nothing here has any (volumes, networks).
        "before" | "since" => true,
        _ => false,
    }
}

/// Docker takes a name for a regular expression. Of those, anchors and plain text are what
/// tools send (`^/web$`).
fn name_fits(own: &str, pattern: &str) -> bool {
    let (pattern, at_start) = match pattern.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let (pattern, at_end) = match pattern.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (pattern, false),
    };
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    match (at_start, at_end) {
        (true, true) => own == pattern,
        (true, false) => own.starts_with(pattern),
        (false, true) => own.ends_with(pattern),
        (false, false) => own.contains(pattern),
    }
}

const KNOWN: [&str; 14] = [
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name",
    "network", "publish", "since", "status", "volume",
];

#[cfg(test)]
mod tests {
    use longshore_core::{Labels, Timestamp, WorkloadId};

    use super::*;

    fn listed() -> Vec<Workload> {
        let workload = |id: &str, name: &str, at, state| {
            let mut workload = Workload::new(WorkloadId::new(id).unwrap());
            workload.names = vec![name.to_owned()];
            workload.created = Timestamp::from_secs(at);
            workload.state = state;
            workload.labels = Labels::new().with("name", name);
            workload
        };
        vec![
            workload("aa", "web", 1, WorkloadState::Running),
            workload("ab", "webdb", 2, WorkloadState::Exited),
            workload("c", "db", 3, WorkloadState::Running),
        ]
    }

    #[track_caller]
    fn check(filters: &[(&str, &[&str])], wanted: &[&str]) {
        let filters = filters.iter().map(|(name, values)| {
            (
                (*name).to_owned(),
                values.iter().map(|value| (*value).to_owned()).collect(),
            )
        });
        let filters = ContainerFilters::new(filters.collect()).unwrap();
        let found = filters.apply(listed()).unwrap();
        let found: Vec<_> = found.iter().map(|workload| workload.id.as_str()).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn filters_choose_as_dockers_do() {
        check(&[], &["aa", "ab", "c"]);
        check(&[("id", &["a"])], &["aa", "ab"]);
        check(&[("name", &["web"])], &["aa", "ab"]);
        check(&[("name", &["^/web$"])], &["aa"]);
        check(&[("status", &["exited", "running"])], &["aa", "ab", "c"]);
        check(&[("label", &["name", "name=db"])], &["c"]);
        check(&[("since", &["aa"]), ("before", &["db"])], &["ab"]);
        check(&[("volume", &["x"])], &[]);
    }

    #[test]
    fn unknown_filters_are_named() {
        let refuse = |name: &str, value: &str| {
            let filters = BTreeMap::from([(name.to_owned(), vec![value.to_owned()])]);
            ContainerFilters::new(filters)
                .err()
                .unwrap()
                .message()
                .to_owned()
        };
        assert_eq!(refuse("colour", "red"), "Invalid filter 'colour'");
        assert_eq!(refuse("status", "odd"), "Invalid filter 'status=odd'");
        assert_eq!(refuse("exited", "x"), "Invalid filter 'exited=x'");
    }
}
