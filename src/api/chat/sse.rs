//! Server-sent events: where in a stream of bytes each ends, and what its data says.

use std::ops::Range;

use super::texts::Unreadable;

/// Cuts a stream of bytes into its events.
#[derive(Debug, Default)]
pub(in super::super) struct Events {
    bytes: Vec<u8>,
    /// Where the next event begins.
    start: usize,
    /// Up to where it is known not to end.
    seen: usize,
}

impl Events {
    /// Adds what came next.
    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that wait for the end of their event.
    pub(in super::super) fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// The next whole event, the blank line behind it included.
    pub(in super::super) fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.blank_line()?;
        let event = self.bytes.get(self.start..end)?.to_vec();
        (self.start, self.seen) = (end, end);
        Some(event)
    }

    /// What is left at the end of the stream, which is whole for readers that are not strict.
    pub(in super::super) fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.start);
        *self = Self::default();
        (!rest.is_empty()).then_some(rest)
    }

    /// Where the first blank line ends. Lines end with a line feed, a carriage return, or both.
    fn blank_line(&mut self) -> Option<usize> {
        let bytes = &self.bytes;
        let end_of = |at: usize| match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\r'), Some(b'\n')) => Some(at + 2),
            // A line feed may still belong to it.
            (Some(b'\r'), None) => None,
            (Some(b'\r' | b'\n'), _) => Some(at + 1),
            _ => None,
        };
        let mut at = self.seen;
        while at < bytes.len() {
            if !matches!(bytes[at], b'\r' | b'\n') {
                at += 1;
                continue;
            }
            self.seen = at;
            let next = end_of(at)?;
            if next == bytes.len() {
                return None;
            }
            if matches!(bytes[next], b'\r' | b'\n') {
                return end_of(next);
            }
            at = next;
        }
        self.seen = at;
        None
    }
}

/// The data of an event, and where it stands in it; none where it has none. Data of several lines
/// stands in no one place. What has lines that are no fields of events cannot be read: another reader may
/// see in them what this one does not.
pub(in super::super) fn data(event: &str) -> Result<Option<Data>, Unreadable> {
    let mut data: Option<Data> = None;
    let mut at = 0;
    for line in event.split_inclusive(['\n', '\r']) {
        let start = at;
        at += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        // A byte order mark may begin a stream.
        let field = match start {
            0 => line.trim_start_matches('\u{feff}'),
            _ => line,
        };
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {}
            "" | "event" | "id" | "retry" => continue,
            _ => return Err(Unreadable::Unscannable("a line of an event is no field")),
        }
        data = Some(match data {
            None => {
                let end = start + line.len();
                (value.to_owned(), Some(end - value.len()..end))
            }
            Some((before, _)) => (before + "\n" + value, None),
        });
    }
    Ok(data)
}

/// What an event's data says, and where it stands in the event.
type Data = (String, Option<Range<usize>>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_blank_lines_of_any_kind_however_they_are_cut() {
        let stream = "data: a\n\n: note\r\n\r\nevent: x\rdata: b\rdata\r\rdata: c";
        let whole = [
            "data: a\n\n",
            ": note\r\n\r\n",
            "event: x\rdata: b\rdata\r\r",
        ];
        for size in 1..stream.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for chunk in stream.as_bytes().chunks(size) {
                events.push(chunk);
                while let Some(event) = events.next() {
                    found.push(String::from_utf8(event).unwrap());
                }
            }
            assert_eq!(found, whole, "{size}");
            assert_eq!(events.rest().unwrap(), b"data: c");
            assert_eq!(events.pending(), 0);
        }
        let of = |event| data(event).unwrap();
        assert_eq!(of(whole[0]), Some(("a".into(), Some(6..7))));
        assert_eq!(of(whole[1]), None);
        assert_eq!(of(whole[2]), Some(("b\n".into(), None)));
        assert_eq!(of("data:x\n\n"), Some(("x".into(), Some(5..6))));
        for odd in [
            "database: x\n\n",
            " data: x\n\n",
            "{}\n",
            "a: 1\ndata: x\n\n",
        ] {
            assert!(data(odd).is_err(), "{odd}");
        }
    }
}
