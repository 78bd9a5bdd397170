use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use longshore_core::{
    Action, AuditEvent, AuditOutcome, AuditSink, Identity, Labels, Result, SessionId, Target,
    Timestamp,
};

use super::RecordStore;
use crate::session::{RecordEvent, RecordReach, Recorder, RuleAction, SessionAbout};

/// A recorder that tells the audit log: that a session began, each rule that is to alert or more,
/// and at the end the head of the record's chain (label `head`). So the record of a session can't
/// be written anew without the audit log being written anew too.
///
/// What the audit log does not take is not recorded either, so the session ends.
#[derive(Clone, Debug)]
pub struct Announced {
    store: Arc<dyn RecordStore>,
    audit: Arc<dyn AuditSink>,
    /// Of the sessions that go on.
    open: Arc<Mutex<HashMap<SessionId, Known>>>,
}

#[derive(Clone, Debug)]
struct Known {
    who: Identity,
    node: Option<String>,
    container: String,
}

impl Announced {
    /// Over a store.
    pub fn new(store: Arc<dyn RecordStore>, audit: Arc<dyn AuditSink>) -> Self {
        Self {
            store,
            audit,
            open: Arc::default(),
        }
    }

    async fn tell(
        &self,
        session: &SessionId,
        known: &Known,
        at: Timestamp,
        operation: &str,
        outcome: AuditOutcome,
        labels: Labels,
    ) -> Result<()> {
        let target = Target::new("session", session.to_string())
            .with_labels(labels.with("container", known.container.clone()));
        let who = known.who.clone();
        let mut event = AuditEvent::new(at, who, Action::Enter, operation, target, outcome);
        event.node.clone_from(&known.node);
        self.audit.record(event).await.map(drop)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SessionId, Known>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Recorder for Announced {
    async fn record(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()> {
        self.store.record(session, at, event).await?;
        if let RecordEvent::Opened(about) = event {
            self.open().insert(session.clone(), Known::of(about));
        }
        let known = match event {
            RecordEvent::Ended(_) => self.open().remove(session),
            _ => self.open().get(session).cloned(),
        };
        let Some(known) = known else {
            return Ok(());
        };
        let mut labels = Labels::new();
        let (operation, outcome) = match event {
            RecordEvent::Opened(_) => ("session.recorded", AuditOutcome::Started),
            RecordEvent::Hit(hit) if hit.action != RuleAction::Log => {
                labels.insert("rule", hit.rule.clone());
                let outcome = match hit.action {
                    RuleAction::Block => AuditOutcome::Denied(format!("rule {}", hit.rule)),
                    _ => AuditOutcome::Started,
                };
                ("session.rule", outcome)
            }
            RecordEvent::Ended(end) => {
                labels.insert("end", end.to_string());
                let summary = self.store.session(session).await?;
                labels.insert("records", summary.records.to_string());
                labels.insert("head", summary.head);
                ("session.recorded", AuditOutcome::Done)
            }
            _ => return Ok(()),
        };
        self.tell(session, &known, at, operation, outcome, labels)
            .await
    }

    fn reach(&self, session: &SessionId) -> Option<RecordReach> {
        self.store.reach(session)
    }
}

impl Known {
    fn of(about: &SessionAbout) -> Self {
        Self {
            who: about.who.clone(),
            node: about.origin.node.clone(),
            container: about.container.clone(),
        }
    }
}
