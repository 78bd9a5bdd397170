//! What the tap reads in request heads, and says of bad ones.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::{TapLimits, TapState};
use crate::endpoint::error::ApiError;

/// Why a head was given up by the tap itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Truncated,
    Late,
}

/// The bytes to hand on, once it is clear what they are.
pub(super) fn looked_at(seen: &mut BytesMut, state: &TapState) -> Option<Bytes> {
    let start = &seen[..seen.len().min(POST.len())];
    if !POST.starts_with(start) {
        return Some(seen.split().freeze());
    }
    let end = seen.windows(4).position(|four| four == b"\r\n\r\n")?;
    let mut lines = seen[..end].split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let upgrade = lines.any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"upgrade")
    });
    let line_end = line.len() + 1;
    if upgrade || !wants_raw_stream(line) || line_end > end {
        return Some(seen.split().freeze());
    }
    state.set_legacy();
    let rest = seen.split_off(line_end);
    seen.extend_from_slice(b"Upgrade: tcp\r\n");
    seen.unsplit(rest);
    Some(seen.split().freeze())
}

/// `POST …/attach?… HTTP/1.1` and `POST …/exec/…/start HTTP/1.1`.
fn wants_raw_stream(line: &[u8]) -> bool {
    let target = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let exec = path.windows(6).any(|part| part == b"/exec/") && path.ends_with(b"/start");
    path.ends_with(b"/attach") || exec
}

/// The message for a head that the library refused by itself: it writes nothing but a status line,
/// `content-length: 0` and a date.
pub(super) fn refusal(bytes: &[u8], fault: Option<Fault>, limits: &TapLimits) -> Option<ApiError> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.len() > 200 || !text.ends_with("\r\n\r\n") || !text.contains("content-length: 0\r\n") {
        return None;
    }
    let status: u16 = text.get(9..12)?.parse().ok()?;
    let bad = |message: &str| ApiError::new(StatusCode::BAD_REQUEST, "protocol", message);
    Some(match (status, fault) {
        (400, Some(Fault::Truncated)) => {
            bad("the request is truncated: the connection ended in the middle of its head")
        }
        (400, Some(Fault::Late)) => ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            format!("the request head did not arrive within {:?}", limits.head),
        ),
        (400, None) => bad("the request is not valid HTTP/1.1"),
        (431, _) => ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "resource-exhausted",
            format!(
                "the request head is too large: at most {} bytes and {MAX_HEADERS} fields are \
                 accepted",
                limits.head_bytes
            ),
        ),
        (414, _) => ApiError::new(
            StatusCode::URI_TOO_LONG,
            "resource-exhausted",
            "the request target is too long",
        ),
        _ => return None,
    })
}

/// How many fields a head may have: what the library takes without a buffer on the heap.
const MAX_HEADERS: usize = 100;
const POST: &[u8] = b"POST ";
