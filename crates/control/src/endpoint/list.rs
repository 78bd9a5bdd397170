//! `GET /containers/json`, answered from the view: each container is rendered once per change, and
//! a whole answer is kept until a container or a status text changes.

mod filter;
mod render;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use longshore_core::{Timestamp, http::full_body};
use tokio::sync::Semaphore;

pub(super) use self::render::is_unspecified;
use self::{
    filter::{ContainerFilter, has_patterns},
    render::{Piece, is_running},
};
use super::{
    Payload, Shared,
    error::{ApiError, ApiResult},
    query::{Filters, Query},
};
use crate::ContainerView;

/// Rendered containers of the newest view, and the answers made of them.
#[derive(Debug)]
pub(super) struct ListCache {
    cache: Mutex<Cache>,
    /// For lists that match expressions.
    matching: Semaphore,
}

impl Default for ListCache {
    fn default() -> Self {
        Self {
            cache: Mutex::default(),
            matching: Semaphore::new(MAX_MATCHING),
        }
    }
}

impl ListCache {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Cache {
    /// The view that is rendered, and its pieces in the same order.
    views: Option<Arc<[Arc<ContainerView>]>>,
    pieces: Vec<Piece>,
    /// Answers by query text, and until when they are true.
    answers: Vec<(String, Bytes, Timestamp)>,
}

impl Cache {
    /// Takes a new view over; what did not change stays rendered.
    fn adopt(&mut self, views: &Arc<[Arc<ContainerView>]>, now: Timestamp) {
        if self
            .views
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, views))
        {
            return;
        }
        self.answers.clear();
        let old_views = self.views.take();
        let mut old: HashMap<*const ContainerView, Piece> = old_views
            .iter()
            .flat_map(|views| views.iter())
            .map(Arc::as_ptr)
            .zip(self.pieces.drain(..))
            .collect();
        self.pieces = views
            .iter()
            .map(|view| {
                old.remove(&Arc::as_ptr(view))
                    .unwrap_or_else(|| Piece::new(view, now))
            })
            .collect();
        self.views = Some(Arc::clone(views));
    }

    fn answer(&self, key: &str, now: Timestamp) -> Option<Bytes> {
        let (_, body, valid_until) = self.answers.iter().find(|(k, ..)| k == key)?;
        (now < *valid_until).then(|| body.clone())
    }

    fn keep(&mut self, key: &str, body: Bytes, valid_until: Timestamp) {
        self.answers.retain(|(k, ..)| k != key);
        if self.answers.len() >= MAX_ANSWERS {
            self.answers.remove(0);
        }
        if key.len() <= MAX_KEY {
            self.answers.push((key.to_owned(), body, valid_until));
        }
    }
}

/// The list in Docker's JSON.
pub(super) async fn list(shared: &Arc<Shared>, raw_query: &str) -> ApiResult {
    let now = shared.plane.clock().now();
    let views = shared.plane.containers();
    let known = {
        let mut cache = shared.list.lock();
        cache.adopt(&views, now);
        cache.answer(raw_query, now)
    };
    let body = match known {
        Some(body) => body,
        None => {
            let chosen = chosen(shared, &views, raw_query).await?;
            let mut cache = shared.list.lock();
            // Another view may have been taken over meanwhile.
            cache.adopt(&views, now);
            let (body, valid_until) = assemble(&mut cache.pieces, &views, &chosen, now);
            cache.keep(raw_query, body.clone(), valid_until);
            body
        }
    };
    let mut response: Response<Payload> = Response::new(full_body(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// The indices of the containers asked for, newest first. Expressions of the client are compiled and
/// matched by a thread that may be busy, a few lists at a time.
async fn chosen(
    shared: &Arc<Shared>,
    views: &Arc<[Arc<ContainerView>]>,
    raw_query: &str,
) -> Result<Vec<usize>, ApiError> {
    let query = Query::parse(raw_query);
    let filters = query.filters()?;
    if !has_patterns(&filters) {
        return choose(shared, views, &query, &filters);
    }
    let _turn = shared.list.matching.acquire().await;
    let (shared, views) = (Arc::clone(shared), Arc::clone(views));
    tokio::task::spawn_blocking(move || choose(&shared, &views, &query, &filters))
        .await
        .map_err(|_| ApiError::internal("the list could not be made"))?
}

fn choose(
    shared: &Shared,
    views: &[Arc<ContainerView>],
    query: &Query,
    filters: &Filters,
) -> Result<Vec<usize>, ApiError> {
    let filter = ContainerFilter::new(filters)?;
    let limit = usize::try_from(query.integer("limit")).unwrap_or(0);
    let find = |reference: &str| -> Result<usize, ApiError> {
        let found = shared.plane.container(reference).map_err(|error| {
            ApiError::lookup(&error, || format!("No such container {reference}"))
        })?;
        views
            .iter()
            .position(|view| view.workload.id == found.workload.id && view.node == found.node)
            .ok_or_else(|| ApiError::not_found(format!("No such container {reference}")))
    };
    let bound = |key: &str| -> Result<Option<usize>, ApiError> {
        let filter = filters.values(key).first().map_or("", String::as_str);
        match (query.text(key), filter) {
            ("", "") => Ok(None),
            ("", reference) | (reference, _) => find(reference).map(Some),
        }
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let all = query.flag("all");
    let any_state = all || limit > 0 || before.is_some() || since.is_some() || filter.implies_all();
    let mut chosen: Vec<usize> = (0..views.len())
        .filter(|&index| before.is_none_or(|before| index > before))
        .filter(|&index| since.is_none_or(|since| index < since))
        .filter(|&index| any_state || is_running(&views[index]))
        .filter(|&index| {
            let labels = &views[index].workload.labels;
            all || labels.get(&shared.options.system_label).is_none()
        })
        .filter(|&index| filter.matches(&views[index]))
        .collect();
    if limit > 0 {
        chosen.truncate(limit);
    }
    Ok(chosen)
}

fn assemble(
    pieces: &mut [Piece],
    views: &[Arc<ContainerView>],
    chosen: &[usize],
    now: Timestamp,
) -> (Bytes, Timestamp) {
    let mut valid_until = Timestamp::from_micros(u64::MAX);
    let mut size = 2;
    for &index in chosen {
        pieces[index].refresh(&views[index], now);
        valid_until = valid_until.min(pieces[index].valid_until());
        size += pieces[index].len() + 1;
    }
    let mut body = Vec::with_capacity(size);
    body.push(b'[');
    for (position, &index) in chosen.iter().enumerate() {
        if position > 0 {
            body.push(b',');
        }
        pieces[index].append_to(&mut body);
    }
    body.push(b']');
    (body.into(), valid_until)
}

const MAX_ANSWERS: usize = 8;
const MAX_KEY: usize = 1024;
const MAX_MATCHING: usize = 4;
