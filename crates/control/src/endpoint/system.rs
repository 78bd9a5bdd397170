//! `_ping`, `version`, and calls that any engine can answer.

use http::{HeaderValue, Response, StatusCode, header};
use longshore_core::http::full_body;
use serde_json::json;

use super::{
    Payload, Shared,
    call::{Call, json},
    error::{ApiError, ApiResult},
};

pub(super) fn ping() -> Response<Payload> {
    let mut response = Response::new(full_body("OK"));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

pub(super) fn version(shared: &Shared) -> ApiResult {
    let api = shared.options.api_version.to_string();
    let oldest = shared.options.min_api_version.to_string();
    let kernel = kernel_version();
    json(
        StatusCode::OK,
        &json!({
            "Platform": {"Name": "Docker Swarm - Community"},
            "Components": [{
                "Name": "Engine",
                "Version": SWARM_VERSION,
                "Details": {
                    "ApiVersion": api,
                    "MinAPIVersion": oldest,
                    "Arch": go_arch(),
                    "Os": std::env::consts::OS,
                    "KernelVersion": kernel,
                    "Experimental": "false",
                    "GitCommit": GIT_COMMIT,
                    "GoVersion": "none",
                    "BuildTime": "",
                },
            }],
            "Version": SWARM_VERSION,
            "ApiVersion": api,
            "MinAPIVersion": oldest,
            "GitCommit": GIT_COMMIT,
            "GoVersion": "none",
            "Os": std::env::consts::OS,
            "Arch": go_arch(),
            "KernelVersion": kernel,
            "BuildTime": "",
        }),
    )
}

/// Passes a call to a healthy engine chosen at random.
pub(super) async fn any_engine(shared: &Shared, mut call: Call) -> ApiResult {
    let nodes = shared.healthy_nodes();
    let count = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
    let chosen = match count {
        0 => None,
        _ => usize::try_from(shared.plane.random().next_u64() % count).ok(),
    };
    let Some(node) = chosen.and_then(|index| nodes.get(index)) else {
        return Err(ApiError::unavailable(
            "No healthy node available in the cluster",
        ));
    };
    let (path, query) = (call.path.clone(), call.raw_query.clone());
    let limit = Some(shared.options.work_limit);
    shared.forward(node, &mut call, &path, &query, limit).await
}

pub(super) fn kernel_version() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "<unknown>".to_owned(), |text| text.trim().to_owned())
}

/// The machine's architecture in Docker's words.
pub(super) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Tools test for the `swarm/` prefix.
pub(super) const SWARM_VERSION: &str = concat!("swarm/1.2.9-longshore-", env!("CARGO_PKG_VERSION"));
const GIT_COMMIT: &str = match option_env!("LONGSHORE_GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
