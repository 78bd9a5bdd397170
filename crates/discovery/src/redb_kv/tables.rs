//! How the store lies in its file.

use redb::{MultimapTableDefinition, TableDefinition};

/// Key → (revision, lease or 0, value).
pub(super) const ENTRIES: TableDefinition<'_, &str, (u64, u128, &[u8])> =
    TableDefinition::new("entries");

/// Revision → (key, what, lease or 0, value); the last changes.
pub(super) const HISTORY: TableDefinition<'_, u64, (&str, u8, u128, &[u8])> =
    TableDefinition::new("history");

/// In [`HISTORY`]: the key was written.
pub(super) const PUT: u8 = 1;
/// In [`HISTORY`]: the key was deleted.
pub(super) const DELETED: u8 = 2;

/// Lease → its time to live in milliseconds.
pub(super) const LEASES: TableDefinition<'_, u128, u64> = TableDefinition::new("leases");

/// Lease → its keys.
pub(super) const LEASE_KEYS: MultimapTableDefinition<'_, u128, &str> =
    MultimapTableDefinition::new("lease_keys");

/// Numbers about the whole.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// In [`META`]: the last revision.
pub(super) const REVISION: &str = "revision";
/// In [`META`]: every change up to here is forgotten.
pub(super) const FORGOTTEN: &str = "forgotten";
/// In [`META`]: the last lease given out.
pub(super) const LAST_LEASE: &str = "last_lease";
/// In [`META`]: bytes of keys and values.
pub(super) const BYTES: &str = "bytes";
/// In [`META`]: bytes of keys and values in the history.
pub(super) const HISTORY_BYTES: &str = "history_bytes";
/// In [`META`]: how the tables are laid out; 1.
pub(super) const LAYOUT: &str = "layout";
