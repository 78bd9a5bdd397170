use std::ops::Deref;

use tokio::sync::watch;

/// The file while it is open. Whoever uses it shares it, and with the last one it is closed; those
/// who wait for that see their end of the channel closed behind it.
pub(super) struct OpenFile {
    /// Before the channel, since fields are dropped in this order.
    database: redb::Database,
    _held: watch::Sender<()>,
}

impl OpenFile {
    pub(super) fn new(database: redb::Database) -> (Self, watch::Receiver<()>) {
        let (held, closed) = watch::channel(());
        let this = Self {
            database,
            _held: held,
        };
        (this, closed)
    }
}

impl Deref for OpenFile {
    type Target = redb::Database;

    fn deref(&self) -> &redb::Database {
        &self.database
    }
}
