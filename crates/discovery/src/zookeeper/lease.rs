//! Leases as sessions of their own.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use longshore_core::{Error, ErrorKind, Lease, LeaseId, Result, Timestamp};

use super::{
    client::Client,
    connection::{Connection, SessionKey},
    failure, node,
    wire::{Record, op},
};

/// A lease of this client.
#[derive(Debug)]
pub(super) struct LeaseSession {
    key: SessionKey,
    ttl: Duration,
    /// The session's timeout, as the server granted it.
    timeout: Duration,
    /// When it ends unless it is renewed: for sessions that are shorter than their lease.
    ends: Mutex<Timestamp>,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

pub(super) async fn grant(client: &Arc<Client>, ttl: Duration) -> Result<Lease> {
    if ttl.is_zero() {
        return Err(Error::invalid("a lease needs a time to live above zero"));
    }
    let ends = client.clock.now().after(ttl);
    let connection = client.connect(ttl, None, false, None).await?;
    let timeout = connection.timeout;
    let id = node::lease(connection.session.id);
    // What the server lengthened lasts as long as the server says.
    let ttl = ttl.max(timeout);
    let session = Arc::new(LeaseSession {
        key: connection.session.clone(),
        ttl,
        timeout,
        ends: Mutex::new(ends),
        connection: tokio::sync::Mutex::new(Some(Arc::new(connection))),
    });
    client.leases().insert(id, session);
    if timeout < ttl {
        client.say_once(|| {
            tracing::warn!(
                ?ttl,
                ?timeout,
                "zookeeper's longest session is shorter than the time to live asked for: kept up \
                 from here, and over after that session when this process dies"
            );
        });
        tokio::spawn(keep_up(Arc::downgrade(client), id, timeout / 3));
    }
    Ok(Lease::new(id, ttl))
}

pub(super) async fn keep_alive(client: &Client, lease: LeaseId) -> Result<()> {
    let session = session(client, lease)?;
    let now = client.clock.now();
    if now >= session.ends() && session.timeout < session.ttl {
        end(client, lease).await;
        return Err(failure::ended(lease));
    }
    touch(client, lease).await?;
    session.renew(now);
    Ok(())
}

pub(super) async fn revoke(client: &Client, lease: LeaseId) -> Result<()> {
    let connection = match connection(client, lease).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        connection => connection?,
    };
    // The answer comes once its keys are gone.
    let closing = async {
        let reply = connection.ask(op::CLOSE, Record::default()).await?;
        reply.checked().map(drop)
    };
    client.limited(closing).await?;
    client.leases().remove(&lease);
    Ok(())
}

/// The connection of a lease's session, resumed if it broke.
///
/// # Errors
/// [`ErrorKind::NotFound`] when it has ended.
pub(super) async fn connection(client: &Client, lease: LeaseId) -> Result<Arc<Connection>> {
    let session = session(client, lease)?;
    let mut connection = session.connection.lock().await;
    if let Some(connection) = connection.as_ref().filter(|open| !open.is_closed()) {
        return Ok(connection.clone());
    }
    let resume = Some(session.key.clone());
    match client.connect(session.timeout, resume, false, None).await {
        Ok(resumed) => {
            let resumed = Arc::new(resumed);
            *connection = Some(resumed.clone());
            Ok(resumed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            client.leases().remove(&lease);
            Err(failure::ended(lease))
        }
        Err(error) => Err(error),
    }
}

impl LeaseSession {
    fn ends(&self) -> Timestamp {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renew(&self, now: Timestamp) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = now.after(self.ttl);
    }
}

fn session(client: &Client, lease: LeaseId) -> Result<Arc<LeaseSession>> {
    let found = client.leases().get(&lease).cloned();
    found.ok_or_else(|| failure::ended(lease))
}

/// Says something on the session, which renews it at the server.
async fn touch(client: &Client, lease: LeaseId) -> Result<()> {
    for _ in 0..2 {
        let connection = connection(client, lease).await?;
        // A read, not a ping: a ping's answer does not say that the session lives.
        let record = Record::default().text("/").flag(false);
        match client.limited(connection.ask(op::GET_DATA, record)).await {
            Ok(_) => return Ok(()),
            // An ended session's connection is closed by the server; resuming it tells which it is.
            Err(error) if error.is_retryable() => give_up(client, lease).await,
            Err(error) => return Err(error),
        }
    }
    Err(
        Error::unavailable("zookeeper does not answer on a lease's session")
            .with_backend("zookeeper"),
    )
}

async fn give_up(client: &Client, lease: LeaseId) {
    if let Ok(session) = session(client, lease) {
        *session.connection.lock().await = None;
    }
}

async fn end(client: &Client, lease: LeaseId) {
    if revoke(client, lease).await.is_err() {
        client.leases().remove(&lease);
    }
}

/// Keeps a session up that is shorter than its lease, until the lease's time is over.
async fn keep_up(client: Weak<Client>, lease: LeaseId, every: Duration) {
    loop {
        let Some(strong) = client.upgrade() else {
            return;
        };
        let Ok(session) = session(&strong, lease) else {
            return;
        };
        let clock = strong.clock.clone();
        let (now, ends) = (clock.now(), session.ends());
        if now >= ends {
            return end(&strong, lease).await;
        }
        // What fails is tried again before the session ends.
        let _ = touch(&strong, lease).await;
        drop((strong, session));
        clock.sleep_until(now.after(every).min(ends)).await;
    }
}
