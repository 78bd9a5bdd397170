//! The task that looks after a workload while it runs or waits to run again. It decides nothing:
//! [`Lifecycle`](crate::lifecycle::Lifecycle) does.

use std::sync::Arc;

use longshore_core::{BoxFuture, OutputKind, Result};
use tokio::{io::AsyncWriteExt, sync::watch};

use super::{
    cell::{Cell, CellState, Run, StdinPiece},
    host::Host,
    launch::Launched,
    pipe::{Input, Pipe},
};
use crate::{lifecycle::Step, output_log::Output};

/// Carries out what the lifecycle asks for, tells who waits, and sees to it that somebody watches
/// the deadlines.
///
/// # Errors
/// The process could not be started.
pub(super) fn drive(host: &Arc<Host>, cell: &Arc<Cell>, state: &mut CellState) -> Result<()> {
    let result = carry_out(host, cell, state);
    if state.record.life.is_active() && cell.begin_supervision(state) {
        let task = supervise(Arc::clone(host), Arc::clone(cell));
        host.tasks.spawn(task);
    } else {
        // Also of an end: a supervisor without a deadline would wait for ever, and hold up a
        // shutdown.
        cell.poke.notify_one();
    }
    result
}

fn carry_out(host: &Arc<Host>, cell: &Arc<Cell>, state: &mut CellState) -> Result<()> {
    let mut result = Ok(());
    while let Some(step) = state.record.life.next_step() {
        let run = state.run.as_ref();
        match step {
            Step::Spawn => match begin(host, cell, state) {
                Ok(()) => state.record.life.spawned(host.clock.now()),
                Err(error) => {
                    let code = error
                        .context("exit_code")
                        .and_then(|code| code.parse().ok());
                    let (now, random) = (host.clock.now(), &*host.random);
                    let reason = error.to_string();
                    let code = code.unwrap_or(126);
                    state.record.life.spawn_failed(reason, code, now, random);
                    result = Err(error);
                }
            },
            Step::Terminate => {
                result = signal(run, |run| {
                    run.leader.signal_group(longshore_core::Signal::TERM)
                });
            }
            Step::Signal(number) => result = signal(run, |run| run.leader.signal(number)),
            Step::Kill => {
                result = signal(run, |run| {
                    run.leader.signal_group(longshore_core::Signal::KILL)
                });
            }
            Step::Tell(action, attributes) => {
                let event = state.record.event(action, attributes, host.clock.now());
                host.events.push(event);
            }
        }
    }
    let phase = state.record.life.phase();
    cell.phase.send_if_modified(|told| {
        let news = told.active != phase.active || told.runs != phase.runs;
        let gone = told.gone;
        *told = phase;
        told.gone = gone;
        news
    });
    result
}

fn signal(run: Option<&Run>, send: impl FnOnce(&Run) -> Result<()>) -> Result<()> {
    run.map_or(Ok(()), send)
}

/// Starts the process of a workload, with the tasks that move its output and input.
fn begin(host: &Arc<Host>, cell: &Arc<Cell>, state: &mut CellState) -> Result<()> {
    let launched = host.launch_workload(&state.record)?;
    let Launched {
        leader,
        input,
        outputs,
        terminal,
    } = launched;
    let leader = Arc::new(leader);
    let (exited, watch) = watch::channel(false);
    let pumps = outputs
        .into_iter()
        .map(|(kind, pipe)| {
            let pump = pump_output(
                Arc::clone(host),
                Arc::clone(cell),
                kind,
                pipe,
                watch.clone(),
            );
            host.tasks.spawn(pump)
        })
        .collect();
    if let Some(input) = input {
        host.tasks.spawn(pump_input(Arc::clone(cell), input, watch));
    }
    state.record.pid = leader.pid();
    state.run = Some(Run {
        leader: Arc::clone(&leader),
        terminal,
    });
    host.tasks.spawn(finish(
        Arc::clone(host),
        Arc::clone(cell),
        Ending {
            leader,
            exited,
            pumps,
        },
    ));
    Ok(())
}

/// What is needed to end a run in order.
struct Ending {
    leader: Arc<super::leader::Leader>,
    exited: watch::Sender<bool>,
    pumps: Vec<tokio::task::JoinHandle<()>>,
}

/// Waits for the first process, ends what it left behind, and tells of the end once all output is
/// in the log.
async fn finish(host: Arc<Host>, cell: Arc<Cell>, ending: Ending) {
    let Ending {
        leader,
        exited,
        pumps,
    } = ending;
    leader.exited().await;
    // From here on nobody gets in, so the family does not grow any more.
    cell.lock().run = None;
    let family = cell.family.clone();
    let first = Arc::clone(&leader);
    let left = tokio::task::spawn_blocking(move || family.kill(Some(&first))).await;
    if let Ok(left @ 1..) = left {
        tracing::error!(workload = %cell.id, left, "processes of an ended workload are left");
    }
    exited.send_replace(true);
    for pump in pumps {
        let _ = pump.await;
    }
    let mut state = cell.lock();
    state.record.pid = 0;
    let status = leader.reap();
    let (now, random) = (host.clock.now(), &*host.random);
    state.record.life.ended(status, now, random);
    // Nothing that can fail is left to do at an end.
    let _ = drive(&host, &cell, &mut state);
}

/// Watches the deadlines of an active workload: the end of a grace, the next restart. Boxed,
/// because a run that ends may start it, and it starts runs.
fn supervise(host: Arc<Host>, cell: Arc<Cell>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            let deadline = {
                let mut state = cell.lock();
                state.record.life.tick(host.clock.now());
                if let Err(error) = carry_out(&host, &cell, &mut state) {
                    tracing::warn!(workload = %cell.id, %error, "a workload cannot be restarted");
                }
                if !state.record.life.is_active() {
                    cell.end_supervision(&state);
                    return;
                }
                state.record.life.next_deadline()
            };
            let at_deadline = async {
                match deadline {
                    Some(deadline) => host.clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = at_deadline => {}
                () = cell.poke.notified() => {}
            }
        }
    })
}

/// Moves output into the log. Attached readers hold it back; once the process has ended, what is
/// left in the pipe goes into the log at once.
async fn pump_output(
    host: Arc<Host>,
    cell: Arc<Cell>,
    kind: OutputKind,
    pipe: Pipe,
    mut exited: watch::Receiver<bool>,
) {
    let output = |bytes| Output {
        at: host.clock.now(),
        kind,
        bytes,
    };
    loop {
        let bytes = tokio::select! {
            biased;
            _ = exited.wait_for(|exited| *exited) => break,
            read = pipe.read() => match read {
                Ok(bytes) if !bytes.is_empty() => bytes,
                _ => return,
            },
        };
        let output = output(bytes);
        let weight = output.weight();
        tokio::select! {
            () = cell.output.push_held(output.clone(), weight) => {}
            _ = exited.wait_for(|exited| *exited) => {
                cell.output.push_over(output, weight);
                break;
            }
        }
    }
    // The family is dead, so what is there is all there is. The bound is for a stranger that
    // holds the pipe open and keeps writing.
    let mut allowance = LARGEST_PIPE;
    while let Ok(Some(bytes)) = pipe.read_now() {
        if bytes.is_empty() || allowance == 0 {
            return;
        }
        allowance = allowance.saturating_sub(bytes.len());
        let output = output(bytes);
        let weight = output.weight();
        cell.output.push_over(output, weight);
    }
}

/// Moves input from the workload's queue to this run.
async fn pump_input(cell: Arc<Cell>, mut input: Input, mut exited: watch::Receiver<bool>) {
    let Some(stdin) = &cell.stdin else {
        return;
    };
    let moving = async {
        let mut queue = stdin.receiver.lock().await;
        let mut open = true;
        while let Some(piece) = queue.recv().await {
            // After the end of the input, or once nobody reads it, more of it goes nowhere.
            match piece {
                StdinPiece::Bytes(bytes) if open => open = input.write_all(&bytes).await.is_ok(),
                StdinPiece::Bytes(_) => {}
                StdinPiece::End => {
                    let _ = input.shutdown().await;
                    open = false;
                }
            }
        }
    };
    tokio::select! {
        _ = exited.wait_for(|exited| *exited) => {}
        () = moving => {}
    }
}

/// The most that an unprivileged process can have in a pipe.
const LARGEST_PIPE: usize = 1 << 20;
