use longshore_core::{Action, AuditOutcome, Identity, Target, Timestamp};

use super::*;

fn event(number: u64) -> AuditEvent {
    AuditEvent::new(
        Timestamp::from_secs(number),
        Identity::new("alice", "unix"),
        Action::Write,
        "POST /containers/create",
        Target::new("container", format!("web-{number}")),
        AuditOutcome::Done,
    )
}

async fn log_of(path: &Path, records: u64) -> Vec<AuditReceipt> {
    let audit = FileAudit::open(path).unwrap();
    let mut receipts = Vec::new();
    for number in 0..records {
        receipts.push(audit.record(event(number)).await.unwrap());
    }
    receipts
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[track_caller]
fn refused(path: &Path, message: &str) {
    let error = FileAudit::verify(path, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.message(), message);
    let error = FileAudit::open(path).unwrap_err();
    assert_eq!(error.message(), message, "nothing is appended to it");
}

#[tokio::test]
async fn a_changed_record_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    log_of(&path, 5).await;
    assert_eq!(FileAudit::verify(&path, None).unwrap(), 5);
    edit(&path, |lines| {
        lines[2] = lines[2].replace("alice", "mallory");
    });
    refused(
        &path,
        "the audit log is broken at record 2: its content was changed",
    );
}

#[tokio::test]
async fn a_removed_record_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    log_of(&path, 5).await;
    edit(&path, |lines| drop(lines.remove(2)));
    refused(
        &path,
        "the audit log is broken at record 2: found number 3, so records were removed, added or \
         reordered",
    );
}

#[tokio::test]
async fn reordered_records_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    log_of(&path, 5).await;
    edit(&path, |lines| lines.swap(1, 2));
    refused(
        &path,
        "the audit log is broken at record 1: found number 2, so records were removed, added or \
         reordered",
    );
}

#[tokio::test]
async fn a_record_from_another_log_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("audit.log"), dir.path().join("other.log"));
    log_of(&path, 5).await;
    {
        let audit = FileAudit::open(&other).unwrap();
        for number in 100..105 {
            audit.record(event(number)).await.unwrap();
        }
    }
    let foreign = std::fs::read_to_string(&other).unwrap();
    let line = foreign.lines().nth(2).unwrap().to_owned();
    edit(&path, |lines| lines[2] = line);
    refused(
        &path,
        "the audit log is broken at record 2: it does not follow the record before, so that one \
         was changed or replaced",
    );
}

#[tokio::test]
async fn a_cut_end_is_found_by_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let receipts = log_of(&path, 5).await;
    edit(&path, |lines| lines.truncate(3));
    assert_eq!(FileAudit::verify(&path, Some(&receipts[2])).unwrap(), 3);
    let error = FileAudit::verify(&path, Some(&receipts[4])).unwrap_err();
    assert_eq!(
        error.message(),
        "the audit log was cut: record 4 was receipted, the log ends before record 3"
    );
}

#[tokio::test]
async fn a_log_written_anew_is_found_by_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("audit.log"), dir.path().join("other.log"));
    let receipts = log_of(&path, 2).await;
    let audit = FileAudit::open(&other).unwrap();
    for number in 7..9 {
        audit.record(event(number)).await.unwrap();
    }
    let error = FileAudit::verify(&other, Some(&receipts[1])).unwrap_err();
    assert_eq!(
        error.message(),
        "the audit log was rewritten: record 1 is not the one that was receipted"
    );
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_wherever_it_was_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let receipts = log_of(&path, 3).await;
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap()
        + 1;
    for cut in last..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let audit = FileAudit::open(&path).unwrap();
        assert_eq!(audit.torn().await, (cut - last) as u64);
        let receipt = audit.record(event(2)).await.unwrap();
        assert_eq!(
            receipt, receipts[2],
            "the same record as if nothing happened"
        );
        drop(audit);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}

#[tokio::test]
async fn a_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let audit = FileAudit::open(&path).unwrap();
    let error = FileAudit::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    drop(audit);
    FileAudit::open(&path).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    FileAudit::open(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_failed_write_is_an_error_and_receipts_nothing() {
    // Every write to /dev/full fails as on a full disk; it reads as endless zeros, so it is put
    // under an open log.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let audit = FileAudit::open(&path).unwrap();
    audit.record(event(0)).await.unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let file = {
        let mut log = audit.log.lock().await;
        std::mem::replace(&mut log.file, full)
    };
    audit.record(event(1)).await.unwrap_err();
    {
        let mut log = audit.log.lock().await;
        log.file = file;
        log.broken = false;
    }
    assert_eq!(audit.record(event(1)).await.unwrap().sequence, 1);
    assert_eq!(FileAudit::verify(&path, None).unwrap(), 2);
}
