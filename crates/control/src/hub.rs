use std::sync::Arc;

use longshore_core::Clock;

/// Takes in the nodes that dial out to the control plane.
#[derive(Clone, Debug)]
pub struct TunnelHub {
    clock: Arc<dyn Clock>,
}

impl TunnelHub {
    /// An empty hub.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}
