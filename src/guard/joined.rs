//! Texts of the user that may be one: the parts of a message, or turns of a conversation.

use std::ops::Range;

use super::{Role, Segment};

/// Bytes at either end of a long text that are read with the text next to it. All of it is read by itself.
const SEAM: usize = 512;

/// Segments read as one text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Their indices, two at least.
    pub(super) segments: Vec<usize>,
    /// What they say together.
    pub(super) text: String,
}

/// The texts of each turn of the user, a line each, and those of the last `turns` turns; none where
/// `turns` is 0. Of a long text, only its ends are joined to what stands before and behind it, so that no
/// more than twice [`SEAM`] bytes of a segment are read again.
pub(super) fn join(segments: &[Segment], turns: usize) -> Vec<Joined> {
    let mut joined = Vec::new();
    if turns == 0 {
        return joined;
    }
    let users = |run: &&[(usize, &Segment)]| run.iter().all(|(_, s)| s.role == Role::User);
    let numbered: Vec<(usize, &Segment)> = segments.iter().enumerate().collect();
    let all: Vec<&[(usize, &Segment)]> = numbered
        .chunk_by(|a, b| a.1.role == b.1.role)
        .filter(users)
        .collect();
    let (before, last) = all.split_at(all.len().saturating_sub(turns));
    for turn in before {
        add(turn, &mut joined);
    }
    add(&last.concat(), &mut joined);
    joined
}

fn add(texts: &[(usize, &Segment)], joined: &mut Vec<Joined>) {
    let mut now = Joined {
        segments: Vec::new(),
        text: String::new(),
    };
    for (index, Segment { text, .. }) in texts {
        let long = text.len() > 2 * SEAM;
        now.push(*index, if long { slice(text, 0..SEAM) } else { text });
        if long {
            let tail = slice(text, text.len() - SEAM..text.len());
            let next = Joined {
                segments: vec![*index],
                text: tail.to_owned(),
            };
            joined.push(std::mem::replace(&mut now, next));
        }
    }
    joined.push(now);
    joined.retain(|j| j.segments.len() > 1);
}

impl Joined {
    fn push(&mut self, segment: usize, text: &str) {
        if !self.segments.is_empty() {
            self.text.push('\n');
        }
        self.segments.push(segment);
        self.text.push_str(text);
    }
}

/// The bytes `range` of `text`, on character boundaries within it.
fn slice(text: &str, range: Range<usize>) -> &str {
    let (mut start, mut end) = (range.start, range.end);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(texts: &[(Role, &str)], turns: usize) -> Vec<(Vec<usize>, String)> {
        let segments: Vec<Segment> = texts
            .iter()
            .map(|(role, text)| Segment {
                role: *role,
                text: (*text).into(),
                id: None,
            })
            .collect();
        let joined = join(&segments, turns).into_iter();
        joined.map(|j| (j.segments, j.text)).collect()
    }

    #[test]
    fn parts_of_a_turn_are_one_and_so_are_as_many_turns_as_are_asked_for() {
        use Role::{Assistant, Document, User};
        let talk = [
            (User, "a"),
            (User, "b"),
            (Assistant, "x"),
            (User, "c"),
            (Document, "y"),
            (User, "d"),
            (User, "e"),
        ];
        let one = |segments: &[usize], text: &str| (segments.to_vec(), text.to_owned());
        assert_eq!(joined(&talk, 0), []);
        assert_eq!(
            joined(&talk, 1),
            [one(&[0, 1], "a\nb"), one(&[5, 6], "d\ne")]
        );
        let two = [one(&[0, 1], "a\nb"), one(&[3, 5, 6], "c\nd\ne")];
        assert_eq!(joined(&talk, 2), two);
        assert_eq!(joined(&talk, 9), [one(&[0, 1, 3, 5, 6], "a\nb\nc\nd\ne")]);
        assert_eq!(
            joined(&[(Document, "a"), (Document, "b")], 9),
            [],
            "each apart"
        );
    }

    #[test]
    fn of_a_long_text_only_the_ends_are_read_again() {
        let long = "é".repeat(2_000);
        let parts = joined(
            &[(Role::User, "a"), (Role::User, &long), (Role::User, "b")],
            1,
        );
        let end = "é".repeat(SEAM / 2);
        let expected = [
            (vec![0, 1], format!("a\n{end}")),
            (vec![1, 2], format!("{end}\nb")),
        ];
        assert_eq!(parts, expected);
    }
}
