//! A shell beside a session that ends the session's processes when it is let go.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    ClockExt, Error, ExecRequest, OutputKind, Result, Signal, WorkloadId, http::Demultiplexer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use crate::cleanup::{Cleanup, Marker};

/// Held as long as the session lives. Dropped, lost with this program, or not heard of for ten
/// seconds, the shell acts.
#[derive(Debug)]
pub(super) struct Lifeline {
    signals: mpsc::Sender<Signal>,
    gone: CancellationToken,
}

impl Lifeline {
    /// Starts it, before the session itself: from then on nothing is left behind.
    ///
    /// # Errors
    /// There is no shell in the container, or one without what the script needs.
    pub(super) async fn start(
        api: &Arc<Api>,
        workload: &WorkloadId,
        user: &str,
        marker: &Marker,
        policy: Cleanup,
    ) -> Result<Self> {
        let mode = if policy == Cleanup::Tree {
            "tree"
        } else {
            "foreground"
        };
        let command = [
            "sh",
            "-c",
            SCRIPT,
            "longshore-lifeline",
            marker.value(),
            mode,
        ];
        let mut request = ExecRequest::new(workload.clone(), command).with_stdin();
        user.clone_into(&mut request.user);
        let id = api.create_exec(&request, &[]).await?;
        let mut stream = api.start_exec(&id, false, None).await?;
        let mut frames = Demultiplexer::new();
        let mut said = Vec::new();
        let listening = async {
            let mut buffer = [0; 512];
            while !said.ends_with(READY) && said.len() < buffer.len() {
                let count = stream.read(&mut buffer).await.unwrap_or(0);
                if count == 0 {
                    break;
                }
                let mut piece = bytes::Bytes::copy_from_slice(&buffer[..count]);
                while let Ok(Some(output)) = frames.next(&mut piece) {
                    if output.kind == OutputKind::Stdout {
                        said.extend_from_slice(&output.bytes);
                    }
                }
            }
        };
        api.clock
            .timeout(START_LIMIT, "the lifeline", listening)
            .await?;
        if !said.ends_with(READY) {
            let said = String::from_utf8_lossy(&said);
            let said = longshore_core::printable(said.trim(), 200).into_owned();
            return Err(
                Error::unsupported("the container has no usable shell for a lifeline")
                    .with_context("said", said),
            );
        }
        let (signals, mut wanted) = mpsc::channel::<Signal>(SIGNALS);
        let gone = CancellationToken::new();
        let let_go = gone.clone();
        let clock = Arc::clone(&api.clock);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let beating = async move {
                loop {
                    let line = tokio::select! {
                        signal = wanted.recv() => match signal {
                            Some(signal) => format!("s {}\n", signal.number()),
                            None => return,
                        },
                        () = clock.sleep(BEAT) => "\n".to_owned(),
                    };
                    let written = async {
                        write.write_all(line.as_bytes()).await?;
                        write.flush().await
                    };
                    if written.await.is_err() {
                        return;
                    }
                }
            };
            let draining = async move {
                let mut rest = [0; 512];
                while matches!(read.read(&mut rest).await, Ok(count) if count > 0) {}
            };
            // Both halves go with the first that ends, and the stream with them.
            tokio::select! {
                () = beating => {}
                () = draining => {}
                () = let_go.cancelled() => {}
            }
        });
        Ok(Self { signals, gone })
    }

    /// Ends its input: the shell acts, and goes.
    pub(super) fn let_go(&self) {
        self.gone.cancel();
    }

    /// Sends a signal to the session's foreground.
    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        self.signals.send(signal).await.map_err(|_| {
            Error::unavailable("the lifeline of the session is gone; no signal can be sent")
        })
    }
}

const BEAT: Duration = Duration::from_secs(2);
const START_LIMIT: Duration = Duration::from_secs(20);
const READY: &[u8] = b"ready\n";
const SIGNALS: usize = 16;

/// The third argument that makes the script end what it finds at once, and itself.
pub(super) const SWEEP: &str = "sweep";

/// For any POSIX shell, with `tr` and `grep` beside it; with `tail` it is quick. The marker is an argument and its variable's
/// name is not, so that the script does not find itself.
///
/// `tr`, because busybox's `grep` sees nothing behind the first zero byte. Behind the name, which may
/// hold anything, a line of `stat` has: state, parent, group, session, terminal, foreground group.
/// Plain dash has no `read -t`: there only the end of the input counts, not silence.
pub(super) const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
mark="LONGSHORE_EXEC_ID=$1"
sessions= known=
fields() {
    read -r line <"/proc/$1/stat" || return 1
    set -- ${line##*) }
    state=$1 parent=$2 group=$3 session=$4 front=$6
} 2>/dev/null
marked() {
    tr '\000' '\n' <"/proc/$1/environ" | grep -qxF -e "$mark"
} 2>/dev/null
suspects() {
    tail -v -c +1 /proc/[0-9]*/environ | tr '\000' '\n' |
        grep -E "^(==> /proc/[0-9]+/environ <==|$mark)\$" |
        while read -r word file rest; do
            case $word in
                '==>') at=${file#/proc/} at=${at%/environ} ;;
                *) echo "$at" ;;
            esac
        done
} 2>/dev/null
find() {
    found= all=
    # In one go, and then each alone: text in an environment may look like another's.
    ! command -v tail >/dev/null || suspects=" $(suspects | tr '\n' ' ') "
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        [ "$pid" -gt 1 ] && [ "$pid" != "$$" ] && fields "$pid" || continue
        case $state in Z | X) continue ;; esac
        all="$all $pid:$parent"
        case " $sessions " in
            *" $session "*) found="$found $pid"; continue ;;
        esac
        case ${suspects-" $pid "} in *" $pid "*) ;; *) continue ;; esac
        case " $known " in
            *" $pid "*) found="$found $pid"; continue ;;
        esac
        if marked "$pid"; then
            known="$known $pid" found="$found $pid"
            [ "$pid" != "$session" ] || sessions="$sessions $session"
        fi
    done
    more=1
    while [ -n "$more" ]; do
        more=
        for pair in $all; do
            case " $found " in *" ${pair%:*} "*) continue ;; esac
            case " $found " in *" ${pair#*:} "*) found="$found ${pair%:*}" more=1 ;; esac
        done
    done
}
hit() {
    for pid in $found; do kill "-$1" "$pid"; done
} 2>/dev/null
nap() {
    sleep 0.1 || sleep 1
} 2>/dev/null
tree() {
    for signal in HUP TERM; do
        find
        [ -n "$found" ] || break
        hit STOP; hit "$signal"; hit CONT
        nap
    done
    empty=0 round=0
    while [ "$empty" -lt 2 ] && [ "$round" -lt 200 ]; do
        round=$((round + 1))
        find
        empty=$((empty + 1))
        [ -z "$found" ] || { hit STOP; hit KILL; empty=0; }
    done
}
foreground() {
    for dir in /proc/[0-9]*; do
        pid=${dir#/proc/}
        fields "$pid" && [ "$parent" = 0 ] && [ "$pid" -gt 1 ] && marked "$pid" || continue
        [ "$front" -gt 0 ] || front=$group
        kill "-$1" "-$front"
        return
    done
} 2>/dev/null
if [ "$2" = sweep ]; then
    tree
    exit 0
fi
command -v tr >/dev/null && command -v grep >/dev/null || exit 1
limit='-t 10'
read -t 1 nothing </dev/null 2>/dev/null
[ "$?" -le 1 ] || limit=
echo ready
while read -r $limit word number; do
    [ "$word" != s ] || foreground "$number"
done
if [ "$2" = tree ]; then
    tree
else
    for signal in HUP TERM KILL; do foreground "$signal"; nap; done
fi
"#;
