use bollard::models::ContainerInspectResponse;
use longshore_core::{Timestamp, printable};
use serde::Serialize;
use serde_json::{Value, json};

/// A longer record is not kept: whoever lists the container makes do with what was read of it.
pub(super) const LONGEST: usize = 64 << 10;

/// The name or id of a container or an image, as an engine tells it.
pub(super) fn name(told: &str) -> String {
    printable(told, LONGEST_NAME).into_owned()
}

/// A command line, which may hold anything and is only shown.
pub(super) fn cut(mut command: String) -> String {
    command.truncate(command.floor_char_boundary(LONGEST_COMMAND));
    command
}

/// Docker allows 255 bytes of a repository and 128 of a tag.
const LONGEST_NAME: usize = 512;
const LONGEST_COMMAND: usize = 4096;

/// An inspection in the form of `GET /containers/json`, so that a container that was only inspected
/// lists like any other. Ports are added by the caller; the status text is left out, because it
/// would be old soon.
pub(super) fn listing(answer: &ContainerInspectResponse) -> Value {
    let config = answer.config.as_ref();
    let host = answer.host_config.as_ref();
    let networks = answer
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let command: Vec<&str> = answer
        .path
        .iter()
        .chain(answer.args.iter().flatten())
        .map(String::as_str)
        .collect();
    let created = answer.created.as_deref().and_then(|text| {
        let parsed = Timestamp::parse_rfc3339(text).ok().flatten();
        parsed.map(Timestamp::as_secs)
    });
    json!({
        "Id": answer.id,
        "Names": answer.name.iter().collect::<Vec<_>>(),
        "Image": config.and_then(|config| config.image.as_deref()),
        "ImageID": answer.image,
        "Command": command.join(" "),
        "Created": created.unwrap_or(0),
        "Labels": config.and_then(|config| config.labels.as_ref()),
        "HostConfig": {
            "NetworkMode": host.and_then(|host| host.network_mode.as_deref()).unwrap_or("default"),
        },
        "NetworkSettings": {"Networks": or_empty(networks, json!({}))},
        "Mounts": or_empty(answer.mounts.as_ref(), json!([])),
    })
}

fn or_empty<T: Serialize>(value: Option<&T>, empty: Value) -> Value {
    value
        .and_then(|value| serde_json::to_value(value).ok())
        .unwrap_or(empty)
}
