use longshore_core::{Error, Result, WorkloadId};

/// A container's id as Docker makes them: 64 lowercase hexadecimal digits. Anything else could be
/// made to look like another container's name, a path or a pattern.
pub(super) fn container(text: &str) -> Result<WorkloadId> {
    let is_dockers = text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_dockers {
        let shown: String = text.chars().take(80).collect();
        return Err(Error::protocol(format!(
            "{shown:?} is no id of a Docker container: 64 lowercase hexadecimal digits are expected"
        )));
    }
    Ok(WorkloadId::new(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dockers_own_form_is_an_id() {
        let good = "0123456789abcdef".repeat(4);
        assert_eq!(container(&good).unwrap().as_str(), good);
        for bad in ["", "abc", &good[1..], &good.to_uppercase(), &"g".repeat(64)] {
            assert!(container(bad).is_err(), "{bad}");
        }
    }
}
