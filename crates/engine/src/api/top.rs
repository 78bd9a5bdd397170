use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use futures::StreamExt;
use longshore_core::{
    Error, ErrorKind, ExecBackend, ExecRequest, OutputKind, Result, Workload, WorkloadId,
};
use serde_json::{Value, json};

use super::{
    containers::runs,
    lookup,
    reply::{Reply, ok},
    router::Call,
};

/// `GET /containers/{name}/top`: `ps` run through the engine's own way in, cut down to the
/// processes below the workload's first. Where there is no `ps`, that one alone is told.
pub(super) async fn top(call: &Call, name: &str) -> Result<Reply> {
    let engine = call.shared.engine()?;
    let workload = lookup::workload(&*engine, name).await?;
    if !runs(&workload) {
        let text = format!("Container {} is not running", workload.id);
        return Err(Error::new(ErrorKind::Conflict, text).with_retryable(false));
    }
    let arguments = call.query.get("ps_args").unwrap_or("-ef");
    let pid = workload.detail.as_ref().map_or(0, |detail| detail.pid);
    let exec = call.shared.exec()?;
    let table = match processes(&*exec, &workload.id, pid, arguments).await? {
        Some(table) => table,
        None => first_only(&workload, pid),
    };
    Ok(ok(&table))
}

async fn processes(
    exec: &dyn ExecBackend,
    id: &WorkloadId,
    pid: u32,
    arguments: &str,
) -> Result<Option<Value>> {
    if pid == 0 {
        return Ok(None);
    }
    let Some(tree) = output(exec, id, &["-e", "-o", "pid,ppid"]).await? else {
        return Ok(None);
    };
    let family = family(&tree, pid);
    if !family.contains(&pid) {
        return Ok(None);
    }
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let Some(listing) = output(exec, id, &arguments).await? else {
        return Err(Error::invalid(format!(
            "ps does not take the arguments {:?}",
            arguments.join(" ")
        )));
    };
    table(&listing, &family).map(Some)
}

/// What `ps` prints; `None` if it is not there or fails.
async fn output(
    exec: &dyn ExecBackend,
    id: &WorkloadId,
    arguments: &[&str],
) -> Result<Option<String>> {
    let command = ["ps"].iter().chain(arguments).copied();
    let session = match exec.exec(&ExecRequest::new(id.clone(), command)).await {
        Ok(session) => session,
        Err(error) if error.kind() == ErrorKind::Conflict => return Err(error),
        Err(_) => return Ok(None),
    };
    let mut text = BytesMut::new();
    if let Some(mut output) = session.take_output() {
        while let Some(piece) = output.next().await {
            let piece = piece?;
            if piece.kind == OutputKind::Stdout {
                text.extend_from_slice(&piece.bytes);
            }
            if text.len() > LARGEST {
                let _ = session.close().await;
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    "ps prints too much",
                ));
            }
        }
    }
    let ended = session.wait().await?;
    Ok(ended
        .is_success()
        .then(|| String::from_utf8_lossy(&text).into_owned()))
}

/// A process and all below it, out of two columns: its id and its parent's.
fn family(tree: &str, root: u32) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut alive = HashSet::new();
    for line in tree.lines() {
        let mut columns = line.split_whitespace().map(str::parse::<u32>);
        if let (Some(Ok(pid)), Some(Ok(parent))) = (columns.next(), columns.next()) {
            children.entry(parent).or_default().push(pid);
            alive.insert(pid);
        }
    }
    let mut found = HashSet::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        if alive.contains(&pid) && found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

fn table(listing: &str, family: &HashSet<u32>) -> Result<Value> {
    let mut lines = listing.lines();
    let titles: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let Some(pid_at) = titles.iter().position(|title| *title == "PID") else {
        return Err(Error::invalid("Couldn't find PID field in ps output"));
    };
    let rows: Vec<Vec<String>> = lines
        .map(|line| columns(line, titles.len()))
        .filter(|row| {
            row.get(pid_at)
                .and_then(|pid| pid.parse().ok())
                .is_some_and(|pid| family.contains(&pid))
        })
        .collect();
    Ok(json!({ "Titles": titles, "Processes": rows }))
}

/// A line's columns; the last one has the rest, blanks included.
fn columns(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim();
    let mut columns = Vec::with_capacity(count);
    while columns.len() + 1 < count {
        let Some(end) = rest.find(char::is_whitespace) else {
            break;
        };
        columns.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    columns.push(rest.to_owned());
    columns
}

fn first_only(workload: &Workload, pid: u32) -> Value {
    json!({
        "Titles": ["PID", "CMD"],
        "Processes": [[pid.to_string(), workload.command]],
    })
}

const LARGEST: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_and_all_below() {
        let tree = "  PID  PPID\n 1 0\n 10 1\n 11 10\n 12 11\n 20 1\n";
        assert_eq!(family(tree, 10), HashSet::from([10, 11, 12]));
        assert!(family(tree, 99).is_empty());
    }

    #[test]
    fn only_the_familys_rows_stay() {
        let listing = "UID PID CMD\nroot 10 sh -c  a b\nroot 20 other\n";
        assert_eq!(
            table(listing, &HashSet::from([10])).unwrap(),
            json!({ "Titles": ["UID", "PID", "CMD"], "Processes": [["root", "10", "sh -c  a b"]] })
        );
        assert!(table("A B\n", &HashSet::new()).is_err());
    }
}
