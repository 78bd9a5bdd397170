//! Reading the whole directory, page by page, bounded.

use longshore_core::{Error, ErrorKind, KvStore, Result};

use super::Listing;

/// Every entry under `directory`. The revision is the first page's: whoever watches from there
/// learns what changed between the pages.
pub(super) async fn all(store: &dyn KvStore, directory: &str) -> Result<Listing> {
    let (mut after, mut page) = (String::new(), PAGE);
    let mut listing: Option<Listing> = None;
    loop {
        let range = match store.range(directory, &after, page).await {
            Ok(range) => range,
            // Large values: fewer of them fit into one answer.
            Err(error) if error.kind() == ErrorKind::ResourceExhausted && page > 1 => {
                page = page.div_ceil(8);
                continue;
            }
            Err(error) => return Err(error),
        };
        let listing = listing.get_or_insert(Listing {
            entries: Vec::new(),
            revision: range.revision,
        });
        if let Some(last) = range.entries.last() {
            after.clone_from(&last.key);
        }
        let more = range.more && !range.entries.is_empty();
        // A directory may have an entry of its own, which stands for no node.
        let nodes = range
            .entries
            .into_iter()
            .filter(|entry| entry.key != directory);
        listing.entries.extend(nodes);
        if listing.entries.len() > MOST_NODES {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!(
                    "there are more than {MOST_NODES} keys under {directory}: is it the right path?"
                ),
            ));
        }
        if !more {
            break;
        }
    }
    listing.ok_or_else(|| Error::internal("a directory was read without a page"))
}

/// More nodes than any cluster has.
const MOST_NODES: usize = 65_536;

/// How many entries are asked for at once.
const PAGE: usize = 4096;
