mod index;
mod lookup;
mod placements;
mod slot;
mod state;
mod view;

pub use self::view::{ContainerView, SWARM_ID_LABEL};
pub(crate) use self::{
    slot::{Announced, NodeStatus, SlotId},
    state::{Cluster, State},
    view::SHORT_ID,
};
