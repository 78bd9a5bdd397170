use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{Labels, PlacementRequest, Result, Timestamp};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::resolve::Candidate;
use crate::{
    endpoint::{
        error::{ApiError, ApiResult},
        record::cut,
    },
    pending::{Owner, Shares, Ticket},
};

/// The work that was queued through the endpoint, from its queueing to some time after its end.
#[derive(Debug)]
pub(in crate::endpoint) struct PendingWork(Mutex<Book>);

#[derive(Debug)]
struct Book {
    works: Vec<Work>,
    /// Of what the bodies that wait may hold.
    bytes: Shares,
}

/// A container that waits, is made, or was.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) id: String,
    /// Its number in the queue of the control plane, if it had to wait.
    pub(super) number: Option<u64>,
    pub(super) owner: Owner,
    pub(super) request: Arc<PlacementRequest>,
    pub(super) since: Timestamp,
    pub(super) state: State,
    /// How often it was tried in vain, and what was said last.
    pub(super) failures: u32,
    pub(super) error: Option<String>,
    /// How many bytes it holds until its end.
    pub(super) weight: usize,
    /// Dropped or told: it is given up.
    pub(super) cancel: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    /// It is tried again then.
    Paused(Timestamp),
    /// Room was found.
    Making,
    Made {
        container: String,
        node: String,
    },
    Failed(String),
}

impl Default for PendingWork {
    fn default() -> Self {
        Self(Mutex::new(Book {
            works: Vec::new(),
            bytes: Shares::new("bytes of memory", MOST_BYTES, None),
        }))
    }
}

impl PendingWork {
    /// Takes in work that waits.
    ///
    /// # Errors
    /// As for [`Shares::take`], where what waits, or what of its owner's waits, holds too much memory
    /// already.
    pub(super) fn enter(&self, work: Work) -> Result<()> {
        let mut book = self.lock();
        book.bytes.take(&work.owner, work.weight)?;
        book.works.push(work);
        Ok(())
    }

    /// It waits for room, with this place in the queue if it has to.
    pub(super) fn queued(&self, id: &str, place: Option<Ticket>) {
        self.change(id, |work| {
            work.number = place.map(Ticket::number);
            work.state = State::Waiting;
        });
    }

    /// Room was found for it. False if it was cancelled.
    pub(super) fn begin(&self, id: &str) -> bool {
        self.change(id, |work| {
            work.state = State::Making;
            work.cancel = None;
        })
    }

    /// It was tried in vain, so often by now.
    pub(super) fn trouble(&self, id: &str, failures: u32, error: &str) {
        self.change(id, |work| {
            work.failures = failures;
            work.error = Some(cut(error, LONGEST_REASON));
        });
    }

    /// It is tried again at that time. Says how to be told that it is given up; at once if it is.
    pub(super) fn pause(&self, id: &str, until: Timestamp) -> oneshot::Receiver<()> {
        let (cancel, cancelled) = oneshot::channel();
        self.change(id, |work| {
            work.state = State::Paused(until);
            work.cancel = Some(cancel);
        });
        cancelled
    }

    /// It was made or it failed. Of what was asked for only what a list needs is kept, and of those
    /// that ended the oldest are forgotten, of whoever has most.
    pub(super) fn end(&self, id: &str, state: State) {
        let state = match state {
            State::Failed(reason) => State::Failed(cut(&reason, LONGEST_REASON)),
            state => state,
        };
        let mut book = self.lock();
        if let Some(at) = book.works.iter().position(|work| work.id == id) {
            let mut work = book.works.remove(at);
            book.bytes.give_back(&work.owner, work.weight);
            (work.state, work.weight, work.cancel) = (state, 0, None);
            work.request = Arc::new(remembered(&work.request));
            book.works.push(work);
        }
        let mut ended: HashMap<&Owner, usize> = HashMap::new();
        for work in book.works.iter().filter(|work| work.has_ended()) {
            *ended.entry(&work.owner).or_default() += 1;
        }
        if ended.values().sum::<usize>() > MOST_ENDED
            && let Some((owner, _)) = ended
                .into_iter()
                .max_by_key(|(owner, count)| (*count, *owner))
            && let Some(oldest) = book
                .works
                .iter()
                .position(|work| work.has_ended() && work.owner == *owner)
        {
            book.works.remove(oldest);
        }
    }

    /// Gives up what waits, or forgets what has ended. False if it is not there.
    ///
    /// # Errors
    /// 409 for what is being made.
    pub(super) fn cancel(&self, id: &str) -> ApiResult<bool> {
        let mut book = self.lock();
        let Some(at) = book.works.iter().position(|work| work.id == id) else {
            return Ok(false);
        };
        if book.works[at].state == State::Making {
            let name = book.works[at].shown_name().to_owned();
            return Err(ApiError::conflict(format!(
                "{name} is being made: remove the container instead"
            )));
        }
        // Its task is told by that.
        let work = book.works.remove(at);
        book.bytes.give_back(&work.owner, work.weight);
        Ok(true)
    }

    /// All of it, what ended last at the end.
    pub(super) fn snapshot(&self) -> Vec<Work> {
        let book = self.lock();
        let copy = |work: &Work| Work {
            id: work.id.clone(),
            owner: work.owner.clone(),
            request: Arc::clone(&work.request),
            state: work.state.clone(),
            error: work.error.clone(),
            cancel: None,
            ..*work
        };
        book.works.iter().map(copy).collect()
    }

    /// False if it is not there.
    fn change(&self, id: &str, change: impl FnOnce(&mut Work)) -> bool {
        let mut book = self.lock();
        let work = book.works.iter_mut().find(|work| work.id == id);
        work.map(change).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn has_ended(&self) -> bool {
        matches!(self.state, State::Made { .. } | State::Failed(_))
    }

    /// Its name, or its id if it has none.
    fn shown_name(&self) -> &str {
        match self.request.name.as_str() {
            "" => &self.id,
            name => name,
        }
    }

    pub(super) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            id: &self.id,
            name: &self.request.name,
            owner: self.owner.name().unwrap_or_default(),
            labels: self.request.labels.clone(),
            has_ended: self.has_ended(),
        }
    }

    pub(super) fn tell(&self) -> Value {
        let (state, container, node, reason, again_at) = match &self.state {
            State::Waiting | State::Making => ("making", None, None, None, None),
            State::Paused(at) => ("waiting", None, None, self.error.as_ref(), Some(at)),
            State::Made { container, node } => ("made", Some(container), Some(node), None, None),
            State::Failed(reason) => ("failed", None, None, Some(reason), None),
        };
        json!({
            "id": self.id,
            "state": state,
            "owner": self.owner.name(),
            "name": self.request.name,
            "image": self.request.image,
            "labels": self.request.labels,
            "since": self.since.to_string(),
            "container": container,
            "node": node,
            "reason": reason,
            "failures": self.failures,
            "error": self.error,
            "again_at": again_at.map(ToString::to_string),
        })
    }
}

/// What is kept of a request at its end: name, image and whole labels, as far as there is room.
fn remembered(request: &PlacementRequest) -> PlacementRequest {
    let mut kept = PlacementRequest::new(cut(&request.image, LONGEST_IMAGE));
    kept.name.clone_from(&request.name);
    let (mut labels, mut room, mut left_out) = (Labels::new(), MOST_LABELS, 0_usize);
    for (key, value) in request.labels.iter() {
        match room.checked_sub(key.len() + value.len()) {
            Some(left) => {
                room = left;
                labels.insert(key, value);
            }
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        labels.insert(LEFT_OUT, left_out.to_string());
    }
    kept.labels = labels;
    kept
}

/// Of all bodies that wait.
const MOST_BYTES: usize = 64 << 20;
const MOST_ENDED: usize = 256;
/// What engines say may be long.
const LONGEST_REASON: usize = 4 << 10;
const LONGEST_IMAGE: usize = 512;
/// Of what has ended, keys and values together.
const MOST_LABELS: usize = 4 << 10;
/// Stands among the labels of what has ended where some were left out, and says how many. Nobody can
/// give a container labels that begin so.
const LEFT_OUT: &str = "longshore.pending.labels-left-out";

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(
        book: &PendingWork,
        owner: &str,
        id: &str,
        weight: usize,
    ) -> Result<oneshot::Receiver<()>> {
        let (cancel, cancelled) = oneshot::channel();
        let mut request = PlacementRequest::new("a");
        request.name = format!("name-{id}");
        let work = Work {
            id: id.to_owned(),
            number: None,
            owner: Owner::named(owner),
            request: Arc::new(request),
            since: Timestamp::ZERO,
            state: State::Waiting,
            failures: 0,
            error: None,
            weight,
            cancel: Some(cancel),
        };
        book.enter(work).map(|()| cancelled)
    }

    #[test]
    fn s21_what_waits_is_bounded_by_what_each_owner_holds() {
        let book = PendingWork::default();
        let _first = enter(&book, "alice", "1", MOST_BYTES / 4).unwrap();
        let refused = enter(&book, "alice", "2", 1).unwrap_err();
        assert_eq!(refused.kind(), longshore_core::ErrorKind::ResourceExhausted);
        assert!(refused.message().starts_with("alice holds 16777216 of"));
        let _other = enter(&book, "bob", "3", MOST_BYTES / 4).unwrap();
        assert!(book.begin("1"));
        book.end("1", State::Failed("x".to_owned()));
        assert!(enter(&book, "alice", "2", MOST_BYTES / 4).is_ok());
        assert!(book.cancel("3").unwrap());
        assert!(enter(&book, "bob", "4", MOST_BYTES / 4).is_ok());
    }

    #[test]
    fn s21_what_has_ended_holds_little_and_says_what_was_left_out() {
        let book = PendingWork::default();
        let large = || "x".repeat(1 << 20);
        let (cancel, _cancelled) = oneshot::channel();
        let mut request = PlacementRequest::new(large());
        request.name = "web".to_owned();
        request.labels.insert("large", large());
        request.labels.insert("team", "blue");
        let work = Work {
            id: "1".to_owned(),
            number: None,
            owner: Owner::named("alice"),
            request: Arc::new(request),
            since: Timestamp::ZERO,
            state: State::Waiting,
            failures: 0,
            error: None,
            weight: 1,
            cancel: Some(cancel),
        };
        book.enter(work).unwrap();
        assert!(book.begin("1"));
        book.trouble("1", 1, &large());
        book.end("1", State::Failed(large()));
        let told = book.snapshot()[0].tell();
        assert!(told.to_string().len() < 16 << 10);
        let labels = json!({"team": "blue", LEFT_OUT: "1"});
        assert_eq!((&told["name"], &told["labels"]), (&json!("web"), &labels));
        // One that holds little is kept as it is.
        let small = PlacementRequest::new("busybox");
        assert_eq!(remembered(&small).labels, Labels::new());
        assert_eq!(remembered(&small).image, "busybox");
    }

    #[test]
    fn what_waits_can_be_given_up_and_what_is_made_can_not() {
        let book = PendingWork::default();
        let mut first = enter(&book, "alice", "1", 1).unwrap();
        let mut second = enter(&book, "alice", "2", 1).unwrap();
        assert!(book.cancel("1").unwrap());
        assert!(first.try_recv().is_err(), "its task is told");
        assert!(!book.begin("1"), "and does not begin");
        assert!(!book.cancel("1").unwrap());
        assert!(book.begin("2"));
        let error = book.cancel("2").unwrap_err();
        assert_eq!(error.status().as_u16(), 409);
        assert!(error.message().starts_with("name-2 is being made"));
        assert!(second.try_recv().is_err());
        let made = State::Made {
            container: "c".to_owned(),
            node: "n".to_owned(),
        };
        book.end("2", made);
        assert!(book.cancel("2").unwrap(), "it is forgotten");
        assert!(book.snapshot().is_empty());
    }

    #[test]
    fn what_pauses_after_a_failure_says_why_and_can_be_given_up() {
        let book = PendingWork::default();
        let _first = enter(&book, "alice", "1", 1).unwrap();
        assert!(book.begin("1"));
        book.trouble("1", 2, "no space left on device");
        let mut cancelled = book.pause("1", Timestamp::from_secs(9));
        let told = book.snapshot()[0].tell();
        assert_eq!(
            (&told["state"], &told["reason"], &told["failures"]),
            (
                &json!("waiting"),
                &json!("no space left on device"),
                &json!(2)
            )
        );
        assert!(
            cancelled
                .try_recv()
                .is_err_and(|error| error == oneshot::error::TryRecvError::Empty)
        );
        assert!(book.cancel("1").unwrap());
        assert_eq!(
            cancelled.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        );
    }

    #[test]
    fn of_those_that_ended_the_oldest_of_whoever_has_most_are_forgotten() {
        let book = PendingWork::default();
        let _waits = enter(&book, "alice", "waits", 1).unwrap();
        let end = |owner: &str, id: &str| {
            let _cancelled = enter(&book, owner, id, 1).unwrap();
            assert!(book.begin(id));
            book.end(id, State::Failed(id.to_owned()));
        };
        end("bob", "bob's");
        for number in 0..2 * MOST_ENDED {
            end("alice", &number.to_string());
        }
        let left = book.snapshot();
        assert_eq!(left.len(), MOST_ENDED + 1);
        let ids: Vec<&str> = left.iter().take(3).map(|work| &*work.id).collect();
        assert_eq!(ids, ["waits", "bob's", &(MOST_ENDED + 1).to_string()]);
    }
}
