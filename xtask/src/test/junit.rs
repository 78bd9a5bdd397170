//! Counting from nextest's report: the only place where the output of passed
//! tests, and so a suite's word that it was skipped, is found per test.

use super::counts::Counts;

/// The counts in a report, and the lines in which suites say that they were skipped and rules that
/// they don't apply. Such a rule counts as passed: its implementation does not claim what it asks.
pub(crate) fn read(report: &str) -> (Counts, Vec<String>) {
    let mut counts = Counts::default();
    let mut lines = Vec::new();
    for case in report.split("<testcase ").skip(1) {
        let case = case.split("</testcase>").next().unwrap_or(case);
        let output: Vec<_> = case.lines().map(output_of).collect();
        let skipped: Vec<_> = output.iter().filter_map(|line| skip_in(line)).collect();
        let is_skipped = !skipped.is_empty();
        let inapplicable = output.iter().filter_map(|line| inapplicable_in(line));
        if case.contains("<failure") || case.contains("<error") {
            counts.failed += 1;
            continue;
        }
        lines.extend(skipped.into_iter().chain(inapplicable).map(unescaped));
        match is_skipped {
            true => counts.skipped += 1,
            false => counts.passed += 1,
        }
    }
    (counts, lines)
}

/// A line of output; the first one stands behind its tag.
fn output_of(line: &str) -> &str {
    let line = line
        .rsplit_once("<system-out>")
        .map_or(line, |(_, rest)| rest);
    line.split("</system-out>").next().unwrap_or(line)
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// The word of a suite that it was skipped: at the start of a line, or behind
/// the runner's `test NAME ... `, which has no line of its own when uncaptured.
pub(crate) fn skip_in(line: &str) -> Option<&str> {
    word_in(line, "SKIPPED ")
}

/// The word of a rule of a conformance suite that it does not apply, found likewise.
fn inapplicable_in(line: &str) -> Option<&str> {
    word_in(line, "NOT APPLICABLE ")
}

fn word_in<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let start = match line.strip_prefix("test ") {
        Some(rest) => rest.split_once(" ... ")?.1,
        None => line,
    };
    start.starts_with(word).then_some(start)
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
            <testcase name="u"><system-out>
test u ... NOT APPLICABLE u: it has &lt;none&gt;
ok</system-out></testcase>
            </testsuite></testsuites>"#;
        let (counts, lines) = read(report);
        assert_eq!(
            counts,
            Counts {
                passed: 2,
                failed: 1,
                skipped: 3
            }
        );
        let said = [
            "SKIPPED lab_x: needs root & more",
            "SKIPPED first: line",
            "SKIPPED second: line",
            "NOT APPLICABLE u: it has <none>",
        ];
        assert_eq!(lines, said);
    }
}
