//! What an explanation is asked to imagine.

use longshore_core::{Bytes, Error, Expression, MilliCpu, NodeState, PlacementRequest, Resources};

use super::error::{ApiError, ApiResult};

/// A node that does not exist, from `cpu=4,memory=8GiB,label=zone=eu`; `name=` is optional. The
/// number tells it from the others of one question.
pub(super) fn node(text: &str, number: usize) -> ApiResult<NodeState> {
    let name = format!("new-node-{number}");
    let bad = |reason: &str| {
        ApiError::bad_request(format!(
            "invalid with-node {text:?}: {reason} (expected for example \
             cpu=4,memory=8GiB,label=zone=eu)"
        ))
    };
    let mut state = NodeState::new(
        format!("what-if:{number}").parse().map_err(Error::from)?,
        name.parse().map_err(Error::from)?,
        Resources::default(),
    );
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("name", name)) => {
                state.name = name.parse().map_err(|_| bad("its name is none"))?;
            }
            Some(("cpu", cpus)) => {
                let cpus: MilliCpu = cpus.parse().map_err(|_| bad("its cpu is no number"))?;
                state.capacity.cpu = cpus;
            }
            Some(("memory", size)) => {
                let size: Bytes = size.parse().map_err(|_| bad("its memory is no size"))?;
                state.capacity.memory = size;
            }
            Some(("label", pair)) => match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => state.labels.insert(key, value),
                _ => return Err(bad("a label is key=value")),
            },
            _ => {
                return Err(bad(&format!(
                    "{part:?} is neither name, cpu, memory nor label"
                )));
            }
        }
    }
    Ok(state)
}

/// Drops a demand of a request: `constraint:zone==eu`, `affinity:…`, `whitelist:…`, `ports`,
/// `resources` or `devices`.
pub(super) fn drop_demand(request: &mut PlacementRequest, text: &str) -> ApiResult<()> {
    let (list, expression) = match text.split_once(':') {
        Some(("constraint", expression)) => (&mut request.constraints, expression),
        Some(("affinity", expression)) => (&mut request.affinities, expression),
        Some(("whitelist", expression)) => (&mut request.whitelists, expression),
        _ if text == "ports" => {
            request.ports.clear();
            return Ok(());
        }
        _ if text == "resources" => {
            request.resources = Resources::default();
            return Ok(());
        }
        _ if text == "devices" => {
            request.devices.clear();
            return Ok(());
        }
        _ => {
            return Err(ApiError::bad_request(format!(
                "invalid without {text:?}: expected constraint:, affinity: or whitelist: with an \
                 expression, or ports, resources or devices"
            )));
        }
    };
    let dropped: Expression = expression.parse().map_err(Error::from)?;
    let before = list.len();
    list.retain(|term| *term != dropped);
    if list.len() < before {
        return Ok(());
    }
    let there: Vec<String> = list.iter().map(ToString::to_string).collect();
    Err(ApiError::bad_request(format!(
        "the request does not ask for {text}: it has {}",
        match there.is_empty() {
            true => "no demand of that kind".to_owned(),
            false => there.join(", "),
        }
    )))
}
