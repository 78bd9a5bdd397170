use std::collections::HashSet;

use longshore_core::SeededRandom;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cleanup::{Cleanup, Identity};

fn marker(seed: u64) -> Marker {
    let random = SeededRandom::new(seed);
    Marker::new(&Identity::unnamed(&random), Cleanup::Tree, &random).unwrap()
}

/// Number, parent, session, age, state, whether it carries the marker.
type Row = (u32, u32, u32, u64, &'static str, bool);

fn table(rows: &[Row]) -> ProcessTable {
    let pair = marker(1).pair();
    let rows: Vec<_> = rows
        .iter()
        .map(|(pid, parent, session, age, state, marked)| {
            let rest = if *marked {
                format!("sleep 1 SECRET=x {pair}")
            } else {
                "sleep 1".into()
            };
            let numbers = [*pid, *parent, *session].map(|number| number.to_string());
            let mut row = numbers.to_vec();
            row.extend([
                age.to_string(),
                (*state).to_owned(),
                "sleep".to_owned(),
                rest,
            ]);
            row
        })
        .collect();
    let titles = [
        "PID", "PPID", "SID", "ELAPSED", "STAT", "COMMAND", "COMMAND",
    ];
    let answer = json!({ "Titles": titles, "Processes": rows });
    ProcessTable::parse(answer.to_string().as_bytes()).unwrap()
}

fn left(table: &ProcessTable, sessions: &mut HashSet<u32>) -> Vec<u32> {
    let found = table.look(&marker(1), sessions, None);
    found.left.iter().map(|process| process.pid).collect()
}

/// The container's first process, an exec of another, and whatever a test adds.
const CALM: [Row; 2] = [
    (100, 9, 100, 50, "Ss", false),
    (200, 9, 200, 5, "Ss", false),
];

#[test]
fn owners_descendants_and_sessions_are_found() {
    let mut rows = CALM.to_vec();
    rows.extend([
        (300, 9, 300, 4, "Ss", true),
        (301, 300, 300, 4, "S", true),
        // `env -i`, still with its parent.
        (302, 301, 300, 4, "S", false),
        // `env -i setsid`, still with its parent.
        (303, 301, 303, 4, "Ss", false),
        // `setsid` with the marker, orphaned.
        (304, 100, 304, 4, "Ss", true),
        // An `env -i` child of that one's session, orphaned.
        (305, 100, 304, 4, "S", false),
        (306, 300, 300, 4, "Z", true),
    ]);
    let mut sessions = HashSet::new();
    assert_eq!(
        left(&table(&rows), &mut sessions),
        [300, 301, 302, 303, 304, 305]
    );
    let zombies = table(&rows).look(&marker(1), &mut sessions, None).zombies;
    assert_eq!(zombies, 1);
    // The leader has gone; its session is remembered.
    let mut rows = CALM.to_vec();
    rows.push((305, 100, 304, 4, "S", false));
    assert_eq!(left(&table(&rows), &mut sessions), [305]);
    assert_eq!(left(&table(&rows), &mut HashSet::new()), [0; 0]);
}

#[test]
fn a_borrowed_marker_brings_down_its_borrower_alone() {
    let rows = [
        (100, 9, 100, 50, "Ss", false),
        // A worker of the container's own service that put on the marker.
        (101, 100, 100, 40, "S", true),
        (102, 100, 100, 40, "S", false),
    ];
    assert_eq!(left(&table(&rows), &mut HashSet::new()), [101]);
}

#[test]
fn an_orphan_without_a_mark_is_suspected_if_it_is_young_enough() {
    let mut rows = CALM.to_vec();
    rows.extend([
        (300, 100, 300, 3, "Ss", false),
        (301, 100, 301, 30, "Ss", false),
    ]);
    let lasted = Some(Duration::from_secs(10));
    let found = table(&rows).look(&marker(1), &mut HashSet::new(), lasted);
    let suspects: Vec<u32> = found
        .unattributed
        .iter()
        .map(|process| process.pid)
        .collect();
    assert_eq!(suspects, [300]);
    assert_eq!(found.left, []);
}

#[test]
fn nothing_but_markers_and_names_is_kept() {
    let mut rows = CALM.to_vec();
    rows.push((300, 9, 300, 4, "Ss", true));
    let shown = format!("{:?}", table(&rows));
    assert!(
        !shown.contains("SECRET") && shown.contains(marker(1).value()),
        "{shown}"
    );

    assert_eq!(table(&rows).markers(), HashSet::from([&marker(1)]));
    let shows = |pid| table(&rows).shows(pid, &marker(1));
    assert_eq!(
        (shows(300), shows(100), shows(1)),
        (Some(true), Some(false), None)
    );
}

#[test]
fn another_table_is_refused() {
    for answer in [
        json!({ "Titles": ["PID", "CMD"], "Processes": [["1", "sh"]] }),
        json!({ "Titles": ["UID", "B", "C", "D", "E", "F", "G"], "Processes": [] }),
        json!([]),
    ] {
        assert!(ProcessTable::parse(answer.to_string().as_bytes()).is_err());
    }
    let titles = [
        "PID", "PPID", "SID", "ELAPSED", "STAT", "COMMAND", "COMMAND",
    ];
    let answer = json!({ "Titles": titles, "Processes": [["1", "x", "1", "1", "S", "a", "b"]] });
    assert!(ProcessTable::parse(answer.to_string().as_bytes()).is_err());
    let none = json!({ "Titles": titles, "Processes": null });
    assert!(ProcessTable::parse(none.to_string().as_bytes()).is_ok());
}

proptest! {
    /// In any forest of processes: all with the marker are found, the first process never is.
    #[test]
    fn every_owner_is_found_and_the_first_process_never(
        shape in proptest::collection::vec((0usize..20, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let mut rows: Vec<Row> = vec![(100, 9, 100, 99, "Ss", false)];
        for (at, (parent, marked, leads)) in shape.iter().enumerate() {
            let pid = 101 + u32::try_from(at).unwrap();
            let (parent, session) = match rows.get(*parent) {
                Some(row) => (row.0, row.2),
                None => (9, pid),
            };
            let session = if *leads { pid } else { session };
            rows.push((pid, parent, session, 1, "S", *marked));
        }
        let found = left(&table(&rows), &mut HashSet::new());
        for row in &rows {
            prop_assert!(!row.5 || found.contains(&row.0));
        }
        prop_assert!(!found.contains(&100));
    }
}
