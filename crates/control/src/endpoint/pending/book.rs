use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_core::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::endpoint::error::{ApiError, ApiResult};

/// The work that was queued through the endpoint, from its queueing to some time after its end.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct PendingWork(Mutex<Vec<Work>>);

/// A container that waits, is made, or was.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) id: String,
    /// Its number in the queue of the control plane, if it had to wait.
    pub(super) number: Option<u64>,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) since: Timestamp,
    pub(super) state: State,
    /// How many bytes it holds until its end.
    pub(super) weight: usize,
    /// Dropped or told: it is given up.
    pub(super) cancel: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// Room was found.
    Making,
    Made {
        container: String,
        node: String,
    },
    Failed(String),
}

impl PendingWork {
    /// Takes in work that waits.
    ///
    /// # Errors
    /// 503 where what waits holds too much memory already.
    pub(super) fn enter(&self, work: Work) -> ApiResult<()> {
        let mut works = self.lock();
        let held: usize = works.iter().map(|work| work.weight).sum();
        if held + work.weight > MOST_BYTES {
            return Err(ApiError::try_again(format!(
                "what waits for room holds {held} bytes already: nothing more is queued before some \
                 is made or given up"
            )));
        }
        works.push(work);
        Ok(())
    }

    /// Room was found for it. False if it was cancelled.
    pub(super) fn begin(&self, id: &str) -> bool {
        let mut works = self.lock();
        match works.iter_mut().find(|work| work.id == id) {
            Some(work) => {
                work.state = State::Making;
                work.cancel = None;
                true
            }
            None => false,
        }
    }

    /// It was made or it failed. The oldest of those that ended are forgotten.
    pub(super) fn end(&self, id: &str, state: State) {
        let mut works = self.lock();
        if let Some(at) = works.iter().position(|work| work.id == id) {
            let mut work = works.remove(at);
            (work.state, work.weight, work.cancel) = (state, 0, None);
            works.push(work);
        }
        let ended = works.iter().filter(|work| work.has_ended()).count();
        if ended > MOST_ENDED
            && let Some(oldest) = works.iter().position(Work::has_ended)
        {
            works.remove(oldest);
        }
    }

    /// Gives up what waits, by id or name, or forgets what has ended. False if there is none.
    ///
    /// # Errors
    /// 409 for what is being made.
    pub(super) fn cancel(&self, reference: &str) -> ApiResult<bool> {
        let mut works = self.lock();
        let is_it = |work: &&Work| work.id == reference || work.name == reference;
        let goes_on = works.iter().find(|work| is_it(work) && !work.has_ended());
        let Some(found) = goes_on.or_else(|| works.iter().rfind(is_it)) else {
            return Ok(false);
        };
        if found.state == State::Making {
            return Err(ApiError::conflict(format!(
                "{reference} is being made: remove the container instead"
            )));
        }
        let id = found.id.clone();
        // Its task is told by that.
        works.retain(|work| work.id != id);
        Ok(true)
    }

    /// All of it, what ended last at the end.
    pub(super) fn snapshot(&self) -> Vec<Work> {
        let works = self.lock();
        let copy = |work: &Work| Work {
            id: work.id.clone(),
            name: work.name.clone(),
            image: work.image.clone(),
            state: work.state.clone(),
            cancel: None,
            ..*work
        };
        works.iter().map(copy).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Made { .. } | State::Failed(_))
    }

    pub(super) fn tell(&self) -> Value {
        let (state, container, node, reason) = match &self.state {
            State::Waiting | State::Making => ("making", None, None, None),
            State::Made { container, node } => ("made", Some(container), Some(node), None),
            State::Failed(reason) => ("failed", None, None, Some(reason)),
        };
        json!({
            "id": self.id,
            "state": state,
            "name": self.name,
            "image": self.image,
            "since": self.since.to_string(),
            "container": container,
            "node": node,
            "reason": reason,
        })
    }
}

/// Of all bodies that wait.
const MOST_BYTES: usize = 64 << 20;
const MOST_ENDED: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(book: &PendingWork, id: &str, weight: usize) -> ApiResult<oneshot::Receiver<()>> {
        let (cancel, cancelled) = oneshot::channel();
        let work = Work {
            id: id.to_owned(),
            number: None,
            name: format!("name-{id}"),
            image: "a".to_owned(),
            since: Timestamp::ZERO,
            state: State::Waiting,
            weight,
            cancel: Some(cancel),
        };
        book.enter(work).map(|()| cancelled)
    }

    #[test]
    fn what_waits_is_bounded_by_what_it_holds() {
        let book = PendingWork::default();
        let _first = enter(&book, "1", MOST_BYTES).unwrap();
        assert_eq!(enter(&book, "2", 1).unwrap_err().status().as_u16(), 503);
        assert!(book.begin("1"));
        book.end("1", State::Failed("x".to_owned()));
        assert!(enter(&book, "2", MOST_BYTES).is_ok());
    }

    #[test]
    fn what_waits_can_be_given_up_by_id_or_name_and_what_is_made_can_not() {
        let book = PendingWork::default();
        let mut first = enter(&book, "1", 1).unwrap();
        let mut second = enter(&book, "2", 1).unwrap();
        assert!(book.cancel("1").unwrap());
        assert!(first.try_recv().is_err(), "its task is told");
        assert!(!book.begin("1"), "and does not begin");
        assert!(!book.cancel("1").unwrap());
        assert!(book.begin("2"));
        let error = book.cancel("name-2").unwrap_err();
        assert_eq!(error.status().as_u16(), 409);
        assert!(second.try_recv().is_err());
        let made = State::Made {
            container: "c".to_owned(),
            node: "n".to_owned(),
        };
        book.end("2", made);
        assert!(book.cancel("name-2").unwrap(), "it is forgotten");
        assert!(book.snapshot().is_empty());
    }

    #[test]
    fn the_oldest_that_ended_are_forgotten() {
        let book = PendingWork::default();
        let _waits = enter(&book, "waits", 1).unwrap();
        for number in 0..2 * MOST_ENDED {
            let id = number.to_string();
            let _cancelled = enter(&book, &id, 1).unwrap();
            assert!(book.begin(&id));
            book.end(&id, State::Failed(id.clone()));
        }
        let left = book.snapshot();
        assert_eq!(left.len(), MOST_ENDED + 1);
        assert_eq!(left[0].id, "waits");
        assert_eq!(left[1].id, MOST_ENDED.to_string());
    }
}
