mod api;
mod detector;
mod driver;
mod engines;
mod inspect;
mod jobs;
mod led;
mod lifecycle;
mod stream;
mod view;

pub use api::ApiVersion;
pub(crate) use api::check_engine;
pub(crate) use driver::{Driver, Note, Source};
pub(crate) use jobs::{is_connection_failure, observe, refresh};
pub(crate) use view::natural_order;
pub use view::{ClockSkew, ContainerCounts, NodeRef, NodeView};
