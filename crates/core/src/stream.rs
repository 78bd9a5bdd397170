mod read_through;

use std::{future::Future, pin::Pin};

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::read_through::{ReadRule, ReadThrough};

/// A stream of bytes in both directions. Shutting down the write half is a half-close: the other
/// side reads its end while this side goes on reading.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for T {}

/// An owned [`ByteStream`] of any kind.
pub type BoxByteStream = Box<dyn ByteStream>;

/// An owned stream of values of any kind.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send + 'static>>;

/// An owned future of any kind.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
