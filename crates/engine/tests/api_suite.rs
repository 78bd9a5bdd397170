//! The engine suite through two layers of Docker's API: the Docker client of this crate, in front
//! of `EngineApi`, in front of the process engine. What either side gets wrong about the API's
//! shapes fails a rule; no daemon is needed.

#![cfg(all(
    feature = "api",
    feature = "docker",
    feature = "process",
    target_os = "linux"
))]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::sync::Arc;

use longshore_core::{Engine, OsRandom, SystemClock, testkit};
use longshore_engine::{DockerEngine, EngineApi, ProcessEngine, ProcessOptions};

struct Layers {
    engine: Arc<dyn Engine>,
}

impl Layers {
    fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        let random = Arc::new(OsRandom);
        let process =
            ProcessEngine::new(ProcessOptions::default(), clock.clone(), random.clone()).unwrap();
        let api = EngineApi::new(process.clone(), process, clock.clone(), random);
        let engine = DockerEngine::new(api.connector(), clock).unwrap();
        Self {
            engine: Arc::new(engine),
        }
    }
}

impl testkit::engine::Harness for Layers {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn image(&self) -> String {
        "host".to_owned()
    }

    fn missing_image(&self) -> Option<String> {
        Some("no-such-image".to_owned())
    }
}

longshore_core::engine_suite!(live, Layers::new());
