//! The simulation passes the suites of engines and of exec backends, in virtual time.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{sync::Arc, time::Duration};

use longshore_core::{
    Clock, Engine, ExecBackend, NodeName, Signal, SystemClock, WorkloadSpec,
    testkit::{
        engine,
        exec::{self, Attachable, Place},
        programs::Programs,
    },
};
use longshore_engine::{Script, SimEngine, SimInput, SimOptions};

/// The programs of the suites as scripts.
struct Scripts;

impl Programs for Scripts {
    fn forever(&self) -> Vec<String> {
        Script::new().print(NOW, "ready\n").to_command()
    }

    fn stubborn(&self) -> Vec<String> {
        let deaf = Script::new().print(NOW, "ready\n").ignore(Signal::TERM);
        deaf.to_command()
    }

    fn exit_on_usr1(&self, code: u8) -> Vec<String> {
        let script = Script::new().print(NOW, "ready\n");
        script.answer(Signal::USR1, code).to_command()
    }

    fn print(&self, stdout: &[u8], stderr: &[u8]) -> Vec<String> {
        let script = Script::new().print(NOW, stdout).print_error(NOW, stderr);
        script.exit(NOW, 0).to_command()
    }

    fn print_slowly(&self, first: &[u8], pause: Duration, second: &[u8]) -> Vec<String> {
        let script = Script::new().print(NOW, first).print(pause, second);
        script.exit(pause, 0).to_command()
    }

    fn lines(&self, count: u32) -> Vec<String> {
        let text: String = (1..=count).map(|number| format!("{number}\n")).collect();
        Script::new().print(NOW, text).exit(NOW, 0).to_command()
    }

    fn exit(&self, code: u8) -> Vec<String> {
        Script::new().exit(NOW, code).to_command()
    }

    fn copy(&self) -> Vec<String> {
        Script::new().input(SimInput::Copy).to_command()
    }

    fn count(&self) -> Vec<String> {
        Script::new().input(SimInput::Count).to_command()
    }

    fn copy_raw(&self, bytes: usize) -> Vec<String> {
        Script::new().input(SimInput::CopyRaw(bytes)).to_command()
    }

    fn terminal_size(&self) -> Vec<String> {
        Script::new().input(SimInput::TerminalSize).to_command()
    }

    fn print_env(&self, name: &str) -> Vec<String> {
        let mut script = Script::new().exit(NOW, 0);
        script.print_env = Some(name.to_owned());
        script.to_command()
    }

    fn missing(&self) -> Vec<String> {
        vec!["/no/such/program".to_owned()]
    }
}

const NOW: Duration = Duration::ZERO;

struct Simulation {
    engine: Arc<SimEngine>,
    clock: Arc<dyn Clock>,
}

fn fresh() -> Simulation {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let options = SimOptions::default()
        .with_missing_image("no-such-image")
        .with_latency(Duration::from_millis(2), Duration::from_millis(5));
    let name = NodeName::new("sim").unwrap();
    Simulation {
        engine: SimEngine::new(name, options, Arc::clone(&clock), 1).unwrap(),
        clock,
    }
}

impl engine::Harness for Simulation {
    fn engine(&self) -> Arc<dyn Engine> {
        self.engine.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn image(&self) -> String {
        "anything".to_owned()
    }

    fn missing_image(&self) -> Option<String> {
        Some("no-such-image".to_owned())
    }

    fn programs(&self) -> &dyn Programs {
        &Scripts
    }
}

mod as_engine {
    use super::fresh;
    longshore_core::engine_suite!(paused, fresh());
}

impl Simulation {
    async fn running(&self, spec: WorkloadSpec) -> Place {
        let workload = self.engine.create(&spec).await.unwrap();
        self.engine.start(&workload).await.unwrap();
        Place {
            backend: self.engine.clone() as Arc<dyn ExecBackend>,
            workload,
            keep: Box::new(()),
        }
    }
}

#[async_trait::async_trait]
impl exec::Harness for Simulation {
    async fn place(&self) -> Place {
        self.running(WorkloadSpec::new("anything")).await
    }

    async fn stopped(&self) -> Option<Place> {
        let place = self
            .running(WorkloadSpec::new("x").with_command(["true"]))
            .await;
        self.engine.wait(&place.workload).await.unwrap();
        Some(place)
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let spec = WorkloadSpec::new("anything").with_stdin();
        let spec = match kind {
            Attachable::Pipes | Attachable::PipesOnce => spec.with_command(Scripts.copy()),
            Attachable::Terminal => spec.with_command(Scripts.copy_raw(260)).with_tty(),
        };
        Some(self.running(spec).await)
    }

    fn programs(&self) -> &dyn Programs {
        &Scripts
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

mod as_exec_backend {
    use super::fresh;
    longshore_core::exec_suite!(paused, fresh());
}
