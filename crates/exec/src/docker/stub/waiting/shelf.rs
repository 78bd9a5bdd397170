use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use longshore_core::{ClockExt, Result, Timestamp};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    WaitingStubs,
    pool::{Key, Pool},
    waiter::{Waiter, Wanted},
};
use crate::docker::{context::Context, stub::Stub};

/// Keeps each stub that waits in a task of its own. Those tasks don't keep this.
#[derive(Debug)]
pub(super) struct Shelf {
    places: Mutex<Places>,
    /// One is started at a time.
    starting: Arc<Semaphore>,
}

#[derive(Debug)]
struct Places {
    pool: Pool,
    /// By its number in the pool. Whoever loses this is let go.
    tasks: HashMap<u64, mpsc::Sender<Wanted>>,
}

/// One place, as its task sees it.
struct Task {
    context: Context,
    shelf: Weak<Shelf>,
    number: u64,
    asked: mpsc::Receiver<Wanted>,
}

impl Shelf {
    pub(super) fn new(options: WaitingStubs) -> Self {
        Self {
            places: Mutex::new(Places {
                pool: Pool::new(options),
                tasks: HashMap::new(),
            }),
            starting: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().pool.waiting()
    }

    /// One that waits, if there is one. Its task may have lost it meanwhile.
    pub(super) async fn take(&self, key: &Key) -> Option<Waiter> {
        let task = {
            let mut places = self.lock();
            let number = places.pool.take(key)?;
            places.tasks.remove(&number)?
        };
        let (wanted, given) = oneshot::channel();
        task.try_send(wanted).ok()?;
        given.await.ok()
    }

    /// Fills the places of a container again.
    pub(super) fn entered(self: &Arc<Self>, context: &Context, key: &Key, stub: &Stub) {
        let mut places = self.lock();
        let plan = places.pool.entered(key, context.api.clock.now());
        for number in &plan.let_go {
            places.tasks.remove(number);
        }
        for number in plan.start {
            let task = self.task(context, number, &mut places);
            tokio::spawn(task.fill(key.clone(), stub.clone(), Arc::clone(&self.starting)));
        }
    }

    /// One that was taken and is no session waits again.
    pub(super) fn put_back(self: &Arc<Self>, context: &Context, key: &Key, waiter: Waiter) {
        let mut places = self.lock();
        let place = places.pool.put_back(key, context.api.clock.now());
        match place {
            Some((number, until)) => {
                let task = self.task(context, number, &mut places);
                tokio::spawn(task.keep(waiter, until));
            }
            None => {
                let context = context.clone();
                tokio::spawn(async move { waiter.end(&context).await });
            }
        }
    }

    fn task(self: &Arc<Self>, context: &Context, number: u64, places: &mut Places) -> Task {
        let (wanted, asked) = mpsc::channel(1);
        places.tasks.insert(number, wanted);
        Task {
            context: context.clone(),
            shelf: Arc::downgrade(self),
            number,
            asked,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// Starts the stub once nobody else has anything started, and keeps it.
    async fn fill(mut self, key: Key, stub: Stub, one: Arc<Semaphore>) {
        let starting = start(&self.context, &key, &stub, &one);
        let started = tokio::select! {
            started = starting => started,
            // It is asked for only once it waits.
            _ = self.asked.recv() => return,
        };
        match started {
            Ok(waiter) => {
                let now = self.context.api.clock.now();
                let shelf = self.shelf.upgrade();
                match shelf.and_then(|shelf| shelf.lock().pool.waits(self.number, now)) {
                    Some(until) => self.keep(waiter, until).await,
                    None => waiter.end(&self.context).await,
                }
            }
            Err(error) => {
                let container = &key.container;
                tracing::debug!(container, error = error.chain(), "no stub waits there");
                let now = self.context.api.clock.now();
                self.leave(|pool, number| pool.failed(number, now));
            }
        }
    }

    async fn keep(mut self, waiter: Waiter, until: Timestamp) {
        let ended = waiter.wait(&self.context, until, &mut self.asked).await;
        self.leave(Pool::gone);
        if let Some(waiter) = ended {
            waiter.end(&self.context).await;
        }
    }

    fn leave(&self, how: impl FnOnce(&mut Pool, u64)) {
        if let Some(shelf) = self.shelf.upgrade() {
            let mut places = shelf.lock();
            how(&mut places.pool, self.number);
            places.tasks.remove(&self.number);
        }
    }
}

/// Starts one when the engine has nothing else to start. Nobody waits for it, so it waits for all.
async fn start(context: &Context, key: &Key, stub: &Stub, one: &Semaphore) -> Result<Waiter> {
    let clock = &context.api.clock;
    // Closed by nobody.
    let turn = one.acquire().await;
    loop {
        clock.sleep(PAUSE).await;
        if context.starts.nobody_waits() {
            break;
        }
    }
    let starting = Waiter::start(context, key, stub).await;
    // The engine has nothing more to do: one that never says a word holds up only its own container.
    drop(turn);
    starting?.greeted(context).await
}

/// What was just opened is to have the engine for itself first.
const PAUSE: Duration = Duration::from_millis(100);
