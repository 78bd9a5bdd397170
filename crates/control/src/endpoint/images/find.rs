use longshore_core::{Image, NodeHealth};

use crate::{
    NodeView,
    endpoint::{
        Shared,
        error::{ApiError, ApiResult},
    },
};

/// Whether a reference names the image: a name without tag means any tag, a name without registry
/// port is no id.
pub(in crate::endpoint) fn is_named(image: &Image, reference: &str) -> bool {
    let repository = |tag: &str| match tag.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => tag.to_owned(),
    };
    let has_tag = reference.contains('@') || repository(reference) != reference;
    image.id == reference
        || image.tags.iter().any(|tag| {
            tag == reference || (!has_tag && tag != "<none>:<none>" && repository(tag) == reference)
        })
        || image.digests.iter().any(|digest| {
            digest == reference || (!has_tag && digest.split('@').next() == Some(reference))
        })
}

pub(in crate::endpoint) fn has_id_prefix(image: &Image, reference: &str) -> bool {
    let bare = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let wanted = reference.strip_prefix("sha256:").unwrap_or(reference);
    wanted.len() >= 3 && bare.starts_with(wanted)
}

/// The nodes that hold an image. A name beats an id prefix.
pub(in crate::endpoint) fn holders(nodes: &[NodeView], reference: &str) -> Vec<NodeView> {
    let holding = |test: fn(&Image, &str) -> bool| -> Vec<NodeView> {
        nodes
            .iter()
            .filter(|node| node.images.iter().any(|image| test(image, reference)))
            .cloned()
            .collect()
    };
    let named = holding(is_named);
    if named.is_empty() {
        holding(has_id_prefix)
    } else {
        named
    }
}

pub(in crate::endpoint) fn healthy_holders(
    shared: &Shared,
    reference: &str,
    missing: &str,
) -> ApiResult<Vec<NodeView>> {
    let holders = holders(&shared.plane.nodes(), reference);
    if holders.is_empty() {
        return Err(ApiError::not_found(format!("{missing} {reference}")));
    }
    let healthy: Vec<NodeView> = holders
        .iter()
        .filter(|node| node.health == NodeHealth::Healthy && node.http().is_some())
        .cloned()
        .collect();
    if healthy.is_empty() {
        let names: Vec<&str> = holders.iter().map(|node| node.name.as_str()).collect();
        return Err(ApiError::unavailable(format!(
            "image {reference} is only on nodes that can't be reached: {}",
            names.join(", ")
        )));
    }
    Ok(healthy)
}

/// Docker's `reference` filter: `*` and `?` stay within a path segment; without a tag any tag.
pub(in crate::endpoint) fn is_reference(name: &str, pattern: &str) -> bool {
    let glob = |text: &str| {
        let body: String = text
            .chars()
            .map(|c| match c {
                '*' => "[^/]*".to_owned(),
                '?' => "[^/]".to_owned(),
                c => regex::escape(&c.to_string()),
            })
            .collect();
        regex::RegexBuilder::new(&format!("^{body}$"))
            .size_limit(1 << 20)
            .build()
            .ok()
    };
    let Some(pattern) = glob(pattern) else {
        return false;
    };
    let repository = name.split('@').next().unwrap_or(name);
    let repository = match repository.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => repository,
    };
    pattern.is_match(name) || pattern.is_match(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let mut image = Image::default();
        image.id = "sha256:0123456789abcdef".into();
        image.tags = vec!["host:5000/team/app:1".into(), "redis:7".into()];
        image.digests = vec!["redis@sha256:ff".into()];
        image
    }

    #[test]
    fn names_match_with_any_tag_and_ports_are_no_tags() {
        for name in [
            "redis",
            "redis:7",
            "host:5000/team/app",
            "host:5000/team/app:1",
            "redis@sha256:ff",
            "sha256:0123456789abcdef",
        ] {
            assert!(is_named(&image(), name), "{name}");
        }
        for name in ["redis:6", "team/app", "host", "red", "redis@sha256:00"] {
            assert!(!is_named(&image(), name), "{name}");
        }
    }

    #[test]
    fn id_prefixes_need_three_characters() {
        assert!(has_id_prefix(&image(), "012"));
        assert!(has_id_prefix(&image(), "sha256:0123"));
        assert!(!has_id_prefix(&image(), "01"));
        assert!(!has_id_prefix(&image(), "123"));
    }

    #[test]
    fn reference_patterns_stay_within_a_segment() {
        assert!(is_reference("redis:7", "redis"));
        assert!(is_reference("redis:7", "red*"));
        assert!(is_reference("redis:7", "redis:*"));
        assert!(!is_reference("team/redis:7", "red*"));
        assert!(is_reference("team/redis:7", "*/redis"));
    }
}
