//! A request body that a client sends: with an end to waiting for it, and with a trace of how it
//! went, so that its failure is not taken for the engine's.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use longshore_core::{BoxFuture, Clock, Error, ErrorKind};

use super::{Payload, error::ApiError};

/// How the body of a request fares. Put into the extensions of what is sent on.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<AtomicU8>);

impl Upload {
    /// Whether it was the client that broke it off.
    pub(super) fn failed(&self) -> bool {
        self.0.load(Ordering::Acquire) != SOUND
    }

    /// The answer when the client stopped sending.
    pub(super) fn stalled(&self) -> Option<ApiError> {
        (self.0.load(Ordering::Acquire) == STALLED).then(|| {
            let message = "the rest of the request body did not arrive in time";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
        })
    }

    /// A body that fails when nothing of it comes for so long.
    pub(super) fn watch(&self, body: Payload, clock: Arc<dyn Clock>, limit: Duration) -> Payload {
        if body.is_end_stream() {
            return body;
        }
        let upload = self.clone();
        Watched {
            body,
            upload,
            clock,
            limit,
            timer: None,
        }
        .boxed_unsync()
    }
}

struct Watched {
    body: Payload,
    upload: Upload,
    clock: Arc<dyn Clock>,
    limit: Duration,
    /// Runs while a piece is waited for.
    timer: Option<BoxFuture<'static, ()>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.timer = None;
            if matches!(frame, Some(Err(_))) {
                this.upload.0.store(BROKEN, Ordering::Release);
            }
            return Poll::Ready(frame);
        }
        let timer = this.timer.get_or_insert_with(|| {
            let clock = Arc::clone(&this.clock);
            let deadline = clock.now().after(this.limit);
            Box::pin(async move { clock.sleep_until(deadline).await })
        });
        ready!(timer.as_mut().poll(context));
        this.upload.0.store(STALLED, Ordering::Release);
        Poll::Ready(Some(Err(Error::new(
            ErrorKind::Timeout,
            format!("nothing of the request body came for {:?}", this.limit),
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const SOUND: u8 = 0;
const BROKEN: u8 = 1;
const STALLED: u8 = 2;
