//! Ends what a session leaves behind.

use std::sync::Arc;

use longshore_core::{ExecRequest, Result, WorkloadId};
use tokio::io::AsyncReadExt;

use super::api::Api;

/// The mark of one session: an environment variable that its processes inherit.
#[derive(Clone, Debug)]
pub(super) struct Mark(String);

impl Mark {
    pub(super) fn new(api: &Api) -> Self {
        Self(format!("LONGSHORE_EXEC_ID={}", api.random.hex(16)))
    }

    pub(super) fn pair(&self) -> &str {
        &self.0
    }

    /// Kills every process with the mark, from inside the container. Best effort: without a shell
    /// there nothing happens, and a process that cleared its environment is not found.
    pub(super) async fn sweep(
        &self,
        api: &Arc<Api>,
        workload: &WorkloadId,
        user: &str,
    ) -> Result<()> {
        let command = ["sh", "-c", SCRIPT, "longshore-cleanup", &self.0];
        let mut request = ExecRequest::new(workload.clone(), command);
        user.clone_into(&mut request.user);
        let id = api.create_exec(&request, &[]).await?;
        let mut stream = api.start_exec(&id, false, None).await?;
        // It says nothing; its end is the end of the stream.
        let mut rest = [0; 256];
        while matches!(stream.read(&mut rest).await, Ok(count) if count > 0) {}
        Ok(())
    }
}

/// The mark is an argument, not in the script's environment, so that it does not find itself.
/// Rounds, because a process may have had a child while it was killed. `tr`, because busybox's
/// `grep` sees nothing behind the first zero byte.
const SCRIPT: &str = r#"
round=0
while [ "$round" -lt 20 ]; do
    round=$((round + 1))
    found=
    for file in /proc/[0-9]*/environ; do
        if tr '\000' '\n' <"$file" 2>/dev/null | grep -qxF -e "$1"; then
            pid=${file#/proc/}
            pid=${pid%/environ}
            [ "$pid" -gt 1 ] && kill -9 "$pid" 2>/dev/null && found=1
        fi
    done
    [ -n "$found" ] || exit 0
done
"#;
