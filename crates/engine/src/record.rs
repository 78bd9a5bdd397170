//! What an engine of ours knows of one workload.

use longshore_core::{
    EngineEvent, EventAction, Timestamp, Workload, WorkloadDetail, WorkloadId, WorkloadName,
    WorkloadSpec,
};

use crate::lifecycle::Lifecycle;

/// A workload with its life so far.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: WorkloadId,
    pub(crate) name: WorkloadName,
    pub(crate) spec: WorkloadSpec,
    pub(crate) created: Timestamp,
    pub(crate) life: Lifecycle,
    /// Its first process, 0 while there is none.
    pub(crate) pid: u32,
}

impl Record {
    pub(crate) fn new(
        id: WorkloadId,
        name: WorkloadName,
        spec: WorkloadSpec,
        created: Timestamp,
    ) -> Self {
        let life = Lifecycle::new(spec.restart);
        Self {
            id,
            name,
            spec,
            created,
            life,
            pid: 0,
        }
    }

    pub(crate) fn listed(&self) -> Workload {
        let mut workload = Workload::new(self.id.clone());
        workload.names = vec![self.name.to_string()];
        workload.image.clone_from(&self.spec.image);
        workload.image_id.clone_from(&self.spec.image);
        workload.command = self.spec.command.join(" ");
        workload.created = self.created;
        workload.state = self.life.state();
        workload.labels = self.spec.labels.clone();
        if self.life.is_active() {
            workload.ports.clone_from(&self.spec.ports);
        }
        workload
    }

    pub(crate) fn inspected(&self) -> Workload {
        let mut workload = self.listed();
        let mut detail = WorkloadDetail::default();
        detail.pid = self.pid;
        detail.env.clone_from(&self.spec.env);
        detail.working_dir.clone_from(&self.spec.working_dir);
        detail.resources = self.spec.resources.clone();
        detail.devices.clone_from(&self.spec.devices);
        detail.requested_ports.clone_from(&self.spec.ports);
        detail.host_network = true;
        detail.restart = self.spec.restart;
        detail.restarts = self.life.restarts();
        detail.tty = self.spec.tty;
        detail.open_stdin = self.spec.open_stdin;
        detail.started = self.life.started();
        detail.finished = self.life.finished();
        detail.exit = self.life.exit().cloned();
        detail.error = self.life.error().to_owned();
        workload.detail = Some(detail);
        workload
    }

    pub(crate) fn event(
        &self,
        action: EventAction,
        attributes: Vec<(&'static str, String)>,
        at: Timestamp,
    ) -> EngineEvent {
        let mut event = EngineEvent::workload(&self.id, action, at);
        for (key, value) in self.spec.labels.iter() {
            event.attributes.insert(key.to_owned(), value.to_owned());
        }
        event
            .attributes
            .insert("image".to_owned(), self.spec.image.clone());
        event
            .attributes
            .insert("name".to_owned(), self.name.to_string());
        for (key, value) in attributes {
            event.attributes.insert(key.to_owned(), value);
        }
        event
    }
}
