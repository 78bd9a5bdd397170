use super::error::ApiError;
use crate::ApiVersion;

/// From here on errors are JSON.
pub(super) const JSON_ERRORS: ApiVersion = ApiVersion::new(1, 24);

/// Cuts `/vX.Y` (digits, dot, digits) off a path. A path without one comes back whole.
pub(super) fn strip(path: &str) -> (Option<ApiVersion>, &str) {
    let cut = || {
        let rest = path.strip_prefix("/v")?;
        let end = rest.find('/')?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (major, minor) = rest[..end].split_once('.')?;
        if !digits(major) || !digits(minor) {
            return None;
        }
        // A number too large for the type is still a version, and too new.
        let number = |part: &str| part.parse().unwrap_or(u16::MAX);
        Some((ApiVersion::new(number(major), number(minor)), &rest[end..]))
    };
    match cut() {
        Some((version, rest)) => (Some(version), rest),
        None => (None, path),
    }
}

/// Refuses versions outside the range, in Docker's words.
pub(super) fn check(
    version: ApiVersion,
    oldest: ApiVersion,
    newest: ApiVersion,
) -> Result<(), ApiError> {
    if version > newest {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {newest}"
        )));
    }
    if version < oldest {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {oldest}, \
             please upgrade your client to a newer version"
        )));
    }
    Ok(())
}

/// The version to speak with an engine: the client's, as near as the engine can.
pub(super) fn for_engine(version: ApiVersion, oldest: &str, newest: &str) -> ApiVersion {
    let version = match newest.parse() {
        Ok(newest) => version.min(newest),
        Err(_) => version,
    };
    match oldest.parse() {
        Ok(oldest) => version.max(oldest),
        Err(_) => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_digits_dot_digits() {
        assert_eq!(
            strip("/v1.40/info"),
            (Some(ApiVersion::new(1, 40)), "/info")
        );
        for whole in [
            "/info",
            "/v1/info",
            "/v1.x/info",
            "/v1.40",
            "/volumes",
            "/v+1.2/x",
        ] {
            assert_eq!(strip(whole), (None, whole));
        }
        assert_eq!(
            strip("/v99999999999.1/info").0,
            Some(ApiVersion::new(u16::MAX, 1))
        );
    }

    #[test]
    fn versions_outside_are_refused_in_docker_s_words() {
        let say = |major, minor| {
            let range = (ApiVersion::new(1, 12), ApiVersion::new(1, 41));
            let error = check(ApiVersion::new(major, minor), range.0, range.1).unwrap_err();
            error.message().to_owned()
        };
        assert_eq!(
            say(9, 99),
            "client version 9.99 is too new. Maximum supported API version is 1.41"
        );
        assert_eq!(
            say(1, 11),
            "client version 1.11 is too old. Minimum supported API version is 1.12, please \
             upgrade your client to a newer version"
        );
    }

    #[test]
    fn an_engine_is_spoken_to_in_a_version_it_knows() {
        let of = |low, high| for_engine(ApiVersion::new(1, 40), low, high).to_string();
        assert_eq!(of("1.12", "1.41"), "1.40");
        assert_eq!(of("1.12", "1.30"), "1.30");
        assert_eq!(of("1.44", "1.52"), "1.44");
        assert_eq!(of("", ""), "1.40");
    }
}
