//! Records of sessions: the stores, what they export and import, and sessions that are recorded.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod ahead;
mod floods;
mod formats;
mod scene;
mod sessions;
mod suite;

mod memory {
    use longshore_exec::record::{MemoryRecords, RecordLimits};

    use crate::suite::Harness;

    struct Memory;

    impl Harness for Memory {
        type Store = MemoryRecords;

        fn store(&self, limits: RecordLimits) -> MemoryRecords {
            MemoryRecords::new(limits)
        }
    }

    crate::record_suite!(Memory);
}

mod directory {
    use longshore_exec::record::{DirectoryRecords, RecordLimits};
    use tempfile::TempDir;

    use crate::suite::Harness;

    struct Directory(TempDir);

    impl Harness for Directory {
        type Store = DirectoryRecords;

        fn store(&self, limits: RecordLimits) -> DirectoryRecords {
            DirectoryRecords::open(self.0.path().join("records"), limits).unwrap()
        }
    }

    crate::record_suite!(Directory(tempfile::tempdir().unwrap()));
}
