use std::sync::{Mutex, PoisonError};

use longshore_core::{
    Error, ErrorKind, Expect, KvStore, PutOptions, Result, Revision, TransactionOp,
};

/// The highest fencing token that wrote into a store, kept beside what it protects.
///
/// Every write of a leader is one transaction with a check that the record still is as this leader
/// left it; a leader with a higher token changes it before its first write. So a write of an older
/// leader is refused by the store itself, however late it comes. It needs nothing of the election but
/// tokens that grow: whether that is held in the same store, in another or by other means is the same.
#[derive(Debug)]
pub(super) struct Fence {
    key: String,
    held: Mutex<Option<Held>>,
}

/// The record as this process left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    token: u64,
    revision: Revision,
}

impl Fence {
    pub(super) fn new(key: String) -> Self {
        Self {
            key,
            held: Mutex::default(),
        }
    }

    /// Makes `token` the highest, if it is not yet. Cancel safe: done again, it is the same.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] where a higher one has been here.
    pub(super) async fn raise(&self, store: &dyn KvStore, token: u64) -> Result<()> {
        self.held(store, token).await.map(drop)
    }

    /// Carries a step out, if no higher token has been here. A put that is refused by its own
    /// condition is [`ErrorKind::Conflict`], as without a fence.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] where a higher one has been here, and what the store says.
    pub(super) async fn write(
        &self,
        store: &dyn KvStore,
        token: u64,
        step: &TransactionOp,
    ) -> Result<Revision> {
        for _ in 0..TRIES {
            let held = self.held(store, token).await?;
            let check = TransactionOp::check(self.key.clone(), Expect::Revision(held.revision));
            match store.transact(vec![check, step.clone()]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    // Of which of the two keys it tells, the store does not say.
                    self.set(None);
                    if self.held(store, token).await? == held {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
        Err(contended(&self.key))
    }

    /// The record with this token in it, written first where it holds a lower one.
    async fn held(&self, store: &dyn KvStore, token: u64) -> Result<Held> {
        let known = *self.lock();
        if let Some(held) = known.filter(|held| held.token == token) {
            return Ok(held);
        }
        for _ in 0..TRIES {
            let entry = store.get(&self.key).await?;
            let (highest, expect) = match &entry {
                None => (None, Expect::Absent),
                Some(entry) => (
                    Some((parse(&self.key, &entry.value)?, entry.revision)),
                    Expect::Revision(entry.revision),
                ),
            };
            let revision = match highest {
                Some((highest, _)) if highest > token => return Err(stale(token, highest)),
                Some((highest, revision)) if highest == token => revision,
                _ => {
                    let value = token.to_string().into();
                    let options = PutOptions::default().with_expect(expect);
                    match store.put(&self.key, value, options).await {
                        Ok(revision) => revision,
                        Err(error) if error.kind() == ErrorKind::Conflict => continue,
                        Err(error) => return Err(error),
                    }
                }
            };
            let held = Held { token, revision };
            self.set(Some(held));
            return Ok(held);
        }
        Err(contended(&self.key))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, held: Option<Held>) {
        *self.lock() = held;
    }
}

fn parse(key: &str, value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::protocol(format!(
            "{key} does not hold a fencing token: nothing is written before somebody has deleted it"
        ))
    })
}

fn stale(token: u64, highest: u64) -> Error {
    let message = format!(
        "this manager no longer leads: its fencing token {token} is older than {highest}, by which \
         another one leads"
    );
    Error::new(ErrorKind::Stale, message)
}

fn contended(key: &str) -> Error {
    let message = format!("{key} changed {TRIES} times while it was to be written under");
    Error::new(ErrorKind::Conflict, message)
}

/// How often what changed meanwhile is looked at again.
const TRIES: usize = 8;
