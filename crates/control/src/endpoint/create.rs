//! `POST /containers/create`: read, placed, made on the best node or the next ones.

mod config;
mod failure;
mod platforms;
mod prepared;
mod pull;
mod strays;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Method, StatusCode, header};
use longshore_core::{DeviceId, Expression, NodeHealth, NodeId, WorkloadId, http::full_body};
use serde::Deserialize;
use serde_json::json;

pub(super) use self::{
    config::{CreateConfig, object_mut},
    failure::{Lost, Unmade},
    platforms::PlatformCache,
    prepared::{Prepared, placement_of, prepare},
    pull::{follow, pull},
    strays::{StraySearches, clear, find},
};
use self::{failure::Failure, prepared::Wanted};
use super::{
    Shared,
    call::{Call, raw_json},
    containers::on,
    error::{ApiError, ApiResult},
    images,
    networks::LocalNetworks,
    proxy::request,
    record::Made,
};
use crate::{Admission, NodeView, SWARM_ID_LABEL};

/// The engine's answer.
#[derive(Debug, Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Warnings", default)]
    warnings: Option<Vec<String>>,
}

pub(super) async fn create(shared: &Arc<Shared>, mut call: Call) -> ApiResult {
    let mut prepared = prepare(shared, &mut call).await?;
    let made = make(shared, &call, &mut prepared, None, Lost::GoOn).await;
    made.map_err(|unmade| unmade.error)
}

/// Carries out a create, on the node where room is held for it already, if any.
pub(super) async fn make(
    shared: &Arc<Shared>,
    call: &Call,
    prepared: &mut Prepared,
    admission: Option<Admission>,
    lost: Lost,
) -> Result<http::Response<super::Payload>, Unmade> {
    let swarm_id = prepared.swarm_id().map(str::to_owned);
    let job = Job {
        shared,
        call,
        name: &prepared.name,
        networks: &prepared.networks,
        lost,
        lost_on: Mutex::default(),
    };
    let made = job
        .run(&mut prepared.config, &mut prepared.wanted, admission)
        .await;
    let kept = made
        .as_ref()
        .ok()
        .and_then(|answer| answer.extensions().get::<Made>())
        .map(|made| made.0.clone());
    let looked_for = made.as_ref().err().and_then(|unmade| unmade.room.as_ref());
    let looked_for = looked_for.map(|room| room.node_id().clone());
    let mut lost_on = job
        .lost_on
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    lost_on.retain(|node| looked_for.as_ref() != Some(node));
    if let Some(swarm_id) = swarm_id {
        for node in lost_on {
            strays::clear(shared, node, swarm_id.clone(), kept.clone());
        }
    }
    made
}

struct Job<'a> {
    shared: &'a Arc<Shared>,
    call: &'a Call,
    name: &'a str,
    networks: &'a LocalNetworks,
    lost: Lost,
    /// Where a create was asked for, and nobody knows whether it was done (S26).
    lost_on: Mutex<BTreeSet<NodeId>>,
}

impl Job<'_> {
    /// Places and makes it; on failure tries what may help, each remedy once, and then as often as
    /// `swarm.createretry` says. The name stays held meanwhile.
    async fn run(
        &self,
        config: &mut CreateConfig,
        wanted: &mut Wanted,
        mut held: Option<Admission>,
    ) -> Result<http::Response<super::Payload>, Unmade> {
        let plane = &self.shared.plane;
        let mut name = None;
        let mut tries = 0;
        let mut os_known = platforms::names_system(&wanted.request);
        // Where the image is, if no registry gave it. Not for later tries of what is queued: a registry
        // may give it then.
        let mut holders: Option<Expression> = None;
        loop {
            let admitted = match (held.take(), tries) {
                (Some(held), _) => Ok(held),
                (None, 0) => {
                    let named = (!self.name.is_empty()).then_some(self.name);
                    plane.admit(&wanted.request, named).await
                }
                (None, _) => {
                    let mut request = wanted.request.clone();
                    request.affinities.extend(holders.clone());
                    Admission::under(&plane.inner, Arc::new(request), &mut name)
                }
            };
            let admission = match admitted {
                Ok(admission) => {
                    let holders = holders.iter();
                    let why =
                        holders.map(|it| format!("affinity {it}: no registry gave the image"));
                    admission.with_notes(wanted.notes.iter().cloned().chain(why).collect())
                }
                Err(error) => {
                    return Err(Unmade {
                        name,
                        ..Unmade::from(ApiError::from(error))
                    });
                }
            };
            let (failure, admission) = match self.on_ranked_nodes(config, admission).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => *failed,
            };
            if self.lost == Lost::Look && self.is_lost_on(admission.node_id()) {
                return Err(Unmade {
                    room: Some(admission),
                    ..Unmade::from(failure.into_error())
                });
            }
            name = admission.into_name();
            tries += 1;
            match failure {
                Failure::Final(error) | Failure::Refused(error)
                    if !os_known && image_os(error.message()).is_some() =>
                {
                    os_known = true;
                    let os = image_os(error.message()).unwrap_or_default();
                    let constraint = derived(&format!("ostype=={os}"))?;
                    wanted.note(format!("constraint {constraint}: an engine said so"));
                    wanted.request.constraints.push(constraint);
                }
                Failure::NoImage(_) if holders.is_none() && self.is_elsewhere(config) => {
                    holders = Some(derived(&format!("image=={}", wanted.request.image))?);
                }
                failure if failure.is_final() || tries > plane.options().create_retry => {
                    return Err(Unmade {
                        name,
                        ..Unmade::from(failure.into_error())
                    });
                }
                failure => {
                    let error = failure.into_error();
                    tracing::warn!("Failed to create container: {}, retrying", error.message());
                }
            }
        }
    }

    fn is_lost_on(&self, node: &NodeId) -> bool {
        let lost_on = self.lost_on.lock().unwrap_or_else(PoisonError::into_inner);
        lost_on.contains(node)
    }

    /// Whether some healthy node has the image, and the container may go there.
    fn is_elsewhere(&self, config: &CreateConfig) -> bool {
        let image = &config.request.image;
        !config.is_pinned() && !images::holders(&self.shared.healthy_nodes(), image).is_empty()
    }

    async fn on_ranked_nodes(
        &self,
        config: &mut CreateConfig,
        mut admission: Admission,
    ) -> Result<http::Response<super::Payload>, Box<(Failure, Admission)>> {
        let mut first: Option<ApiError> = None;
        for _ in 0..=self.shared.options.next_nodes {
            let node = match admission.node() {
                Ok(node) => node,
                Err(error) => {
                    return Err(Box::new((Failure::Refused(error.into()), admission)));
                }
            };
            match self.on_node(config, &node, admission.devices()).await {
                Ok((id, created)) => {
                    let on_node = admission.node_id().clone();
                    admission.fulfil(&id);
                    self.see(&node, &id).await;
                    let mut warnings = created.warnings.unwrap_or_default();
                    warnings.extend(self.networks.warnings(&node));
                    let body = json!({"Id": created.id, "Warnings": warnings}).to_string();
                    let mut answer = raw_json(StatusCode::CREATED, body);
                    answer.extensions_mut().insert(Made(created.id));
                    answer.extensions_mut().insert(on_node);
                    return Ok(on(&node.name, answer));
                }
                Err(Failure::Refused(error))
                    if self.lost == Lost::Look && self.is_lost_on(admission.node_id()) =>
                {
                    return Err(Box::new((Failure::Refused(error), admission)));
                }
                Err(Failure::Refused(error)) => {
                    tracing::info!(
                        node = node.name,
                        message = error.message(),
                        "create refused"
                    );
                    first.get_or_insert(error);
                }
                Err(failure) => return Err(Box::new((failure, admission))),
            }
            match admission.next().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    return Err(Box::new((Failure::Final(error.into()), admission)));
                }
            }
        }
        let failure = first.unwrap_or_else(|| ApiError::internal("error creating container"));
        Err(Box::new((Failure::Refused(failure), admission)))
    }

    /// Makes sure that the next call finds it.
    async fn see(&self, node: &NodeView, id: &WorkloadId) {
        let Some(node) = &node.id else { return };
        // It exists; a view that could not be refreshed learns of it from the engine's events.
        if let Err(error) = self.shared.plane.observe_now(node, id).await {
            tracing::warn!(error = %error.chain(), container = %id, "made, but not looked at");
        }
    }

    async fn on_node(
        &self,
        config: &mut CreateConfig,
        node: &NodeView,
        devices: &[DeviceId],
    ) -> Result<(WorkloadId, Created), Failure> {
        if node.health != NodeHealth::Healthy {
            let reason = format!("node {} is {}", node.name, node.health);
            return Err(Failure::Refused(ApiError::unavailable(reason)));
        }
        self.networks
            .ensure(self.shared, self.call.version, node)
            .await
            .map_err(Failure::Refused)?;
        let mut pulled = false;
        loop {
            let error = match self.ask(config, node, devices).await {
                Ok(created) => {
                    let id = WorkloadId::new(created.id.as_str());
                    let id = id.map_err(|error| {
                        Failure::Final(ApiError::internal(format!("malformed answer: {error}")))
                    })?;
                    return Ok((id, created));
                }
                Err(error) => error,
            };
            let missing_image = is_missing_image(&error);
            if missing_image && !pulled {
                pulled = true;
                let image = &config.request.image;
                if let Err(failure) = pull(self.shared, self.call, node, image, |_| {}).await {
                    let text = format!("{} ({})", error.message(), failure.message());
                    // A registry that does not answer now may do so later.
                    let error = ApiError::not_found(text).with_passing(failure.passes());
                    return Err(Failure::NoImage(error));
                }
            } else if missing_image {
                return Err(Failure::NoImage(error));
            } else if config.default_swappiness
                && error.message().to_ascii_lowercase().contains("swappiness")
            {
                config.default_swappiness = false;
                config.host_mut().remove("MemorySwappiness");
            } else {
                return Err(match error.status() {
                    StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Failure::Final(error),
                    _ => Failure::Refused(error),
                });
            }
        }
    }

    async fn ask(
        &self,
        config: &CreateConfig,
        node: &NodeView,
        devices: &[DeviceId],
    ) -> ApiResult<Created> {
        let cpus = node.info.as_ref().map_or(0, |info| info.cpu.0 / 1000);
        let mut query = self.call.query.clone();
        query.set(
            "name",
            (!self.name.is_empty()).then(|| self.name.to_owned()),
        );
        let target = self.shared.target_at(
            node,
            self.call.version,
            "/containers/create",
            &query.encode(),
        );
        let mut headers = self.call.headers.clone();
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        let body = full_body(config.body_for(cpus, devices)?.to_string());
        let request = request(Method::POST, &target, &headers, body)?;
        let asked = self
            .shared
            .ask(node, self.shared.options.work_limit, request)
            .await;
        let created = asked.and_then(|(_, answer)| {
            serde_json::from_slice(&answer).map_err(|error| {
                ApiError::internal(format!("malformed answer: {error}")).with_answer_lost()
            })
        });
        match created {
            Ok(created) => Ok(created),
            // The engine may have made it before the connection broke: then it is adopted.
            Err(error) if error.is_lost() => {
                let adopted = self.adopt(config, node).await;
                if let (None, Some(node)) = (&adopted, &node.id) {
                    let mut lost_on = self.lost_on.lock().unwrap_or_else(PoisonError::into_inner);
                    lost_on.insert(node.clone());
                }
                adopted.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Looks for a container that was made by a call whose answer was lost.
    async fn adopt(&self, config: &CreateConfig, node: &NodeView) -> Option<Created> {
        let swarm_id = config.request.labels.get(SWARM_ID_LABEL)?;
        let found = strays::find(self.shared, node, swarm_id).await.ok()?;
        match <[_; 1]>::try_from(found) {
            Ok([found]) => Some(Created {
                id: found.id,
                warnings: None,
            }),
            Err(_) => None,
        }
    }
}

fn derived(text: &str) -> ApiResult<Expression> {
    text.parse()
        .map_err(|error: longshore_core::ExpressionError| ApiError::bad_request(format!("{error}")))
}

/// `image operating system "X" cannot be used on this platform`.
fn image_os(message: &str) -> Option<&str> {
    let rest = message.split_once("image operating system \"")?.1;
    let (os, rest) = rest.split_once('"')?;
    rest.starts_with(" cannot be used on this platform")
        .then_some(os)
}

fn is_missing_image(error: &ApiError) -> bool {
    let message = error.message().to_ascii_lowercase();
    error.status() == StatusCode::NOT_FOUND
        && (message.contains("no such image")
            || ((message.contains("image") || message.contains("repository"))
                && (message.contains("not found") || message.contains("does not exist"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_system_is_read_from_the_message() {
        assert_eq!(
            image_os("image operating system \"windows\" cannot be used on this platform"),
            Some("windows")
        );
        assert_eq!(image_os("image operating system \"x\" is nice"), None);
    }

    #[test]
    fn a_missing_image_is_told_from_other_missing_things() {
        let check = |message: &str| is_missing_image(&ApiError::not_found(message));
        assert!(check("No such image: busybox:latest"));
        assert!(check("repository x not found: does not exist"));
        assert!(!check("network back not found"));
        assert!(!is_missing_image(&ApiError::internal("No such image: x")));
    }
}
