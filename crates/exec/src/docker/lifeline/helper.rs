use std::{sync::Arc, time::Duration};

use longshore_core::{BoxByteStream, ClockExt, Error, ErrorKind, Result, WorkloadId};
use serde_json::{Value, json};

use super::Key;
use crate::{
    cleanup::{Identity, LATE_START},
    docker::{
        api::Api,
        sidecar::{self, GATEWAY, LIFE, LIFELINE, NAMED, ROLE},
    },
};

/// A helper container that is the seat of a lifeline's shell, from before the engine is asked for it.
///
/// It ends by itself when its shell does, at the end of its input or after ten seconds of silence at
/// the latest, and the engine removes it then (`AutoRemove`). What was made and not started it does
/// not remove, nor what somebody in the container has stopped: root there can end it, as it can a
/// shell inside. So whenever this is dropped, it is seen to that nothing stays; what could not be seen
/// to, because this program died, is left to the next [`reap`](crate::DockerExec::reap).
///
/// A container that was given `SYS_PTRACE` itself can take its helper over. It gains the
/// capabilities of [`CAPABILITIES`] by that, and no more.
#[derive(Debug)]
pub(super) struct Helper {
    api: Arc<Api>,
    name: String,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The engine may yet make it.
    Asked,
    Refused,
    Made,
    /// Its shell has said its word.
    Stands,
}

impl Helper {
    /// Makes it and starts it. Its stream is attached before, so that no word is missed.
    ///
    /// # Errors
    /// `Conflict` when the container does not run, `Unsupported` where its processes are the host's.
    ///
    /// # Cancel safety
    /// Dropped, what was made is removed.
    pub(super) async fn start(
        api: &Arc<Api>,
        key: &Key,
        image: &str,
        command: &[&str],
    ) -> Result<(BoxByteStream, Self)> {
        // The engine would make a helper for one that does not run, and refuse to start it.
        let container = api.inspect_container(&key.workload).await;
        let container = container.map_err(gone)?;
        if !container.state.running {
            return Err(not_running(&key.workload));
        }
        // It would stand among the host's processes, for as long as there are sessions.
        if container.is_among_the_hosts() {
            let text = "the container is in the host's process namespace; no helper joins it there";
            return Err(Error::unsupported(text));
        }
        let mut helper = Self {
            name: format!("{NAMED}{LIFELINE}-{}", api.random.hex(8)),
            api: Arc::clone(api),
            stage: Stage::Asked,
        };
        let config = config(&key.workload, &key.identity, image, command);
        helper.stage = match api.create_container(&helper.name, &config).await {
            Ok(_) => Stage::Made,
            Err(error) => {
                // In the engine's own words, and for good.
                if error.context("status").is_some() && !error.is_retryable() {
                    helper.stage = Stage::Refused;
                }
                return Err(error);
            }
        };
        let id = WorkloadId::new(helper.name.clone())?;
        let stream = api.attach(&id, true, false).await?;
        api.start_container(&helper.name).await?;
        Ok((stream, helper))
    }

    /// Its shell watches: from now on it acts and ends by itself.
    pub(super) fn stands(&mut self) {
        self.stage = Stage::Stands;
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.stage != Stage::Refused
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (api, name) = (Arc::clone(&self.api), std::mem::take(&mut self.name));
            runtime.spawn(remove(api, name, self.stage));
        }
    }
}

/// Sees to it that a helper is not there any more, for about a minute while the engine does not answer
/// or may yet make it.
async fn remove(api: Arc<Api>, name: String, stage: Stage) {
    if stage == Stage::Stands {
        api.clock.sleep(FAREWELL).await;
    }
    let until = api.clock.now().after(LATE_START * 2);
    let mut pause = FIRST_PAUSE;
    loop {
        match api.remove_container(&name).await {
            Ok(true) => return,
            Ok(false) if stage != Stage::Asked => return,
            Ok(false) => {}
            Err(error) => {
                let error = error.chain();
                tracing::debug!(helper = name, error, "a helper could not be removed");
            }
        }
        if api.clock.now() >= until {
            return;
        }
        api.clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn config(workload: &WorkloadId, identity: &Identity, image: &str, command: &[&str]) -> Value {
    let mut config = sidecar::config(workload, image, command, LIFELINE);
    config["Labels"] = json!({
        (ROLE): LIFELINE,
        (GATEWAY): identity.gateway(),
        (LIFE): identity.life(),
    });
    config["OpenStdin"] = json!(true);
    config["StdinOnce"] = json!(true);
    // An image may check its health, or begin in a folder of its own.
    config["Healthcheck"] = json!({ "Test": ["NONE"] });
    config["WorkingDir"] = json!("/");
    let host = &mut config["HostConfig"];
    host["AutoRemove"] = json!(true);
    // It stays beside what runs there, so it has no more than it needs: to find and to end the
    // processes of all users.
    host["CapDrop"] = json!(["ALL"]);
    host["CapAdd"] = json!(CAPABILITIES);
    // Nor can it be made to take much from the host.
    host["Memory"] = json!(MEMORY);
    host["PidsLimit"] = json!(PROCESSES);
    config
}

/// As an engine says of a command in a container that is not there.
fn gone(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Conflict, "the container is gone")
            .with_retryable(false)
            .with_source(error),
        _ => error,
    }
}

pub(in crate::docker) fn not_running(workload: &WorkloadId) -> Error {
    let text = format!("container {workload} is not running");
    Error::new(ErrorKind::Conflict, text).with_retryable(false)
}

/// To open the environments of other users' processes, to signal them, and to be let at their memory.
/// Engines give the first two to every container. `DAC_READ_SEARCH` would open those files as well,
/// and by `open_by_handle_at` any file of the host's for who takes the helper over.
const CAPABILITIES: [&str; 3] = ["DAC_OVERRIDE", "KILL", "SYS_PTRACE"];
/// In bytes. A search holds one environment of a process at a time, and the numbers of all.
const MEMORY: u64 = 64 << 20;
/// Four searches at a time, of a few processes each.
const PROCESSES: u32 = 64;
/// A shell that acts has looked for latecomers for half a minute by then.
const FAREWELL: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
