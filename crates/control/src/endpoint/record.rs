//! What the audit log is told of a call.

use longshore_core::{
    Action, AuditEvent, AuditOutcome, AuditReceipt, Identity, Labels, Result, Target, Timestamp,
    http::full_body,
};
use serde_json::Value;

use super::{
    Shared,
    call::{Call, exact_fields},
    error::ApiResult,
    route::{ContainerOp, Route},
};

/// One call that is to be on record.
#[derive(Debug)]
pub(super) struct Record {
    who: Identity,
    action: Action,
    operation: String,
    target: Target,
}

impl Record {
    pub(super) fn new(call: &Call, action: Action, target: Target) -> Self {
        let mut target = target;
        target.name = cut(&target.name, MAX_TEXT);
        target.labels = few(&target.labels);
        Self {
            who: call.who.clone(),
            action,
            operation: operation(call),
            target,
        }
    }

    /// Adds what became of it: the id that an engine gave.
    pub(super) fn made(&mut self, id: &str) {
        self.operation.push_str(" id=");
        self.operation.push_str(&cut(id, MAX_VALUE));
    }

    pub(super) fn operation(&self) -> &str {
        &self.operation
    }

    fn event(&self, at: Timestamp, outcome: AuditOutcome, node: Option<&str>) -> AuditEvent {
        let outcome = match outcome {
            AuditOutcome::Denied(reason) => AuditOutcome::Denied(cut(&reason, MAX_TEXT)),
            AuditOutcome::Failed(reason) => AuditOutcome::Failed(cut(&reason, MAX_TEXT)),
            other => other,
        };
        let mut event = AuditEvent::new(
            at,
            self.who.clone(),
            self.action,
            self.operation.clone(),
            self.target.clone(),
            outcome,
        );
        event.node = node.map(|node| cut(node, MAX_TEXT));
        event
    }

    pub(super) async fn write(
        &self,
        shared: &Shared,
        outcome: AuditOutcome,
        node: Option<&str>,
    ) -> Result<AuditReceipt> {
        let plane = &shared.plane;
        let event = self.event(plane.clock().now(), outcome, node);
        plane.audit().record(event).await
    }
}

/// What the log is to name besides the path stands in some bodies: reads these, once.
pub(super) async fn look_into(shared: &Shared, call: &mut Call, route: &Route) -> ApiResult<()> {
    if !matches!(
        route,
        Route::ContainerCreate
            | Route::PendingEnqueue
            | Route::Container(_, ContainerOp::ExecCreate)
    ) {
        return Ok(());
    }
    let bytes = call.read_body(shared).await?;
    let value = Call::parse_json(&bytes)?;
    call.put_body(full_body(bytes));
    if let (Route::Container(..), Value::Object(body)) = (route, &value) {
        exact_fields(body, &["Cmd"])?;
    }
    let mut detail = String::new();
    if let Some(image) = value.get("Image").and_then(Value::as_str) {
        detail = format!(" image={}", cut(image, MAX_VALUE));
    }
    // Never the environment: that is where secrets are.
    if let (Route::Container(..), Some(Value::Array(command))) = (route, value.get("Cmd")) {
        let words = command.iter().filter_map(Value::as_str);
        let words: Vec<String> = words
            .take(MAX_WORDS)
            .map(|word| cut(word, MAX_VALUE))
            .collect();
        let more = if command.len() > words.len() {
            "…"
        } else {
            ""
        };
        let words = format!("{}{more}", Value::from(words));
        detail = format!(" command={}", cut(&words, MAX_TEXT));
    }
    call.detail = detail;
    call.parsed = Some(value);
    Ok(())
}

/// Method, path, the query as far as it is known to hold no secret, and what the body says.
fn operation(call: &Call) -> String {
    let mut text = format!("{} {}", call.method, cut(&call.path, MAX_TEXT));
    let mut query = String::new();
    for (key, value) in call.query.pairs() {
        let value = if SHOWN.contains(&key) && !value.contains("://") {
            cut(value, MAX_VALUE)
        } else {
            "…".to_owned()
        };
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(&format!("{}={value}", cut(key, MAX_KEY)));
        if query.len() > MAX_TEXT {
            break;
        }
    }
    text.push_str(&cut(&query, MAX_TEXT));
    text.push_str(&call.detail);
    text
}

/// The target as the log has it: what is made is named by the query.
pub(super) fn target(call: &Call, route: &Route, target: &Target) -> Target {
    let mut target = target.clone();
    if target.name.is_empty() {
        let key = match route {
            Route::ContainerCreate | Route::PendingEnqueue => "name",
            Route::Commit => "container",
            Route::ImageCreate => "fromImage",
            _ => return target,
        };
        call.query.text(key).clone_into(&mut target.name);
    }
    target
}

/// At most so many bytes, whole characters.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(limit)])
}

fn few(labels: &Labels) -> Labels {
    let mut few = Labels::new();
    for (key, value) in labels.iter().take(MAX_LABELS) {
        few.insert(cut(key, MAX_VALUE), cut(value, MAX_VALUE));
    }
    few
}

/// What a call made: put into an answer's extensions.
#[derive(Clone, Debug)]
pub(super) struct Made(pub(super) String);

const MAX_TEXT: usize = 512;
const MAX_VALUE: usize = 128;
const MAX_KEY: usize = 32;
const MAX_WORDS: usize = 32;
const MAX_LABELS: usize = 32;

/// Fields of a query that hold no secret. Of others only the name is told, and of addresses, which
/// may hold a password.
const SHOWN: [&str; 37] = [
    "all",
    "condition",
    "container",
    "copyUIDGID",
    "detachKeys",
    "dangling",
    "filters",
    "follow",
    "force",
    "fromImage",
    "fromSrc",
    "h",
    "height",
    "link",
    "logs",
    "name",
    "names",
    "noOverwriteDirNonDir",
    "noprune",
    "path",
    "patience",
    "pause",
    "platform",
    "priority",
    "quiet",
    "repo",
    "signal",
    "since",
    "start",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "t",
    "tag",
    "v",
    "w",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short", 512), "short");
        assert_eq!(cut("aé", 2), "a…");
        assert_eq!(cut("éé", 2), "é…");
        assert!(cut(&"€".repeat(60_000), MAX_TEXT).len() <= MAX_TEXT + '…'.len_utf8());
    }
}
