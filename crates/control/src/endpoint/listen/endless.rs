//! Requests that go on until something happens: a shutdown does not wait for them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Method, Response, StatusCode, Uri};
use hyper::body::{Body, Frame, SizeHint};
use longshore_core::{BoxFuture, Shutdown};

use crate::endpoint::{
    error::ApiError,
    query::Query,
    route::{ContainerOp, Route},
    version,
};

/// The end of a request that would not end by itself, or `None` for all others.
pub(super) fn ending(
    method: &Method,
    uri: &Uri,
    shutdown: &Shutdown,
) -> Option<BoxFuture<'static, ()>> {
    is_endless(method, uri).then(|| shutdown.requested())
}

fn is_endless(method: &Method, uri: &Uri) -> bool {
    if !WORDS.iter().any(|word| uri.path().contains(word)) {
        return false;
    }
    let (_, path) = version::strip(uri.path());
    let query = Query::parse(uri.query().unwrap_or_default());
    match Route::parse(method, path) {
        Some(Route::Events) => true,
        Some(Route::Container(_, ContainerOp::Wait)) => true,
        Some(Route::Container(_, ContainerOp::Logs)) => query.flag("follow"),
        Some(Route::Container(_, ContainerOp::Stats)) => {
            query.text("stream").is_empty() || query.flag("stream")
        }
        _ => false,
    }
}

/// Spares the other requests a second look.
const WORDS: [&str; 4] = ["events", "wait", "logs", "stats"];

/// The answer, or that of a shutdown if that comes first.
pub(super) async fn answered<E>(
    answer: impl Future<Output = Result<Response<AxumBody>, E>>,
    over: Option<&mut BoxFuture<'static, ()>>,
) -> Result<Response<AxumBody>, E> {
    let Some(over) = over else {
        return answer.await;
    };
    tokio::select! {
        biased;
        answer = answer => answer,
        () = over => {
            let error = ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "closed",
                "the control plane is shutting down",
            );
            Ok(error.into_response(None).map(AxumBody::new))
        }
    }
}

/// A body that ends, cleanly, when a shutdown is asked for.
pub(super) struct UntilShutdown {
    pub(super) body: AxumBody,
    pub(super) over: Option<BoxFuture<'static, ()>>,
}

impl Body for UntilShutdown {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // First, because there may be always something to send.
        if let Some(over) = &mut self.over
            && over.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, uri: &str, endless: bool) {
        assert_eq!(is_endless(&method, &uri.parse().unwrap()), endless, "{uri}");
    }

    #[test]
    fn what_goes_on_by_itself_is_known() {
        check(Method::GET, "/events", true);
        check(Method::GET, "/v1.40/containers/a/logs?follow=1", true);
        check(Method::GET, "/v1.40/containers/a/logs?stdout=1", false);
        check(Method::GET, "/containers/a/stats", true);
        check(Method::GET, "/containers/a/stats?stream=0", false);
        check(Method::POST, "/containers/a/wait", true);
        check(Method::POST, "/images/create", false);
        check(Method::GET, "/containers/a/export", false);
    }
}
