use longshore_core::WorkloadId;

use super::CleanupReport;

/// What one search for lost sessions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// A report for each lost session that was found.
    pub reports: Vec<CleanupReport>,
    /// How many containers were looked into.
    pub containers: usize,
    /// Where the engine gave no answer for now, or more was lost than is ended at a time: another
    /// search may find something there.
    pub unanswered: Vec<WorkloadId>,
}

impl Reaped {
    /// Of how many lost sessions it is not known that nothing runs any more.
    pub fn left(&self) -> usize {
        let left = |report: &&CleanupReport| !report.is_clean();
        self.reports.iter().filter(left).count()
    }
}
