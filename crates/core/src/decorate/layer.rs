use std::{fmt::Debug, future::Future, sync::Arc};

use crate::{BoxFuture, Result, decorate::Decorated, decorate::Operation};

/// A policy around single calls of any trait.
pub trait Layer: Debug + Send + Sync + 'static {
    /// Makes the call, in this layer's way.
    ///
    /// `call` starts the call anew each time. A layer may do that more than once only where
    /// [`Operation::is_repeatable`] says so.
    ///
    /// # Cancel safety
    /// As safe as the call itself: a layer leaves nothing running when it is dropped.
    fn call<'a, R, F>(
        &'a self,
        operation: Operation<'a>,
        call: F,
    ) -> impl Future<Output = Result<R>> + Send + 'a
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a;
}

/// Conveniences over any [`Layer`].
pub trait LayerExt: Layer + Sized {
    /// Puts this layer around an implementation. The result implements the same traits.
    fn wrap<T: ?Sized>(self, inner: Arc<T>) -> Arc<Decorated<T, Self>> {
        Arc::new(Decorated::new(inner, self))
    }
}

impl<L: Layer> LayerExt for L {}
