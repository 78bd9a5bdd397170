use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{Error, Image, PullOptions, PullProgress, RegistryCredentials, Result};
use serde_json::{Value, json};

use super::{
    reply::{Reply, ok, streamed},
    router::Call,
};

/// `GET /images/json`, newest first.
pub(super) async fn list(call: &Call) -> Result<Reply> {
    let filters = call.query.filters()?;
    let mut images = call.shared.engine()?.images().await?;
    for (name, values) in &filters {
        if !["reference", "dangling", "label"].contains(&name.as_str()) {
            return Err(Error::invalid(format!("Invalid filter '{name}'")));
        }
        images.retain(|image| {
            let fits = |value: &String| match name.as_str() {
                "reference" => is_named(image, value),
                "dangling" => image.tags.is_empty() == matches!(value.as_str(), "true" | "1"),
                _ => match value.split_once('=') {
                    Some((key, wanted)) => image.labels.get(key) == Some(wanted),
                    None => image.labels.get(value).is_some(),
                },
            };
            values.is_empty() || values.iter().any(fits)
        });
    }
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    Ok(ok(&Value::Array(images.iter().map(record).collect())))
}

/// `GET /images/{name}/json`.
pub(super) async fn inspect(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let images = engine.images().await?;
    let image = images
        .iter()
        .find(|image| image.id == name || is_named(image, name))
        .or_else(|| images.iter().find(|image| is_id(image, name)))
        .ok_or_else(|| Error::not_found(format!("No such image: {name}")))?;
    let info = engine.info().await?;
    let architecture = info.attributes.get("architecture").unwrap_or_default();
    Ok(ok(&json!({
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": "",
        "Comment": "",
        "Created": image.created.to_string(),
        "Container": "",
        "DockerVersion": "",
        "Author": "",
        "Config": {
            "Env": null, "Cmd": null, "Entrypoint": null, "WorkingDir": "", "User": "",
            "Volumes": null, "Labels": image.labels,
        },
        "Architecture": architecture,
        "Os": info.attributes.get("ostype").unwrap_or("linux"),
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": { "Name": "none", "Data": null },
        "RootFS": { "Type": "layers", "Layers": [] },
        "Metadata": { "LastTagTime": super::words::NEVER },
    })))
}

/// `POST /images/create?fromImage=…`: the steps of a pull, one JSON object a line.
pub(super) async fn create(call: &Call) -> Result<Reply> {
    let Some(name) = call.query.get("fromImage") else {
        return Err(Error::unsupported(
            "importing an image is not offered by this engine",
        ));
    };
    // The client writes out what everybody leaves away.
    let name = name
        .strip_prefix("docker.io/library/")
        .or_else(|| name.strip_prefix("docker.io/"))
        .unwrap_or(name);
    let image = match call.query.get("tag") {
        Some(tag) if tag.contains(':') => format!("{name}@{tag}"),
        Some(tag) => format!("{name}:{tag}"),
        None => name.to_owned(),
    };
    let mut options = PullOptions::default();
    let credentials = call.head.headers.get("X-Registry-Auth");
    options.credentials = credentials
        .and_then(|value| value.to_str().ok())
        .map(RegistryCredentials::from_header);
    let steps = call.shared.engine()?.pull(&image, &options).await?;
    let lines = steps.map(|step| {
        let line = match step {
            Ok(step) => progress(&step),
            Err(error) => json!({
                "errorDetail": { "message": error.message() },
                "error": error.message(),
            }),
        };
        Ok(Bytes::from(format!("{line}\n")))
    });
    Ok(streamed("application/json", lines))
}

fn progress(step: &PullProgress) -> Value {
    let mut line = json!({ "status": step.status });
    if let Some(id) = &step.id {
        line["id"] = json!(id);
    }
    if let Some((current, total)) = step.amount {
        line["progressDetail"] = json!({ "current": current, "total": total });
    }
    line
}

fn record(image: &Image) -> Value {
    let or_none = |names: &[String], none: &str| match names {
        [] => json!([none]),
        names => json!(names),
    };
    json!({
        "Id": image.id,
        "ParentId": "",
        "RepoTags": or_none(&image.tags, "<none>:<none>"),
        "RepoDigests": image.digests,
        "Created": image.created.as_secs(),
        "Size": image.size,
        "VirtualSize": image.size,
        "SharedSize": -1,
        "Labels": image.labels,
        "Containers": -1,
    })
}

/// By `repository:tag`, by a repository alone, or by digest. A name without a tag means any.
fn is_named(image: &Image, name: &str) -> bool {
    image.digests.iter().any(|digest| digest == name)
        || image
            .tags
            .iter()
            .any(|tag| tag == name || tag.rsplit_once(':').is_some_and(|(bare, _)| bare == name))
}

/// By the beginning of the id, three characters at least.
fn is_id(image: &Image, name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    let own = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    digits.len() >= 3 && own.starts_with(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_name_digest_and_id() {
        let mut image = Image::default();
        image.id = "sha256:abcdef".into();
        image.tags = vec!["reg:5000/app:1".into()];
        assert!(is_named(&image, "reg:5000/app") && is_named(&image, "reg:5000/app:1"));
        assert!(!is_named(&image, "app") && !is_named(&image, "reg:5000/app:2"));
        assert!(is_id(&image, "abc") && is_id(&image, "sha256:abcd"));
        assert!(!is_id(&image, "ab"));
    }
}
