//! Changes of who writes, as clients ask for them.

use longshore_core::{AuditOutcome, Identity, Labels, SessionId, Timestamp};

use super::{Between, Pump, lock};
use crate::{
    gateway::{Shared, admit::Onlooker},
    session::{Attachment, Notice, Prospect, Rate, ViewerId},
};

impl Pump<'_> {
    /// Passes the right to write on, or for `None` takes it back. That is on the record before it
    /// happens, and what came of it behind; the client is told when it did not. Who has no say in it,
    /// or asks too often, does not fill the record; nor does what changes nothing.
    pub(super) async fn change(&self, to: Option<ViewerId>, between: &Between) {
        let attachment = self.attachment;
        let (heir, name) = match attachment.prospect(to) {
            Prospect::Barred => return attachment.tell(Notice::NotGranted),
            // The answer is who writes.
            Prospect::Same => return attachment.tell_people(),
            Prospect::Passes(heir, name) => (heir, name),
        };
        let may = {
            let mut changes = lock(&between.changes);
            let may = changes.room(self.shared.clock.now()) > 0;
            changes.spend(1);
            may
        };
        if !may {
            return attachment.tell(Notice::NotGranted);
        }
        let mut labels = Labels::new().with("viewer", heir.number().to_string());
        if let Some(name) = name {
            labels.insert("to", name);
        }
        let change = Change {
            session: attachment.ready().session.clone(),
            who: self.onlooker.map(Onlooker::who).cloned(),
            operation: match to {
                Some(_) => "exec.grant",
                None => "exec.take-back",
            },
            labels,
        };
        let outcome = match change.record(self.shared, AuditOutcome::Started).await {
            Ok(()) => match make(attachment, to) {
                Ok(()) => AuditOutcome::Done,
                Err(error) => AuditOutcome::Denied(error.to_string()),
            },
            Err(error) => AuditOutcome::Failed(error.to_string()),
        };
        match outcome {
            AuditOutcome::Done => attachment.tell_people(),
            _ => attachment.tell(Notice::NotGranted),
        }
        // It has happened, or not: also a connection that ends now does not keep that off the record.
        let shared = self.shared.clone();
        let told = self.shared.shutdown.spawn(async move {
            // A failure is in the log.
            let _ = change.record(&shared, outcome).await;
        });
        let _ = told.await;
    }
}

fn make(attachment: &Attachment, to: Option<ViewerId>) -> longshore_core::Result<()> {
    match to {
        Some(to) => attachment.grant(to),
        None => attachment.take_back(),
    }
}

struct Change {
    session: SessionId,
    who: Option<Identity>,
    operation: &'static str,
    labels: Labels,
}

impl Change {
    async fn record(&self, shared: &Shared, outcome: AuditOutcome) -> longshore_core::Result<()> {
        let (who, labels) = (self.who.as_ref(), self.labels.clone());
        shared
            .record_change(&self.session, who, self.operation, labels, outcome)
            .await
    }
}

/// How often a client may ask.
pub(super) fn allowance(now: Timestamp) -> Rate {
    Rate::with_burst(1, 8, now)
}
