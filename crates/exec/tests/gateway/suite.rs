//! The exec suite through client, WebSocket, gateway and hub: in there as on the spot.

use std::sync::Arc;

use longshore_core::{
    ExecRequest,
    testkit::{
        exec::{Attachable, Harness, Place},
        programs::Programs,
    },
};
use longshore_exec::ScriptedExec;

use crate::{
    programs::{Names, scripted},
    server::{Server, id},
};

struct Through(ScriptedExec);

fn fresh() -> Through {
    Through(
        scripted()
            .with_workload(id("web"))
            .with_stopped_workload(id("stopped")),
    )
}

impl Through {
    fn at(&self, workload: &str) -> Place {
        let server = Server::over(Arc::new(self.0.clone()));
        Place {
            backend: Arc::new(server.client()),
            workload: id(workload),
            keep: Box::new(server),
        }
    }
}

#[async_trait::async_trait]
impl Harness for Through {
    async fn place(&self) -> Place {
        self.at("web")
    }

    async fn stopped(&self) -> Option<Place> {
        Some(self.at("stopped"))
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let request = match kind {
            Attachable::Pipes | Attachable::PipesOnce => ExecRequest::new(id("main"), Names.copy()),
            Attachable::Terminal => {
                ExecRequest::new(id("main"), Names.copy_raw(260)).with_tty(<_>::default())
            }
        };
        self.0.start_workload(&request).unwrap();
        Some(self.at("main"))
    }

    fn programs(&self) -> &dyn Programs {
        &Names
    }
}

longshore_core::exec_suite!(paused, fresh());

/// The same on several threads and in real time.
mod live {
    longshore_core::exec_suite!(live, super::fresh());
}
