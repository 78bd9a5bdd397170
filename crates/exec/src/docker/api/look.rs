//! Calls that look at what runs and what happened.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use longshore_core::{ClockExt, Error, Result, Timestamp, WorkloadId, http::read_body};
use serde::Deserialize;

use super::{Api, PATIENCE, parse, refused, request, segment};

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
}

/// A container that does not run: it was not started, or has ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct AtRest {
    pub(in crate::docker) id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    /// When it was made, in seconds of the engine's clock since 1970.
    created: Option<u64>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

impl AtRest {
    pub(in crate::docker) fn label(&self, name: &str) -> Option<&str> {
        self.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Each begins with a slash.
    pub(in crate::docker) fn names(&self) -> &[String] {
        self.names.as_deref().unwrap_or_default()
    }

    /// `None` where the engine does not say.
    pub(in crate::docker) fn made(&self) -> Option<Timestamp> {
        self.created.map(Timestamp::from_secs)
    }
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "SystemTime")]
    now: String,
}

impl Api {
    /// The engine's clock.
    pub(in crate::docker) async fn engine_time(&self) -> Result<Timestamp> {
        let info: Info = self.call(Method::GET, "/info", None).await?;
        Timestamp::parse_rfc3339(&info.now)?
            .ok_or_else(|| Error::protocol("the engine's time is before 1970"))
    }

    /// The process table of a container, as the engine's host sees it. It holds secrets.
    pub(in crate::docker) async fn top(&self, id: &WorkloadId, columns: &str) -> Result<Bytes> {
        let path = format!(
            "/containers/{}/top?ps_args={}",
            segment(id.as_str()),
            segment(columns)
        );
        let (status, body) = self
            .fetch(&path, LARGEST_TABLE, "the engine's process table")
            .await?;
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(refused(status, &body))
        }
    }

    /// The ids of all containers that run.
    pub(in crate::docker) async fn running_containers(&self) -> Result<Vec<WorkloadId>> {
        let what = "the engine's list of containers";
        let (status, body) = self.fetch("/containers/json", LARGEST_LIST, what).await?;
        let listed: Vec<Listed> = parse(status, &body)?;
        listed
            .into_iter()
            .map(|listed| Ok(WorkloadId::new(listed.id)?))
            .collect()
    }

    /// Containers with this label that do not run.
    pub(in crate::docker) async fn containers_at_rest(&self, label: &str) -> Result<Vec<AtRest>> {
        let filters = serde_json::json!({ "label": [label], "status": AT_REST });
        let filters = segment(&filters.to_string());
        let path = format!("/containers/json?all=1&filters={filters}");
        let what = "the engine's list of containers";
        let (status, body) = self.fetch(&path, LARGEST_LIST, what).await?;
        let mut listed: Vec<AtRest> = parse(status, &body)?;
        // An engine may know no filters.
        listed.retain(|one| AT_REST.contains(&one.state.as_str()) && one.label(label).is_some());
        Ok(listed)
    }

    /// An answer that may be larger than most.
    async fn fetch(
        &self,
        path: &str,
        limit: usize,
        what: &'static str,
    ) -> Result<(StatusCode, Bytes)> {
        let answer = async {
            let response = self.client.send(request(Method::GET, path, None)?).await?;
            let status = response.status();
            Ok((status, read_body(response.into_body(), limit).await?))
        };
        self.clock.timeout(PATIENCE, what, answer).await?
    }

    /// Whether the kernel ended something in a container for lack of memory, in a span of the
    /// engine's own time.
    pub(in crate::docker) async fn ran_out_of_memory(
        &self,
        id: &WorkloadId,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        let filters = serde_json::json!({ "container": [id.as_str()], "event": ["oom"] });
        let path = format!(
            "/events?since={}&until={}&filters={}",
            exact(since),
            exact(until),
            segment(&filters.to_string()),
        );
        let (status, body) = self.send(Method::GET, &path, None).await?;
        if status.is_success() {
            Ok(body.contains(&b'{'))
        } else {
            Err(refused(status, &body))
        }
    }
}

/// Seconds with a fraction.
fn exact(time: Timestamp) -> String {
    format!("{}.{:06}", time.as_secs(), time.as_micros() % 1_000_000)
}

const AT_REST: [&str; 3] = ["created", "exited", "dead"];
/// The environments of all processes of a container are in it.
const LARGEST_TABLE: usize = 32 << 20;
/// Ten thousand containers with what an engine tells of each: names, labels, ports, mounts, networks.
const LARGEST_LIST: usize = 64 << 20;
