mod api;
mod view;

pub use api::ApiVersion;
pub(crate) use api::check_engine;
pub use view::{ClockSkew, ContainerCounts, NodeRef, NodeView};
pub(crate) use view::natural_order;
