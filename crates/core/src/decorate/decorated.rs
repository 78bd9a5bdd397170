use std::sync::Arc;

/// An implementation of a trait with a [`Layer`](crate::decorate::Layer) around it.
///
/// It implements whatever traits of this crate the inner one implements.
#[derive(Debug)]
pub struct Decorated<T: ?Sized, L> {
    pub(super) inner: Arc<T>,
    pub(super) layer: Arc<L>,
}

impl<T: ?Sized, L> Decorated<T, L> {
    /// Puts the layer around the implementation.
    pub fn new(inner: Arc<T>, layer: L) -> Self {
        Self {
            inner,
            layer: Arc::new(layer),
        }
    }

    /// Shares a layer: what an inner call hands out is decorated like the one that made it.
    pub(super) fn shared(inner: Arc<T>, layer: &Arc<L>) -> Self {
        Self {
            inner,
            layer: layer.clone(),
        }
    }

    /// The implementation inside.
    pub fn inner(&self) -> &Arc<T> {
        &self.inner
    }

    /// The layer, for those that can be steered while they work.
    pub fn layer(&self) -> &L {
        &self.layer
    }
}
