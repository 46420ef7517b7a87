//! Tables in text: a column is about what its title says.

use super::lexer::TopicId;

/// What stands between the cells of a line.
const SEPARATORS: [char; 4] = [',', ';', '|', '\t'];

/// How many of each separator stand before a cell.
type Columns = [usize; SEPARATORS.len()];

/// The most titles of one table.
const MAX_TITLES: usize = 64;
/// How far a cell's words may stand from its edges, in bytes: spaces, quotes, brackets.
const MARGIN: usize = 4;

/// Which cell of which line a scan has come to, and the titles of the columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// Where the present cell begins.
    cell: usize,
    /// How many of each separator the present line has so far.
    columns: Columns,
    /// Titles of the table that the present line is of, by column.
    titles: Vec<(usize, TopicId)>,
    /// Titles that the present line itself may be giving.
    given: Vec<(Columns, TopicId)>,
    /// Words that end here and are titles if nothing else stands in their cell.
    asked: Vec<(usize, TopicId)>,
    /// Behind the last backslash.
    pub(super) slash: usize,
    /// The separator of the table, and how many of it each line has.
    shape: Option<(usize, usize)>,
}

impl Table {
    /// Reads `bytes`, which begin at `at`.
    pub(super) fn read(&mut self, bytes: &[u8], at: usize) {
        for (here, byte) in (at + 1..).zip(bytes) {
            if !self.asked.is_empty() {
                self.answer(here - 1, *byte);
            }
            // Most bytes are letters.
            if byte.is_ascii_lowercase() {
                continue;
            }
            match byte {
                b'\n' => self.end_line(),
                b',' => self.columns[0] += 1,
                b';' => self.columns[1] += 1,
                b'|' => self.columns[2] += 1,
                b'\t' => self.columns[3] += 1,
                b'\\' => {
                    self.slash = here;
                    continue;
                }
                _ => continue,
            }
            self.cell = here;
        }
    }

    /// Words at `start..end` that say `topic`: a title, if their cell ends behind them.
    pub(super) fn title(&mut self, start: usize, end: usize, topic: TopicId) {
        if self.opens_cell(start) && self.asked.len() < MAX_TITLES {
            self.asked.push((end, topic));
        }
    }

    /// Whether `byte`, at `at`, ends the cell of the words that may be titles.
    fn answer(&mut self, at: usize, byte: u8) {
        let ends = matches!(byte, b'\r' | b'\n') || SEPARATORS.contains(&char::from(byte));
        let goes_on = [b' ', b'"', b'\'', b'*', b')'].contains(&byte);
        let (columns, given) = (self.columns, &mut self.given);
        self.asked.retain(|(end, topic)| {
            if at < *end || goes_on {
                return true;
            }
            if ends && given.len() < MAX_TITLES {
                given.push((columns, *topic));
            }
            false
        });
    }

    /// What the value at `start` is about, if it opens a cell of a column with a title.
    pub(super) fn topic(&self, start: usize) -> Option<TopicId> {
        let (kind, _) = self.shape?;
        let here = self.columns[kind];
        let title = self.titles.binary_search_by_key(&here, |title| title.0);
        let (_, topic) = self.titles.get(title.ok()?)?;
        self.opens_cell(start).then_some(*topic)
    }

    fn opens_cell(&self, start: usize) -> bool {
        start - self.cell <= MARGIN
    }

    fn end_line(&mut self) {
        let columns = std::mem::take(&mut self.columns);
        let given = std::mem::take(&mut self.given);
        if self
            .shape
            .is_some_and(|(kind, count)| columns[kind] == count)
        {
            return;
        }
        (self.titles, self.shape) = (Vec::new(), None);
        let kind = (0..columns.len()).max_by_key(|&kind| columns[kind]);
        if let Some(kind) = kind.filter(|&kind| columns[kind] > 0 && !given.is_empty()) {
            self.titles = given.iter().map(|(at, topic)| (at[kind], *topic)).collect();
            self.shape = Some((kind, columns[kind]));
        }
    }
}
