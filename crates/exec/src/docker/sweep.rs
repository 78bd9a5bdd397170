//! Ends what carries a marker, from outside the session that it is of.

use longshore_core::{ClockExt, Error, ExecRequest, Result, WorkloadId};
use tokio::io::AsyncReadExt;

use super::{
    context::Context,
    keeper::Watched,
    lifeline::{SCRIPT, SWEEP},
    sidecar::{self, NAMED, SIDECAR},
    stub,
};
use crate::cleanup::{CleanupRung, Marker};

/// What can be tried, in order.
pub(super) fn rungs(context: &Context, watched: &Watched) -> Vec<CleanupRung> {
    let settings = &context.settings;
    let mut rungs = Vec::new();
    if settings.stub.is_none() && !watched.shellless {
        rungs.push(CleanupRung::Sweep);
    }
    if settings.stub.is_some() || settings.sidecar_image.is_some() {
        rungs.push(CleanupRung::Sidecar);
    }
    rungs
}

pub(super) async fn run(context: &Context, rung: CleanupRung, watched: &Watched) -> Result<()> {
    match rung {
        CleanupRung::Sidecar => sidecar(context, &watched.workload, &[&watched.marker]).await,
        _ => inside(context, watched).await,
    }
}

/// Through a shell in the container, as the session's user: Linux shows it the environments of that
/// user's processes.
async fn inside(context: &Context, watched: &Watched) -> Result<()> {
    let api = &context.api;
    let value = watched.marker.value();
    let command = ["sh", "-c", SCRIPT, "longshore-cleanup", value, SWEEP];
    let mut request = ExecRequest::new(watched.workload.clone(), command);
    request.user.clone_from(&watched.user);
    let id = api.create_exec(&request, &[]).await?;
    let mut stream = api.start_exec(&id, false, None).await?;
    // It says nothing; its end is the end of the stream.
    let mut rest = [0; 256];
    let reading = async { while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {} };
    api.clock.timeout(LIMIT, "the cleanup", reading).await
}

/// Through a container of our own in the container's process namespace.
pub(super) async fn sidecar(
    context: &Context,
    workload: &WorkloadId,
    markers: &[&Marker],
) -> Result<()> {
    let (api, settings) = (&context.api, &context.settings);
    let (image, command) = match (&settings.stub, &settings.sidecar_image) {
        (Some(stub), _) => {
            let mut command = vec![format!("/{}", stub::PROGRAM), "sweep".to_owned()];
            command.extend(markers.iter().map(|marker| marker.pair()));
            (stub::image(api, stub).await?, vec![command])
        }
        (None, Some(image)) => {
            let script = |marker: &&Marker| {
                let words = [
                    "sh",
                    "-c",
                    SCRIPT,
                    "longshore-cleanup",
                    marker.value(),
                    SWEEP,
                ];
                words.map(str::to_owned).to_vec()
            };
            (image.clone(), markers.iter().map(script).collect())
        }
        (None, None) => return Err(Error::unsupported("there is no image for a sidecar")),
    };
    for command in command {
        let config = sidecar::config(workload, &image, &command, SIDECAR);
        let name = format!("{NAMED}{SIDECAR}-{}", api.random.hex(8));
        let id = api.create_container(&name, &config).await?;
        let ended = match api.start_container(&id).await {
            Ok(()) => api.wait_for_helper(&id).await,
            Err(error) => Err(error),
        };
        // Whatever became of it, it does not stay.
        api.remove_container(&id).await?;
        let code = ended?;
        if code != 0 {
            tracing::debug!(code, "a sidecar could not end everything");
        }
    }
    Ok(())
}

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
