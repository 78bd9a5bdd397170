//! Where an image runs, as its registry tells.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, Method};
use longshore_core::{PlacementRequest, Platform, Timestamp, http::empty_body};
use serde::Deserialize;

use crate::{
    NodeView,
    endpoint::{Shared, call::Call, error::ApiResult, proxy::request},
};

/// The platforms of images, kept for a while: a registry is not asked before every create.
#[derive(Default)]
pub(in crate::endpoint) struct PlatformCache(Mutex<Book>);

impl fmt::Debug for PlatformCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PlatformCache").finish_non_exhaustive()
    }
}

/// By reference, in the order in which they were learnt.
#[derive(Default)]
struct Book {
    known: HashMap<String, (Vec<Platform>, Timestamp)>,
    order: VecDeque<(String, Timestamp)>,
}

impl Book {
    fn find(&self, image: &str, now: Timestamp) -> Option<Vec<Platform>> {
        let (platforms, until) = self.known.get(image)?;
        (now < *until).then(|| platforms.clone())
    }

    /// None, after a registry that did not answer, are kept for a shorter time.
    fn keep(&mut self, image: &str, platforms: Vec<Platform>, now: Timestamp) {
        let until = now.after(match platforms.is_empty() {
            true => UNKNOWN_FOR,
            false => KNOWN_FOR,
        });
        self.known.insert(image.to_owned(), (platforms, until));
        self.order.push_back((image.to_owned(), until));
        while self.order.len() > MOST_KNOWN {
            let Some((oldest, until)) = self.order.pop_front() else {
                break;
            };
            // It may have been learnt again since.
            if self.known.get(&oldest).is_some_and(|(_, at)| *at == until) {
                self.known.remove(&oldest);
            }
        }
    }
}

/// The answer of `GET /distribution/<image>/json`.
#[derive(Debug, Deserialize)]
struct Distribution {
    #[serde(rename = "Platforms", default)]
    platforms: Vec<Platform>,
}

/// The platforms that a request's image runs on, as far as that can matter: none where all nodes are
/// of one, where the user says which system he wants, and where no registry tells.
pub(super) async fn find(
    shared: &Shared,
    call: &Call,
    request: &PlacementRequest,
) -> Vec<Platform> {
    let nodes = shared.healthy_nodes();
    let image = request.image.as_str();
    if names_system(request) || is_uniform(&nodes) || !is_reference(image) {
        return Vec::new();
    }
    let book = || {
        shared
            .platforms
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    };
    let clock = shared.plane.clock();
    if let Some(known) = book().find(image, clock.now()) {
        return known;
    }
    let count = nodes.len() as u64;
    let chosen = shared.plane.random().next_u64().checked_rem(count);
    let Some(node) = chosen.and_then(|at| nodes.get(usize::try_from(at).ok()?)) else {
        return Vec::new();
    };
    let platforms = match ask(shared, call, node, image).await {
        Ok(platforms) => platforms,
        Err(error) => {
            // As Swarm did: an image need not come from a registry.
            tracing::debug!(
                image,
                message = error.message(),
                "its platforms are not known"
            );
            Vec::new()
        }
    };
    book().keep(image, platforms.clone(), clock.now());
    platforms
}

/// Asks an engine's registry, with the user's credentials (S25).
async fn ask(
    shared: &Shared,
    call: &Call,
    node: &NodeView,
    image: &str,
) -> ApiResult<Vec<Platform>> {
    let path = format!("/distribution/{image}/json");
    let target = shared.target_at(node, call.version, &path, "");
    let mut headers = HeaderMap::new();
    if let Some(credentials) = call.headers.get("x-registry-auth") {
        headers.insert("x-registry-auth", credentials.clone());
    }
    let request = request(Method::GET, &target, &headers, empty_body())?;
    let (_, body) = shared.ask(node, shared.options.call_limit, request).await?;
    let told: Distribution = serde_json::from_slice(&body).map_err(|error| {
        crate::endpoint::error::ApiError::internal(format!("malformed answer: {error}"))
    })?;
    let mut platforms = told.platforms;
    // Attestations are listed as images for an unknown system.
    platforms.retain(|platform| platform.os != "unknown");
    platforms.dedup();
    match platforms.len() {
        // More than a scheduler takes: no restriction worth the name.
        len if len > MOST_PLATFORMS => Ok(Vec::new()),
        _ => Ok(platforms),
    }
}

/// Whether the user says which system he wants.
pub(super) fn names_system(request: &PlacementRequest) -> bool {
    request.constraints.iter().any(|it| it.key() == "ostype")
}

/// What is kept with the placement.
pub(super) fn note(platforms: &[Platform], image: &str) -> String {
    let names: Vec<String> = platforms
        .iter()
        .map(|platform| format!("{}/{}", platform.os, platform.architecture))
        .collect();
    let names = names.join(" or ");
    format!("platform {names}: the registry says so of {image}")
}

/// Whether all nodes are of one system and processor.
fn is_uniform(nodes: &[NodeView]) -> bool {
    let platform = |node: &NodeView| {
        let info = node.info.as_ref()?;
        let attribute = |key| info.attributes.get(key).map(str::to_owned);
        Some((attribute("ostype"), attribute("architecture")))
    };
    nodes.iter().map(platform).collect::<BTreeSet<_>>().len() <= 1
}

/// Whether it can stand in a path.
fn is_reference(image: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    !image.is_empty()
        && image.len() <= 512
        && image.bytes().all(is_plain)
        && image
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."))
}

/// A tag may be given to another image.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// A registry may come back.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
const MOST_KNOWN: usize = 1_000;
const MOST_PLATFORMS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_what_is_known_of_images_is_bounded_and_grows_old() {
        let mut book = Book::default();
        let now = Timestamp::from_secs(0);
        let linux = Platform {
            os: "linux".into(),
            architecture: "amd64".into(),
        };
        book.keep("none", Vec::new(), now);
        book.keep("app", vec![linux.clone()], now);
        assert_eq!(book.find("app", now), Some(vec![linux.clone()]));
        assert_eq!(book.find("none", now), Some(Vec::new()));
        assert_eq!(book.find("none", now.after(UNKNOWN_FOR)), None);
        assert_eq!(book.find("app", now.after(KNOWN_FOR)), None);
        let later = now.after(Duration::from_secs(1));
        book.keep("app", vec![linux.clone()], later);
        for number in 0..MOST_KNOWN - 1 {
            book.keep(&format!("image-{number}"), Vec::new(), later);
        }
        assert!(book.known.len() <= MOST_KNOWN && book.order.len() <= MOST_KNOWN);
        assert_eq!(
            book.find("app", later),
            Some(vec![linux]),
            "learnt again since"
        );
        assert_eq!(book.find("none", later), None);
    }

    #[test]
    fn what_is_no_reference_is_not_asked_for() {
        for image in ["redis", "h:5000/a/b:1", "a@sha256:0f"] {
            assert!(is_reference(image), "{image}");
        }
        for image in ["", "a b", "a?x=1", "a/../../info", "a//b", "a%2e"] {
            assert!(!is_reference(image), "{image}");
        }
    }
}
