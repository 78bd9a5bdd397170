//! What a disk makes of a file that is not as it was written.

use bytes::Bytes;

use super::*;

fn fresh() -> Identity {
    Identity {
        me: "a".to_owned(),
        names: "a,b,c".to_owned(),
        nonce: 7,
        incarnation: 1,
        cluster: None,
        founders: Vec::new(),
        joining: None,
    }
}

fn entry(index: u64) -> Entry {
    Entry {
        at: Position { term: 3, index },
        data: Bytes::from(format!("entry-{index:04}-of-the-log").repeat(4)),
    }
}

/// A member's file with everything in it.
fn written(directory: &Path) -> Vec<u8> {
    let (disk, _) = Disk::open(directory, fresh()).unwrap();
    let identity = Identity {
        cluster: Some(0x0123_4567_89ab),
        founders: vec![7, 8, 9],
        ..fresh()
    };
    let hard = HardState {
        term: 3,
        vote: Some(Vote::For(2)),
    };
    disk.save(&Save {
        identity: Some(identity),
        hard: Some(hard),
        entries: (1..=20).map(entry).collect(),
        ..Save::default()
    })
    .unwrap();
    disk.save(&Save {
        snapshot: Some(Snapshot {
            at: Position { term: 3, index: 10 },
            data: Bytes::from(vec![0x5a; 3000]),
        }),
        entries: (21..=30).map(entry).collect(),
        ..Save::default()
    })
    .unwrap();
    drop(disk);
    std::fs::read(directory.join(FILE)).unwrap()
}

/// L7: a member with a damaged file does not go on with less than it promised, nor panic.
#[test]
fn l7_a_file_that_is_not_as_it_was_written_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let bytes = written(place.path());
    let shown = |loaded: &Loaded| {
        let identity = (&loaded.identity.cluster, &loaded.identity.founders);
        format!(
            "{:?}",
            (&loaded.hard, &loaded.snapshot, &loaded.entries, identity)
        )
    };
    let open = || Disk::open(place.path(), fresh()).map(|(_, loaded)| loaded);
    let whole = shown(&open().unwrap());
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut refused = 0;
    for at in used.iter().copied().step_by(used.len() / 250) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        std::fs::write(place.path().join(FILE), &bad).unwrap();
        match open() {
            Ok(loaded) => assert_eq!(shown(&loaded), whole, "byte {at}"),
            Err(error) => {
                assert!(error.message().contains(FILE), "byte {at}: {error}");
                refused += 1;
            }
        }
    }
    // Otherwise what was changed was never looked at.
    assert!(refused > 20, "{refused}");
}

/// L7: one process at a time; and the file is its owner's, also in a directory that others read.
#[test]
fn l7_a_directory_has_one_owner() {
    let place = tempfile::tempdir().unwrap();
    let held = Disk::open(place.path(), fresh()).unwrap();
    let error = Disk::open(place.path(), fresh()).unwrap_err();
    assert_eq!(error.kind(), longshore_core::ErrorKind::AlreadyExists);
    drop(held);
    #[cfg(unix)]
    {
        let file = std::fs::metadata(place.path().join(FILE)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
