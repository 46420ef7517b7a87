//! Telling a secret from a word, a placeholder or a piece of code.

/// Shannon entropy of the characters of `text`, in bits a character.
pub(super) fn entropy(text: &str) -> f32 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len().max(1) as f32;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let share = count as f32 / total;
            -share * share.log2()
        })
        .sum()
}

/// Whether `text` stands for a secret without being one: `YOUR_API_KEY`, `xxxx`, `********`, `<token>`,
/// `${TOKEN}`, `abcdefgh`.
pub(super) fn is_placeholder(text: &str) -> bool {
    const PARTS: [&str; 24] = [
        "example",
        "your",
        "xxxx",
        "****",
        "....",
        "placeholder",
        "changeme",
        "change_me",
        "change-me",
        "dummy",
        "sample",
        "redacted",
        "insert",
        "replace",
        "todo",
        "goes-here",
        "goes_here",
        "gohere",
        "fake",
        "<",
        "${",
        "{{",
        "notreal",
        "____",
    ];
    const WHOLE: [&str; 18] = [
        "null",
        "none",
        "nil",
        "true",
        "false",
        "undefined",
        "string",
        "password",
        "secret",
        "token",
        "optional",
        "required",
        "hidden",
        "empty",
        "unknown",
        "default",
        "username",
        "apikey",
    ];
    // A long value is told by how it begins.
    let mut lower = [0; 48];
    let length = text.len().min(lower.len());
    let (lower, _) = lower.split_at_mut(length);
    lower.copy_from_slice(text.as_bytes().get(..length).unwrap_or_default());
    lower.make_ascii_lowercase();
    let is_part = |at: usize| {
        let rest = lower.get(at..).unwrap_or_default();
        PARTS.iter().any(|part| rest.starts_with(part.as_bytes()))
    };
    let outside = |b: &u8| !b.is_ascii_alphanumeric();
    let start = lower.iter().position(|b| !outside(b));
    let end = lower.iter().rposition(|b| !outside(b));
    let Some(bare) = start
        .zip(end)
        .and_then(|(start, end)| lower.get(start..=end))
    else {
        return true;
    };
    WHOLE.iter().any(|whole| bare == whole.as_bytes())
        || is_sequence(lower)
        || (0..lower.len()).any(is_part)
}

/// Whether most characters follow from the one before: `aaaa`, `12345678`, `abcdef`.
fn is_sequence(bytes: &[u8]) -> bool {
    let steps = bytes
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a == b || a.checked_add(1) == Some(*b)))
        .count();
    bytes.len() >= 6 && 2 * steps > bytes.len()
}

/// Which kinds of characters `text` has.
pub(super) struct Kinds {
    pub lower: bool,
    pub upper: bool,
    pub digits: usize,
    pub symbols: bool,
}

impl Kinds {
    pub(super) fn of(text: &str) -> Self {
        Self {
            lower: text.contains(|c: char| c.is_ascii_lowercase()),
            upper: text.contains(|c: char| c.is_ascii_uppercase()),
            digits: text.bytes().filter(u8::is_ascii_digit).count(),
            symbols: text.contains(|c: char| c.is_ascii_punctuation()),
        }
    }
}

/// Whether `text` looks drawn at random: no placeholder, letters and digits mixed, and of an entropy
/// that words and numbers of its length do not reach.
pub(super) fn is_random(text: &str) -> bool {
    let kinds = Kinds::of(text);
    let letters = kinds.lower || kinds.upper;
    let enough = match text.len() {
        0..16 => return false,
        16..24 => 3.0,
        24..40 => 3.4,
        _ => 3.7,
    };
    letters && kinds.digits >= 2 && entropy(text) >= enough && !is_placeholder(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_differs_from_words_and_placeholders() {
        assert!(is_random("DOqmMFVhSUM5lT1bEOZTJQLY9IJVtmUSOc3U52BB"));
        assert!(!is_random("the-quick-brown-fox-jumps-over-it"));
        assert!(!is_random("1234567890123456789012345678"));
        for text in [
            "YOUR_API_KEY",
            "xxxxxxxx",
            "********",
            "<token>",
            "${TOKEN}",
            "abcdefghij",
            "null",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["Summer2024!", "hunter2", "n+SVmp(+cf8yyrW"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
