//! Keys on stores that are particular about their paths (Consul's HTTP paths, ZooKeeper's nodes).
//! Pure.

/// How a store spells keys.
///
/// Printable ASCII stays as it is, so that what other programs wrote (Swarm's addresses) is found
/// under its own name. Other bytes, `%`, empty segments, `.` and `..` are written as `%XX`; an empty
/// segment as `%00`, since no key has a NUL.
pub(crate) struct KeyPath;

impl KeyPath {
    /// A whole key.
    pub(crate) fn encode(key: &str) -> String {
        let mut path = String::with_capacity(key.len());
        for (index, segment) in key.split('/').enumerate() {
            if index > 0 {
                path.push('/');
            }
            segment_into(&mut path, segment);
        }
        path
    }

    /// A path that the keys under `prefix` begin with, and perhaps some others.
    #[cfg(feature = "consul")]
    pub(crate) fn encode_prefix(prefix: &str) -> String {
        let (directories, last) = match prefix.rfind('/') {
            Some(at) => prefix.split_at(at + 1),
            None => ("", prefix),
        };
        let mut path = match directories.strip_suffix('/') {
            Some(directories) => Self::encode(directories) + "/",
            None => String::new(),
        };
        // Whether these are a segment of their own shows only behind them.
        if !matches!(last, "" | "." | "..") {
            segment_into(&mut path, last);
        }
        path
    }

    /// The key of a path. Paths that we would spell otherwise are taken as they are.
    pub(crate) fn decode(path: &str) -> String {
        if !path.contains('%') {
            return path.to_owned();
        }
        let segments: Vec<_> = path.split('/').map(decode_segment).collect();
        segments.join("/")
    }
}

fn segment_into(path: &mut String, segment: &str) {
    match segment {
        "" => path.push_str("%00"),
        "." => path.push_str("%2E"),
        ".." => path.push_str("%2E%2E"),
        _ => {
            for byte in segment.bytes() {
                match byte {
                    b' '..=b'~' if byte != b'%' => path.push(char::from(byte)),
                    _ => {
                        use std::fmt::Write;
                        let _ = write!(path, "%{byte:02X}");
                    }
                }
            }
        }
    }
}

fn decode_segment(segment: &str) -> String {
    if segment == "%00" {
        return String::new();
    }
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn swarms_keys_stay_as_they_are() {
        let key = "docker/swarm/nodes/10.0.0.1:2375";
        assert_eq!(KeyPath::encode(key), key);
        assert_eq!(KeyPath::encode("/a//./\u{e9}%"), "%00/a/%00/%2E/%C3%A9%25");
    }

    proptest! {
        #[test]
        fn every_key_comes_back(key in "[a./%\u{e9}\n]{1,12}") {
            prop_assert_eq!(KeyPath::decode(&KeyPath::encode(&key)), key);
        }

        #[cfg(feature = "consul")]
        #[test]
        fn a_prefix_begins_all_its_keys(key in "[a./%\u{e9}]{1,12}", cut in 0usize..12) {
            let cut = (0..=cut.min(key.len())).rev().find(|at| key.is_char_boundary(*at));
            let prefix = &key[..cut.unwrap_or(0)];
            let (path, start) = (KeyPath::encode(&key), KeyPath::encode_prefix(prefix));
            prop_assert!(path.starts_with(&start), "{path} {start}");
        }

        #[test]
        fn any_path_is_decoded(path in ".{0,40}") {
            let _ = KeyPath::decode(&path);
        }
    }
}
