//! HTTP/1.1 over any [`Connector`](crate::Connector).
