//! Counting from nextest's report: the only place where the output of passed
//! tests, and so a suite's word that it was skipped, is found per test.

use super::counts::Counts;

/// The counts in a report, and the lines in which suites say they were skipped.
pub(crate) fn read(report: &str) -> (Counts, Vec<String>) {
    let mut counts = Counts::default();
    let mut skips = Vec::new();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let said: Vec<_> = case.lines().filter_map(skip_line).collect();
        if case.contains("<failure") || case.contains("<error") {
            counts.failed += 1;
        } else if said.is_empty() {
            counts.passed += 1;
        } else {
            counts.skipped += 1;
            skips.extend(said);
        }
    }
    (counts, skips)
}

fn skip_line(line: &str) -> Option<String> {
    // The first line of an output stands behind its tag.
    let line = line
        .rsplit_once("<system-out>")
        .map_or(line, |(_, rest)| rest);
    let line = line.split("</system-out>").next().unwrap_or(line);
    let unescaped = skip_in(line)?
        .replace("&quot;", "\"")
        .replace("&apos;", "'");
    Some(
        unescaped
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}

/// The word of a suite that it was skipped: at the start of a line, or behind
/// the runner's `test NAME ... `, which has no line of its own when uncaptured.
pub(crate) fn skip_in(line: &str) -> Option<&str> {
    let start = match line.strip_prefix("test ") {
        Some(rest) => rest.split_once(" ... ")?.1,
        None => line,
    };
    start.starts_with("SKIPPED ").then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_failed_and_skipped_tests_are_told_apart() {
        let report = r#"<testsuites tests="4"><testsuite name="a">
            <testcase name="x" classname="a" time="0.1"/>
            <testcase name="y"><system-out>running 1 test

SKIPPED lab_x: needs root &amp; more
test y ... ok</system-out></testcase>
            <testcase name="z"><failure type="test failure"/><system-out>SKIPPED no</system-out>
            </testcase>
            <testcase name="w"><system-out>SKIPPED first: line</system-out></testcase>
            <testcase name="v"><system-out>
test v ... SKIPPED second: line
ok</system-out></testcase>
            </testsuite></testsuites>"#;
        let (counts, skips) = read(report);
        assert_eq!(
            counts,
            Counts {
                passed: 1,
                failed: 1,
                skipped: 3
            }
        );
        let said = ["lab_x: needs root & more", "first: line", "second: line"];
        assert_eq!(skips, said.map(|said| format!("SKIPPED {said}")));
    }
}
