//! A process that writes to a store and is killed amid that: this test again, run as a program.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use longshore_core::{KvEntry, PutOptions, TransactionOp};

/// A step of what is written.
pub(crate) fn put(key: String, value: String) -> TransactionOp {
    TransactionOp::put(key, value, PutOptions::default())
}

/// Says in the writer that this was acknowledged.
pub(crate) fn say_done(number: u64) {
    let mut out = std::io::stdout().lock();
    // One write, so that a line is whole or not there.
    out.write_all(format!("done {number}\n").as_bytes())
        .unwrap();
    out.flush().unwrap();
}

/// Runs the writer, for which `test` is run with `variable` as the path of the store, and kills it
/// this long behind so many answers. What it has said until then.
///
/// # Panics
/// When it ended by itself; `what` says which run that was.
pub(crate) fn kill(
    test: &str,
    (variable, path): (&str, &Path),
    (answers, pause): (usize, Duration),
    what: &str,
) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut killed) = (Vec::new(), false);
    for line in lines.lines().map_while(Result::ok) {
        // The runner's own words may stand before it.
        let Some((_, number)) = line.rsplit_once("done ") else {
            continue;
        };
        said.push(number.parse().unwrap());
        if said.len() > answers && !killed {
            std::thread::sleep(pause);
            child.kill().unwrap();
            killed = true;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(killed, "{what}: the writer ended by itself");
    said
}

/// Values begin with their number: each slot has what was said of it, or something newer.
///
/// # Panics
/// When something is lost; `what` says in which run.
pub(crate) fn check_newest(entries: &[KvEntry], newest: &HashMap<u64, u64>, what: &str) {
    for (slot, number) in newest {
        let key = format!("left/{slot}");
        let found = entries.iter().find(|entry| entry.key == key);
        let text = std::str::from_utf8(&found.unwrap().value).unwrap();
        let there: u64 = text.split_once(':').unwrap().0.parse().unwrap();
        assert!(there >= *number, "{what}: {key} is {there}, not {number}");
    }
}
