use std::sync::Arc;

use longshore_core::{
    ExecRequest, WorkloadId,
    testkit::{
        exec::{Attachable, Harness, Place},
        programs::Programs,
    },
};
use longshore_exec::ScriptedExec;

use crate::programs::{Names, scripted};

struct Twin(ScriptedExec);

fn id(text: &str) -> WorkloadId {
    WorkloadId::new(text).unwrap()
}

fn place(exec: &ScriptedExec, workload: &str) -> Place {
    Place {
        backend: Arc::new(exec.clone()),
        workload: id(workload),
        keep: Box::new(()),
    }
}

fn fresh() -> Twin {
    Twin(
        scripted()
            .with_workload(id("web"))
            .with_stopped_workload(id("stopped")),
    )
}

#[async_trait::async_trait]
impl Harness for Twin {
    async fn place(&self) -> Place {
        place(&self.0, "web")
    }

    async fn stopped(&self) -> Option<Place> {
        Some(place(&self.0, "stopped"))
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let request = match kind {
            Attachable::Pipes | Attachable::PipesOnce => ExecRequest::new(id("main"), Names.copy()),
            Attachable::Terminal => {
                ExecRequest::new(id("main"), Names.copy_raw(260)).with_tty(<_>::default())
            }
        };
        self.0.start_workload(&request).unwrap();
        Some(place(&self.0, "main"))
    }

    fn programs(&self) -> &dyn Programs {
        &Names
    }
}

longshore_core::exec_suite!(paused, fresh());
