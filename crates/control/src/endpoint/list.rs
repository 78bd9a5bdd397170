//! `GET /containers/json`, answered from the view: each container is rendered once per change, and
//! a whole answer is kept until a container or a status text changes.

mod filter;
mod render;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use longshore_core::{Timestamp, http::full_body};

pub(super) use self::render::is_unspecified;
use self::{
    filter::ContainerFilter,
    render::{Piece, is_running},
};
use super::{
    Payload, Shared,
    error::{ApiError, ApiResult},
    query::Query,
};
use crate::ContainerView;

/// Rendered containers of the newest view, and the answers made of them.
#[derive(Debug, Default)]
pub(super) struct ListCache(Mutex<Cache>);

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
pub(super) fn list(shared: &Shared, raw_query: &str) -> ApiResult {
    let now = shared.plane.clock().now();
    let views = shared.plane.containers();
    let mut cache = shared.list.0.lock().unwrap_or_else(PoisonError::into_inner);
    cache.adopt(&views, now);
    let body = match cache.answer(raw_query, now) {
        Some(body) => body,
        None => {
            let chosen = choose(shared, &views, &Query::parse(raw_query))?;
            let (body, valid_until) = assemble(&mut cache.pieces, &views, &chosen, now);
            cache.keep(raw_query, body.clone(), valid_until);
            body
        }
    };
    drop(cache);
    let mut response: Response<Payload> = Response::new(full_body(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// The indices of the containers asked for, newest first.
fn choose(
    shared: &Shared,
    views: &[Arc<ContainerView>],
    query: &Query,
) -> Result<Vec<usize>, ApiError> {
    let filters = query.filters()?;
    let filter = ContainerFilter::new(&filters)?;
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
