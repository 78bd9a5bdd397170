//! The process engine passes the suites of engines and of exec backends.
#![cfg(all(feature = "process", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::sync::Arc;

use longshore_core::{
    Engine, ExecBackend, OsRandom, SystemClock, WorkloadSpec,
    testkit::{
        engine,
        exec::{self, Attachable, Place},
        programs::{Programs, Shell},
    },
};
use longshore_engine::{ProcessEngine, ProcessOptions};

fn fresh() -> Arc<ProcessEngine> {
    ProcessEngine::new(
        ProcessOptions::default(),
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
    )
    .unwrap()
}

struct Processes(Arc<ProcessEngine>);

impl engine::Harness for Processes {
    fn engine(&self) -> Arc<dyn Engine> {
        self.0.clone()
    }

    fn image(&self) -> String {
        "host".to_owned()
    }

    fn missing_image(&self) -> Option<String> {
        Some("busybox".to_owned())
    }
}

mod as_engine {
    use super::{Processes, fresh};
    longshore_core::engine_suite!(live, Processes(fresh()));
}

struct Sessions(Arc<ProcessEngine>);

impl Sessions {
    async fn running(&self, spec: WorkloadSpec) -> Place {
        let workload = self.0.create(&spec).await.unwrap();
        self.0.start(&workload).await.unwrap();
        Place {
            backend: self.0.clone() as Arc<dyn ExecBackend>,
            workload,
            keep: Box::new(()),
        }
    }
}

#[async_trait::async_trait]
impl exec::Harness for Sessions {
    async fn place(&self) -> Place {
        self.running(WorkloadSpec::new("host").with_command(Shell.forever()))
            .await
    }

    async fn stopped(&self) -> Option<Place> {
        let spec = WorkloadSpec::new("host").with_command(Shell.exit(0));
        let place = self.running(spec).await;
        self.0.wait(&place.workload).await.unwrap();
        Some(place)
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let spec = WorkloadSpec::new("host").with_stdin();
        let spec = match kind {
            Attachable::Pipes | Attachable::PipesOnce => spec.with_command(Shell.copy()),
            Attachable::Terminal => spec.with_command(Shell.copy_raw(260)).with_tty(),
        };
        let place = self.running(spec).await;
        if kind == Attachable::Terminal {
            // `R` says that the terminal is in raw mode.
            let options = longshore_core::LogOptions::follow();
            let mut log = self.0.logs(&place.workload, &options).await.unwrap();
            futures::StreamExt::next(&mut log).await.unwrap().unwrap();
        }
        Some(place)
    }
}

mod as_exec_backend {
    use super::{Sessions, fresh};
    longshore_core::exec_suite!(live, Sessions(fresh()));
}
