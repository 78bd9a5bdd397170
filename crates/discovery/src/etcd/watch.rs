//! Following a prefix: resumes behind the last complete revision, or says that it can't.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use longshore_core::{ClockExt, Error, ErrorKind, KvEvent, KvWatch, Result, Revision, Timestamp};

use super::{
    client::{Client, Standing},
    lines::Lines,
    wire,
};
use crate::store::follow::{self, Follow, Outage};

pub(super) fn stream(client: Arc<Client>, prefix: String, from: Option<Revision>) -> KvWatch {
    let follower = Follower {
        // Where the revision most likely comes from.
        cluster: client.cluster().filter(|_| from.is_some()),
        client,
        prefix,
        behind: from,
        lines: None,
        due: VecDeque::new(),
        heard: Timestamp::ZERO,
    };
    let (clock, random) = (
        follower.client.clock.clone(),
        follower.client.random.clone(),
    );
    follow::stream(follower, clock, random)
}

struct Follower {
    client: Arc<Client>,
    prefix: String,
    /// Everything up to here was told or is due; `None` before the watch has begun.
    behind: Option<Revision>,
    cluster: Option<u64>,
    lines: Option<Lines>,
    due: VecDeque<KvEvent>,
    /// When the cluster last showed that it works.
    heard: Timestamp,
}

impl Follow for Follower {
    fn due(&mut self) -> &mut VecDeque<KvEvent> {
        &mut self.due
    }

    fn break_off(&mut self) {
        self.lines = None;
    }

    async fn step(&mut self, outage: &mut Outage) -> Result<()> {
        let Some(lines) = &mut self.lines else {
            return self.begin(outage).await;
        };
        let idle_until = self.heard.after(IDLE);
        let line = tokio::select! {
            biased;
            line = lines.next() => Some(line),
            () = self.client.clock.sleep_until(idle_until) => None,
        };
        match line {
            // Nothing was heard for a while: is there still a majority, and the same cluster?
            None => {
                let standing = self.client.standing().await?;
                self.check(standing);
                self.heard = self.client.clock.now();
                Ok(())
            }
            Some(Ok(Some(line))) => self.take(&line),
            Some(Ok(None)) => Err(Error::unavailable("etcd ended the watch")),
            Some(Err(error)) if error.kind() == ErrorKind::ResourceExhausted => {
                // What can't be read can't be told.
                let standing = self.client.standing().await?;
                self.resync(standing);
                Err(error)
            }
            Some(Err(error)) => Err(error),
        }
    }
}

impl Follower {
    /// Opens the watch where it was left.
    async fn begin(&mut self, outage: &mut Outage) -> Result<()> {
        let standing = self.client.standing().await?;
        self.check(standing);
        let request = wire::WatchRequest {
            create_request: wire::CreateWatch {
                key: match self.prefix.is_empty() {
                    true => wire::encode("\0"),
                    false => wire::encode(&self.prefix),
                },
                range_end: wire::end_of(&self.prefix),
                start_revision: self.behind.map_or(0, |behind| behind.0 + 1),
            },
        };
        let body = self.client.watch(&request).await?;
        let mut lines = Lines::new(body, self.client.longest_message());
        let first = self
            .client
            .clock
            .timeout(BEGIN, "the beginning of a watch", lines.next())
            .await??;
        let first = first.ok_or_else(|| Error::unavailable("etcd ended the watch"))?;
        self.lines = Some(lines);
        self.take(&first)?;
        outage.end();
        Ok(())
    }

    /// A cluster that stands before what it has told us, or is another one, was begun anew.
    fn check(&mut self, standing: Standing) {
        let known = self.cluster.replace(standing.cluster);
        let other = known.is_some_and(|known| known != standing.cluster);
        let behind = self.behind.is_some_and(|behind| standing.revision < behind);
        if other || behind {
            self.resync(standing);
        }
    }

    fn resync(&mut self, standing: Standing) {
        self.lines = None;
        self.behind = Some(standing.revision);
        self.due.push_back(KvEvent::Resync(standing.revision));
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        self.heard = self.client.clock.now();
        let message: wire::Streamed<wire::WatchAnswer> = serde_json::from_slice(line)
            .map_err(|error| Error::protocol("etcd's watch sent no JSON").with_source(error))?;
        let answer = message.into_result()?;
        if self
            .cluster
            .is_some_and(|cluster| cluster != answer.header.cluster_id)
        {
            return Err(Error::unavailable("another etcd cluster answers now"));
        }
        if answer.compact_revision > 0 {
            let revision = Revision(answer.header.revision.max(answer.compact_revision));
            self.lines = None;
            self.behind = Some(revision);
            self.due.push_back(KvEvent::Resync(revision));
            return Ok(());
        }
        if answer.canceled {
            let text = format!("etcd cancelled the watch: {}", answer.cancel_reason);
            return Err(match answer.cancel_reason.contains("permission denied") {
                true => Error::new(ErrorKind::PermissionDenied, text),
                false => Error::unavailable(text),
            });
        }
        if answer.created && self.behind.is_none() {
            self.behind = Some(Revision(answer.header.revision));
        }
        for event in answer.events {
            let event = match event.kind.as_str() {
                "DELETE" => {
                    let (key, revision) = event.kv.key_and_revision()?;
                    KvEvent::Deleted { key, revision }
                }
                _ => KvEvent::Put(event.kv.into_entry()?),
            };
            let revision = match &event {
                KvEvent::Put(entry) => entry.revision,
                KvEvent::Deleted { revision, .. } => *revision,
                _ => continue,
            };
            // All changes of one revision come in one message, so nothing is cut here.
            self.behind = self.behind.max(Some(revision));
            self.due.push_back(event);
        }
        Ok(())
    }
}

/// After how long without news the cluster is asked whether it works.
const IDLE: Duration = Duration::from_secs(5);

/// How long etcd may take to confirm a watch.
const BEGIN: Duration = Duration::from_secs(5);
