//! longshore's own routes for stacks: what is desired, and how it is doing.

use std::collections::BTreeSet;

use http::StatusCode;
use longshore_core::{Action, Target, http::full_body, printable};
use serde_json::Value;

use super::{
    Shared,
    call::{Call, empty, json},
    error::{ApiError, ApiResult},
    service::refused,
};
use crate::StackSpec;

/// `GET /longshore/v1/stacks`: how each is doing.
pub(super) fn list(shared: &Shared) -> ApiResult {
    let plane = &shared.plane;
    let stacks: Vec<_> = plane
        .stacks()
        .iter()
        // One that was removed meanwhile is left out.
        .filter_map(|name| plane.stack_status(name.as_str()).ok())
        .collect();
    json(StatusCode::OK, &stacks)
}

/// `PUT /longshore/v1/stacks/NAME` with a [`StackSpec`]: desires it, whatever was desired under this
/// name. Whoever has its images pulled with somebody's credentials must be allowed to write those, too.
pub(super) async fn deploy(shared: &Shared, mut call: Call, name: &str) -> ApiResult {
    let given = call.read_json(shared).await?;
    let stack = parse(given, name)?;
    may_use_credentials(shared, &call, &stack).await?;
    shared.plane.deploy(stack).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Whether the caller may have deployed what he sends, for a manager that passes it on.
///
/// # Errors
/// As for [`deploy`].
pub(super) async fn may_deploy(shared: &Shared, call: &mut Call, name: &str) -> ApiResult<()> {
    let body = call.read_body(shared).await?;
    let stack = parse(Call::parse_json(&body)?, name)?;
    call.put_body(full_body(body));
    may_use_credentials(shared, call, &stack).await
}

async fn may_use_credentials(shared: &Shared, call: &Call, stack: &StackSpec) -> ApiResult<()> {
    let services = stack.services.iter();
    let used: BTreeSet<&str> = services
        .filter_map(|service| service.registry_credentials.as_deref())
        .collect();
    for credentials in used {
        let target = Target::new("registry-credentials", credentials);
        let leave = shared.authorize(&call.who, Action::Write, &target).await;
        leave.map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// `DELETE /longshore/v1/stacks/NAME`: desires that nothing of it is there.
pub(super) async fn remove(shared: &Shared, name: &str) -> ApiResult {
    let removed = shared.plane.remove_stack(name).await;
    removed.map_err(|error| ApiError::lookup(&error, || format!("No such stack: {name}")))?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What is written by hand: a field that nobody knows is a mistake, not a wish for the future.
fn parse(given: Value, name: &str) -> ApiResult<StackSpec> {
    let bad = |why: String| ApiError::bad_request(format!("this is no stack: {why}"));
    let stack: StackSpec =
        serde_json::from_value(given.clone()).map_err(|error| bad(error.to_string()))?;
    let understood = serde_json::to_value(&stack).map_err(|error| bad(error.to_string()))?;
    if let Some(path) = unknown_field(&given, &understood) {
        return Err(bad(format!("unknown field {path}")));
    }
    if stack.name.as_str() != name {
        let called = &stack.name;
        return Err(bad(format!(
            "it is called {called}, and the path says {name}"
        )));
    }
    if let Some(service) = stack
        .services
        .iter()
        .find(|service| service.template.image.is_empty())
    {
        return Err(bad(format!("service {} has no image", service.name)));
    }
    Ok(stack)
}

/// Where something stands that was not taken in.
fn unknown_field(given: &Value, understood: &Value) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().find_map(|(key, value)| {
                let shown = printable(key, LONGEST_SHOWN);
                match understood.get(key) {
                    Some(known) => {
                        let below = unknown_field(value, known)?;
                        let dot = if below.starts_with('[') { "" } else { "." };
                        Some(format!("{shown}{dot}{below}"))
                    }
                    // Empty ones are left out when they are written.
                    None if is_nothing(value) => None,
                    None => Some(shown.into_owned()),
                }
            })
        }
        (Value::Array(given), Value::Array(understood)) => {
            let pairs = given.iter().zip(understood).enumerate();
            pairs.into_iter().find_map(|(at, (given, understood))| {
                let below = unknown_field(given, understood)?;
                Some(format!("[{at}].{below}"))
            })
        }
        _ => None,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

const LONGEST_SHOWN: usize = 80;
