//! Starting what was made, once.

use http::{HeaderMap, Method};
use longshore_core::{NodeId, Workload, WorkloadId, WorkloadState, http::empty_body};

use super::{Done, Job, Outcome};
use crate::{
    NodeView,
    endpoint::{
        error::{ApiError, ApiResult},
        proxy::request,
    },
};

impl Job {
    pub(super) async fn start(&mut self) -> Done {
        let (id, node) = match self.made() {
            Ok(made) => made,
            Err(error) => return not_started(error),
        };
        let path = format!("/containers/{id}/start");
        let target = self.shared.target_at(&node, self.call.version, &path, "");
        let asked = match request(Method::POST, &target, &HeaderMap::new(), empty_body()) {
            Ok(request) => {
                let limit = self.shared.options.work_limit;
                self.shared.ask(&node, limit, request).await
            }
            Err(error) => Err(error),
        };
        self.observe(&node, &id).await;
        match asked {
            Ok(_) => Ok(Outcome::Started),
            Err(error) if error.is_lost() => Err((Outcome::StartLost, error)),
            Err(error) => not_started(error),
        }
    }

    /// Asks the engine whether it ran: by the start whose answer was lost, or by its user's.
    pub(super) async fn check(&mut self) -> Done {
        let (id, node) = match self.made() {
            Ok(made) => made,
            Err(error) => return unsaid(error),
        };
        let Some(on) = &node.id else {
            return unsaid(ApiError::unavailable("its node was never reached"));
        };
        match self.shared.plane.observe_now(on, &id).await {
            Ok(Some(view)) if has_run(&view.workload) => Ok(Outcome::Started),
            Ok(Some(_)) => Ok(Outcome::NeverRan),
            Ok(None) => unsaid(ApiError::not_found("it is not there any more")),
            Err(error) => unsaid(ApiError::from(error).with_passing(true)),
        }
    }

    /// What was made, on its node as it is reached now.
    ///
    /// # Errors
    /// None of these passes: another manager leads, or the node left.
    fn made(&self) -> ApiResult<(WorkloadId, NodeView)> {
        let of_good = |error: ApiError| error.with_passing(false);
        self.may_go_on().map_err(of_good)?;
        let made = self.held.made.clone();
        let (id, node) =
            made.ok_or_else(|| of_good(ApiError::internal("there is nothing to be started")))?;
        let now = node.id.as_ref().map(NodeId::as_str).unwrap_or_default();
        let left = || of_good(ApiError::unavailable(format!("node {} left", node.name)));
        let node = self.shared.plane.node(now).ok_or_else(left)?;
        Ok((id, node))
    }
}

/// Whether it runs, or ever did.
fn has_run(workload: &Workload) -> bool {
    let started = workload
        .detail
        .as_ref()
        .and_then(|detail| detail.started.as_ref());
    started.is_some()
        || matches!(
            workload.state,
            WorkloadState::Running
                | WorkloadState::Paused
                | WorkloadState::Restarting
                | WorkloadState::Exited
        )
}

fn not_started(error: ApiError) -> Done {
    let passes = error.passes();
    Err((Outcome::NotStarted { passes }, error))
}

fn unsaid(error: ApiError) -> Done {
    let passes = error.passes();
    Err((Outcome::Unsaid { passes }, error))
}
