//! Paths of requests as servers take them.

/// `path` without its query and the parameters of its segments, percent signs decoded, `.` and `..`
/// resolved, slashes once and none at the end, in lower case: what any server may make of it.
pub(in super::super) fn normalised(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let mut segments: Vec<String> = Vec::new();
    for segment in decoded.split(['/', '\\']) {
        let segment = segment.split(';').next().unwrap_or_default();
        match segment.trim() {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment.to_lowercase()),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_servers_read_them() {
        for path in [
            "//v1/chat//completion%73?x=/y",
            "/v1/Chat/./completions/",
            "/v1/x/../chat/completions;a=b#c",
            "/v1/chat/completions/%2e",
        ] {
            assert_eq!(normalised(path), "/v1/chat/completions", "{path}");
        }
        assert_eq!(normalised("/a%3Fb%23/v1/messages"), "/a?b#/v1/messages");
        assert_eq!(normalised("/.."), "/");
    }
}
