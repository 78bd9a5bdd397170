//! Runs the machine: makes its calls, tells it the time. It decides nothing.

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{BoxFuture, Error, KvWatch, PutOptions, Result, Shutdown, Timestamp};

use super::{
    ElectionState, FencingToken, Shared,
    call::{Answer, Call, Input, Output},
    machine::Machine,
};

pub(super) async fn run(shared: &Shared, shutdown: &Shutdown) {
    let _end = End(shared);
    let clock = &shared.clock;
    let random = shared.random.clone();
    let mut machine = Machine::new(shared.options.clone(), random, clock.now());
    let mut call: Option<BoxFuture<'_, Result<Answer>>> = None;
    let mut watch: Option<KvWatch> = None;
    let mut contact = Contact::default();
    let mut resigned = false;
    loop {
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Call(next) => call = Some(Box::pin(perform(shared, next))),
                Output::Abandon => call = None,
                Output::Watch => watch = Some(shared.store.watch(&shared.options.key, None)),
            }
        }
        publish(shared, &machine, &contact, clock.now());
        if machine.is_finished() {
            return;
        }
        let deadline = machine.next_deadline();
        let input = tokio::select! {
            biased;
            () = shutdown.requested(), if !resigned => {
                resigned = true;
                Input::Resign
            }
            () = sleep(shared, deadline) => Input::Tick,
            answer = finish(&mut call) => {
                call = None;
                contact.note(&answer, clock.now());
                Input::Answer(answer)
            }
            event = next(&mut watch) => match event {
                Some(_) => Input::Hint,
                None => {
                    tracing::warn!(
                        "Leader Election: watch leader channel closed, the store may be \
                         unavailable..."
                    );
                    watch = None;
                    Input::WatchLost
                }
            },
        };
        machine.handle(input, clock.now());
    }
}

async fn sleep(shared: &Shared, deadline: Option<Timestamp>) {
    match deadline {
        Some(at) => shared.clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn finish(call: &mut Option<BoxFuture<'_, Result<Answer>>>) -> Result<Answer> {
    match call {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}

async fn next(watch: &mut Option<KvWatch>) -> Option<()> {
    match watch {
        Some(watch) => watch.next().await.map(drop),
        None => std::future::pending().await,
    }
}

async fn perform(shared: &Shared, call: Call) -> Result<Answer> {
    let (store, options) = (&shared.store, &shared.options);
    match call {
        Call::ReadLock => store.get(&options.key).await.map(Answer::Lock),
        Call::Grant => store.grant(options.ttl).await.map(Answer::Granted),
        Call::TakeLock { lease, expect } => {
            let address = options.advertise.clone().unwrap_or_default();
            let how = PutOptions::default().with_expect(expect).with_lease(lease);
            let done = store.put(&options.key, Bytes::from(address), how).await;
            done.map(|_| Answer::Taken)
        }
        Call::ReadToken => store.get(&options.token_key()).await.map(Answer::Token),
        Call::WriteToken { token, expect } => {
            let how = PutOptions::default().with_expect(expect);
            let value = Bytes::from(token.to_string());
            let done = store.put(&options.token_key(), value, how).await;
            done.map(|_| Answer::TokenWritten)
        }
        Call::KeepAlive(lease) => store.keep_alive(lease).await.map(|()| Answer::KeptAlive),
        Call::Revoke(lease) => store.revoke(lease).await.map(|()| Answer::Revoked),
    }
}

/// When the store was last heard.
#[derive(Default)]
struct Contact {
    success: Option<Timestamp>,
    error: Option<(String, Timestamp)>,
    failing: bool,
}

impl Contact {
    /// A failure is logged once, and so is the recovery.
    fn note(&mut self, answer: &Result<Answer>, now: Timestamp) {
        let error = match answer {
            Err(error) if error.is_retryable() && !is_lost_race(error) => Some(error),
            _ => None,
        };
        match error {
            None => {
                self.success = Some(now);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("Leader Election: the store answers again");
                }
            }
            Some(error) => {
                self.error = Some((error.chain(), now));
                if !std::mem::replace(&mut self.failing, true) {
                    let error = error.chain();
                    tracing::error!(error, "Leader Election: the store does not answer");
                }
            }
        }
    }
}

fn is_lost_race(error: &Error) -> bool {
    error.kind() == longshore_core::ErrorKind::Conflict
}

fn publish(shared: &Shared, machine: &Machine, contact: &Contact, now: Timestamp) {
    let leading = machine
        .leading(now)
        .map(|(token, until)| (FencingToken::new(token), until));
    let state = ElectionState {
        leader: machine.leader(now).map(str::to_owned),
        leading,
        last_success: contact.success,
        last_error: contact.error.clone(),
    };
    shared.state.send_if_modified(|before| {
        if *before == state {
            return false;
        }
        tell(before, &state);
        *before = state;
        true
    });
}

/// Swarm's words.
fn tell(before: &ElectionState, state: &ElectionState) {
    match (before.leading, state.leading) {
        (None, Some((token, _))) => {
            tracing::info!(%token, "Leader Election: Cluster leadership acquired");
        }
        (Some(_), None) => tracing::info!("Leader Election: Cluster leadership lost"),
        _ => {}
    }
    if let Some(leader) = &state.leader
        && before.leader.as_ref() != Some(leader)
        && state.leading.is_none()
    {
        tracing::info!("New leader elected: {leader}");
    }
}

/// Ends the leadership here when the run ends, however it does.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.leading = None);
        self.0
            .running
            .store(false, std::sync::atomic::Ordering::SeqCst);
    }
}
