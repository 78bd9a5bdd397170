use bollard::models::ImageSummary;
use longshore_core::{Bytes, Image, Timestamp};

use super::native;

/// The images in Docker's list. Beyond what a host has, images are left out: they only help to
/// choose a node.
pub(super) fn all(listed: Vec<ImageSummary>) -> Vec<Image> {
    if listed.len() > MOST {
        let count = listed.len();
        tracing::warn!(
            count,
            most = MOST,
            "the engine lists too many images: the rest is left out"
        );
    }
    listed.into_iter().take(MOST).map(image).collect()
}

fn image(summary: ImageSummary) -> Image {
    let names = |texts: Vec<String>| {
        texts
            .iter()
            .take(MOST_NAMES)
            .map(|text| native::name(text))
            .collect()
    };
    let mut image = Image::default();
    image.id = native::name(&summary.id);
    image.tags = names(summary.repo_tags);
    image.digests = names(summary.repo_digests);
    image.size = Bytes(u64::try_from(summary.size).unwrap_or(0));
    image.created = Timestamp::from_secs(u64::try_from(summary.created).unwrap_or(0));
    image.labels = summary.labels.into_iter().collect();
    image
}

const MOST: usize = 10_000;
/// Of one image.
const MOST_NAMES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(id: &str) -> ImageSummary {
        ImageSummary {
            id: id.to_owned(),
            repo_tags: vec!["a:\n1".to_owned(); 2000],
            ..ImageSummary::default()
        }
    }

    #[test]
    fn images_and_their_names_are_bounded_and_printable() {
        let read = all(vec![summary(&"x".repeat(10_000))]);
        assert_eq!(read[0].id.len(), 512);
        assert_eq!(read[0].tags.len(), MOST_NAMES);
        assert_eq!(read[0].tags[0], "a:\\u{a}1");
        assert_eq!(all(vec![ImageSummary::default(); MOST + 1]).len(), MOST);
    }
}
