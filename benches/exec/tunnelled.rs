//! A gateway that reaches the engine through a tunnel.

use std::path::{Path, PathBuf};

use longshore::{core::Shutdown, exec::gateway::GatewayOptions};

use crate::{
    gateway::{Served, docker},
    tunnel,
};

pub fn over_tunnel(engine: &Path) -> Served {
    let engine: PathBuf = engine.into();
    Served::start(
        GatewayOptions::default(),
        async move |shutdown: Shutdown| docker(tunnel::to_engine(&engine, shutdown.child()).await),
    )
}
