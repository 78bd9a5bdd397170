//! Ends the workloads when this program is killed before it can.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
};

use super::family::ENGINE_MARK;

/// A small shell process that waits for the end of a pipe from this program. The pipe ends when
/// this program does, however that happens; the guard then kills every process with the engine's
/// mark, and their process groups. It is in a group of its own, so that Ctrl-C at a terminal does not reach it.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts it; `None` where there is no `sh`.
    pub(super) fn start(engine: &str) -> Option<Self> {
        let started = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "longshore-guard"])
            .arg(format!("{ENGINE_MARK}={engine}"))
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                tracing::warn!(%error, "no guard: workloads outlive this program if it is killed");
                None
            }
        }
    }
}

/// Dropped in order, the guard has nothing left to do.
impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The mark is an argument, not in the guard's environment, so that it does not find itself. `tr`,
/// because busybox's `grep` sees nothing behind the first zero byte.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
round=0
while [ "$round" -lt 50 ]; do
    round=$((round + 1))
    found=
    for file in /proc/[0-9]*/environ; do
        if tr '\000' '\n' <"$file" 2>/dev/null | grep -qxF -e "$1"; then
            read -r stat <"${file%environ}stat" 2>/dev/null || continue
            pid=${stat%% *}
            # Behind the name: state, parent, group. Its group is of its kind, mark or not.
            set -- "$1" ${stat##*) }
            kill -9 "$pid" "-$4" 2>/dev/null && found=1
        fi
    done
    [ -n "$found" ] || exit 0
done
"#;
