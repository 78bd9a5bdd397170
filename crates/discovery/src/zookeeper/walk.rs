//! Reading a part of the tree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, KvEntry, Result, Revision};

use super::{
    connection::{Connection, Reply},
    failure, node,
    wire::{Record, Stat, op},
};

/// The keys under a prefix.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) entries: BTreeMap<String, KvEntry>,
    /// Where the server stood when the reading began.
    pub(super) revision: Revision,
    /// The last change of anything in it, deletions included.
    pub(super) newest: Revision,
    /// Keys that were listed and then not there any more: deleted after `revision`.
    pub(super) gone: BTreeSet<String>,
}

/// Reads all keys that begin with `prefix`, after the server has caught up.
pub(super) async fn walk(connection: &Connection, prefix: &str, limit: usize) -> Result<Tree> {
    let (top, _) = node::directory(prefix);
    let sync = connection
        .begin(op::SYNC, Record::default().text(&top))
        .await?;
    let first = children(connection, &top).await?;
    Connection::finish(sync).await?;
    let (zxid, first) = first;
    let mut tree = Tree {
        revision: node::revision(zxid),
        ..Tree::default()
    };
    let mut bytes = 0;
    let mut directories = vec![(top, first)];
    while let Some((directory, found)) = directories.pop() {
        let Some((names, stat)) = found else { continue };
        tree.saw(&stat);
        let base = directory.trim_end_matches('/');
        let paths: Vec<_> = names
            .into_iter()
            .map(|name| format!("{base}/{name}"))
            .filter(|path| !node::is_reserved(path) && node::key(path).starts_with(prefix))
            .collect();
        let mut inner = Vec::new();
        for paths in paths.chunks(CHUNK) {
            for (path, found) in paths.iter().zip(data_of(connection, paths).await?) {
                let (_, Some((data, stat))) = found else {
                    tree.gone.insert(node::key(path));
                    continue;
                };
                tree.saw(&stat);
                bytes += path.len() + data.len();
                if bytes > limit {
                    return Err(Error::new(
                        ErrorKind::ResourceExhausted,
                        format!(
                            "there are more than {limit} bytes under {}",
                            prefix.escape_debug()
                        ),
                    ));
                }
                if stat.children > 0 {
                    inner.push(path.clone());
                }
                let entry = node::entry(node::key(path), data, &stat);
                tree.entries
                    .extend(entry.map(|entry| (entry.key.clone(), entry)));
            }
        }
        for path in inner {
            let (_, found) = children(connection, &path).await?;
            directories.push((path, found));
        }
    }
    Ok(tree)
}

impl Tree {
    /// The keys that changed while they were read, after `revision`.
    pub(super) fn late(&self) -> BTreeSet<&str> {
        let entries = self.entries.values();
        let written = entries.filter(|entry| entry.revision > self.revision);
        let written = written.map(|entry| entry.key.as_str());
        written
            .chain(self.gone.iter().map(String::as_str))
            .collect()
    }

    fn saw(&mut self, stat: &Stat) {
        for zxid in [stat.created, stat.modified, stat.children_changed] {
            self.newest = self.newest.max(node::revision(zxid));
        }
    }
}

/// The data of znodes, each with where the server stood; asked for all at once.
pub(super) async fn data_of(
    connection: &Connection,
    paths: &[String],
) -> Result<Vec<(i64, Option<(Bytes, Stat)>)>> {
    let mut waiting = Vec::with_capacity(paths.len());
    for path in paths {
        let record = Record::default().text(path).flag(false);
        waiting.push(connection.begin(op::GET_DATA, record).await?);
    }
    let mut found = Vec::with_capacity(paths.len());
    for waiting in waiting {
        let reply = Connection::finish(waiting).await?;
        let zxid = reply.zxid;
        let data = match present(reply)? {
            None => None,
            Some(mut reply) => Some((reply.body.bytes()?, reply.body.stat()?)),
        };
        found.push((zxid, data));
    }
    Ok(found)
}

type Children = Option<(Vec<String>, Stat)>;

async fn children(connection: &Connection, path: &str) -> Result<(i64, Children)> {
    let record = Record::default().text(path).flag(false);
    let reply = connection.ask(op::GET_CHILDREN, record).await?;
    let zxid = reply.zxid;
    match present(reply)? {
        None => Ok((zxid, None)),
        Some(mut reply) => Ok((zxid, Some((reply.body.texts()?, reply.body.stat()?)))),
    }
}

/// A znode that is not there is no error.
fn present(reply: Reply) -> Result<Option<Reply>> {
    match reply.code {
        failure::NO_NODE => Ok(None),
        _ => reply.checked().map(Some),
    }
}

/// How many znodes are asked for at once.
const CHUNK: usize = 200;
