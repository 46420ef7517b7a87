//! Where the strings of JSON are that comes in parts: what a streamed call of a tool is called with.

use std::ops::Range;

/// The quotation marks of a text, of those of its bytes that are still asked about.
#[derive(Debug, Default)]
pub(super) struct Strings {
    /// Bytes of the text.
    said: usize,
    /// A backslash was the last of them.
    escaped: bool,
    /// Where the marks are, strings beginning and ending by turns.
    marks: Vec<usize>,
}

impl Strings {
    /// Adds the next part of the text.
    pub(super) fn say(&mut self, part: &str) {
        for byte in part.bytes() {
            let within = !self.marks.len().is_multiple_of(2);
            if byte == b'"' && !self.escaped {
                self.marks.push(self.said);
            }
            self.escaped = within && byte == b'\\' && !self.escaped;
            self.said += 1;
        }
    }

    /// Forgets the strings that end before `at`: nothing before it is asked about again.
    pub(super) fn forget(&mut self, at: usize) {
        let before = self.marks.partition_point(|mark| *mark < at);
        // A string that is open at `at` keeps its beginning.
        self.marks.drain(..before - before % 2);
    }

    /// Whether these bytes are of one value that is no string: what stands in their place must be quoted.
    pub(super) fn is_bare(&self, span: &Range<usize>) -> bool {
        let before = self.marks.partition_point(|mark| *mark < span.start);
        let until = self.marks.partition_point(|mark| *mark < span.end);
        before.is_multiple_of(2) && before == until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_string_holds_is_bare_however_it_comes() {
        let json = r#"{"a\"b":12,"c":"x\\","d":"3\u0022","e":[45]}"#;
        let bare = |s: &Strings, text: &str| {
            let start = json.find(text).unwrap();
            s.is_bare(&(start..start + text.len()))
        };
        for step in 1..json.len() {
            let mut strings = Strings::default();
            for part in json.as_bytes().chunks(step) {
                strings.say(std::str::from_utf8(part).unwrap());
            }
            assert!(bare(&strings, "12") && bare(&strings, "45"));
            for text in ["b", "x", "3", r#""c":"x"#, "12,\"c"] {
                assert!(!bare(&strings, text), "{text}, {step}");
            }
            // Wherever it is cut, the rest reads the same.
            for (at, _) in json.char_indices() {
                strings.forget(at);
                for text in ["12", "45", "b", "x", "3", r#""c":"x"#, "12,\"c"] {
                    let known = json.find(text).unwrap() >= at;
                    let expected = matches!(text, "12" | "45");
                    assert!(!known || bare(&strings, text) == expected, "{text}, {at}");
                }
            }
            strings.forget(json.len());
            assert!(strings.marks.is_empty());
        }
    }
}
