//! What a rule is: a shape, what must hold around it, and how much each kind of evidence weighs.

use super::context::Topic;
use super::lexer::MAX_MATCH;
use super::view::{FRONT, LOOK};
use super::{escape, work};

/// The least score that is reported.
pub(super) const FLOOR: f32 = 0.5;

/// How far a topic's words reach to the right, in bytes, unless a rule says otherwise.
const WINDOW: usize = 40;

/// Where a match may begin, by the character before it. An accented Latin letter is a letter; other
/// characters above ASCII end every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// A word, or a hump of one (`dbPassword`): not after a letter or digit of the same case.
    Word,
    /// A run of letters, digits and `_ - . + %`: not after any of these, but after a `_` that itself
    /// begins a run (`_emphasis_`).
    Token,
    /// A number: not after a letter or digit, and not after a separator that follows a digit. Behind a `_`
    /// that joins it with a word it must be proven.
    Number,
    /// As a number, near a topic: where rules go that find no number without one.
    Told,
    /// As a token, not after `/`, for rules that take any run. An automaton of its own keeps the others
    /// small.
    Run,
    /// Not after a letter or digit, for what begins with a mark of its own: a scheme, or what a maker's keys begin
    /// with. Apart for the same reason.
    Marked,
    /// As a word, not after `:`, `.` or `-`: an address of a network, and not from its second group on.
    Address,
    /// Any character.
    Anywhere,
}

impl Start {
    pub(super) const ALL: [Self; 8] = [
        Self::Word,
        Self::Token,
        Self::Number,
        Self::Told,
        Self::Run,
        Self::Marked,
        Self::Address,
        Self::Anywhere,
    ];

    /// The kinds of starts that `byte` may be, one bit each, by the two bytes before it.
    pub(super) fn open(byte: u8, before: Option<u8>, second: Option<u8>) -> u8 {
        let Some(before) = before else {
            return u8::MAX;
        };
        if before.is_ascii_alphanumeric() {
            let hump = before.is_ascii_lowercase() && byte.is_ascii_uppercase();
            let word = Self::Word.bit() | Self::Address.bit();
            return Self::Anywhere.bit() | if hump { word } else { 0 };
        }
        // U+00C0 to U+024F are two bytes each.
        if !before.is_ascii() && matches!(second, Some(0xC3..=0xC9)) {
            return Self::Anywhere.bit();
        }
        let mut open = Self::Anywhere.bit() | Self::Word.bit() | Self::Marked.bit();
        // U+0370 to U+052F: a run of Greek or Cyrillic goes on, one of ASCII begins.
        let runs = byte.is_ascii() || before.is_ascii() || !matches!(second, Some(0xCD..=0xD4));
        if !matches!(before, b':' | b'.' | b'-') {
            open |= Self::Address.bit();
        }
        let joins = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+' | b'%');
        let emphasis = before == b'_' && !second.is_some_and(joins);
        if runs && (emphasis || !joins(before) && before != b'_') {
            open |= Self::Token.bit();
            open |= if before == b'/' { 0 } else { Self::Run.bit() };
        }
        let separator = matches!(before, b'-' | b'.' | b'/' | b':' | b'+' | b'_');
        if !(separator && second.is_some_and(|b| b.is_ascii_digit())) {
            open |= Self::Number.bit() | Self::Told.bit();
        }
        open
    }

    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What a check sees of the text: the match and no more than a few bytes around it, so that its
/// answer cannot depend on how the text was cut into chunks.
#[derive(Debug)]
pub(super) struct Site<'t> {
    /// What would be reported.
    pub text: &'t str,
    /// What the whole pattern matched.
    pub whole: &'t str,
    /// The character before `whole`.
    pub before: Option<char>,
    /// The character after `whole`.
    pub after: Option<char>,
    /// The one behind it.
    pub then: Option<char>,
    /// Whether a topic speaks for it.
    pub told: bool,
    /// A few bytes before `whole`, as they stand.
    pub front: &'t str,
    /// A few bytes behind it.
    pub behind: &'t str,
}

impl<'t> Site<'t> {
    /// A match with nothing around it.
    #[cfg(test)]
    pub(super) fn of(text: &'t str) -> Self {
        Self {
            text,
            whole: text,
            before: None,
            after: None,
            then: None,
            told: false,
            front: "",
            behind: "",
        }
    }

    /// Whether the match is the argument of a call: `sin(1234567)`.
    pub(super) fn is_argument(&self) -> bool {
        let called = |front: &str| front.ends_with(|c: char| c.is_ascii_lowercase() || c == '_');
        self.front.strip_suffix('(').is_some_and(called) && matches!(self.after, Some(')' | ','))
    }

    /// Whether a unit or what is counted stands behind: `1234567 times`.
    pub(super) fn is_counted(&self) -> bool {
        const UNITS: [&str; 24] = [
            "times", "rows", "bytes", "bits", "items", "records", "lines", "tokens", "users",
            "files", "entries", "requests", "total", "million", "billion", "thousand", "mm", "cm",
            "km", "ms", "kb", "mb", "gb", "tb",
        ];
        let Some(word) = self.behind.strip_prefix(' ') else {
            return false;
        };
        let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, cut) = (
            word.get(..letters).unwrap_or_default(),
            letters == word.len(),
        );
        let same = |unit: &&str| match cut {
            true => unit
                .get(..letters)
                .is_some_and(|unit| unit.eq_ignore_ascii_case(word)),
            false => unit.eq_ignore_ascii_case(word),
        };
        letters > 1 && UNITS.iter().any(same)
    }

    /// The groups of `width` digits, decimal or hexadecimal, that stand one space apart before the match and
    /// behind it, the nearest first.
    pub(super) fn row(&self, width: usize) -> [Vec<&'t str>; 2] {
        let group = |text: &&str| {
            text.len() == width
                && text.bytes().all(|b| b.is_ascii_hexdigit())
                && text.bytes().any(|b| b.is_ascii_digit())
        };
        let front = self.front.strip_suffix(' ').unwrap_or_default();
        let behind = self.behind.strip_prefix(' ').unwrap_or_default();
        [
            front.rsplit(' ').take_while(group).collect(),
            behind.split(' ').take_while(group).collect(),
        ]
    }

    /// Whether each group of digits is greater than the one before it, by the same step if `evenly`.
    pub(super) fn ascends(&self, evenly: bool) -> bool {
        let groups = self
            .text
            .split(|c: char| !c.is_ascii_digit())
            .filter(|g| !g.is_empty());
        let values: Vec<i64> = groups.filter_map(|g| g.parse().ok()).collect();
        let mut steps = values.windows(2).map(|pair| pair[1] - pair[0]);
        let first = steps.next().unwrap_or_default();
        first > 0
            && values.len() > 2
            && steps.all(|step| if evenly { step == first } else { step > 0 })
    }

    /// Whether all digits stand before or behind a single point, as in a decimal number.
    pub(super) fn is_decimal(&self) -> bool {
        let number = self.text.trim_start_matches('+');
        let parts = number.split_once('.');
        let only = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        parts.is_some_and(|(whole, part)| {
            only(whole) && only(part) && (part.len() < 3 || whole.len() < 2)
        })
    }

    /// The decimal digits of the match, separators dropped.
    pub(super) fn digits(&self) -> Vec<u32> {
        let mut digits = Vec::with_capacity(self.text.len());
        digits.extend(self.text.chars().filter_map(|c| c.to_digit(10)));
        digits
    }

    /// Whether the match is part of a longer number: `1.2` of `1.2.3`, `12-34` of `12-34-56`.
    pub(super) fn inside_number(&self) -> bool {
        // Numbers this long have no thousands; what follows a comma or colon is the next field.
        let long = || self.digits().len() >= 9;
        match (self.after, self.then) {
            (Some('-'), Some(then)) => then.is_ascii_alphanumeric(),
            (Some('.' | '/' | '+'), Some(then)) => then.is_ascii_digit(),
            (Some(',' | ':'), Some(then)) => then.is_ascii_digit() && !long(),
            _ => false,
        }
    }
}

/// What a check says about a match of the right shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is something else.
    Wrong,
    /// It may be it.
    Plain,
    /// Its checksum or structure shows that it is.
    Proven,
}

impl Shape {
    /// `Proven` if `holds`, else `Plain`: for values whose checksum is often left wrong.
    pub(super) fn proven_if(holds: bool) -> Self {
        if holds { Self::Proven } else { Self::Plain }
    }

    /// `Plain` if `holds`, else `Wrong`.
    pub(super) fn plain_if(holds: bool) -> Self {
        if holds { Self::Plain } else { Self::Wrong }
    }

    /// `Proven` if `holds`, else `Wrong`: for values that cannot be without their checksum.
    pub(super) fn only_if(holds: bool) -> Self {
        if holds { Self::Proven } else { Self::Wrong }
    }
}

/// A check of what the regular expression cannot say.
pub(super) type Check = fn(&Site<'_>) -> Shape;

/// A value behind the name that a pattern matches: as long a run of characters as there is, up to an
/// escape that separates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// What it may begin with; ASCII.
    pub first: fn(u8) -> bool,
    /// What it may go on with; ASCII.
    pub rest: fn(u8) -> bool,
    /// Its fewest and most bytes.
    pub length: (usize, usize),
}

impl Value {
    /// How many bytes at the beginning of `text` are the run, no more than the most, of which `known` are known
    /// from a text that ended there.
    pub(super) fn run(&self, text: &str, known: usize) -> usize {
        let bytes = text.as_bytes();
        match bytes.first() {
            Some(&first) if (self.first)(first) => {}
            _ => return 0,
        }
        let most = bytes.len().min(self.length.1);
        // What an escape is shows behind it.
        let from = known.saturating_sub(LOOK).max(1);
        let end = |&i: &usize| match bytes.get(i..) {
            Some(rest @ [b, ..]) => !(self.rest)(*b) || *b == b'\\' && escape::separates(rest),
            _ => true,
        };
        let run = (from..most).find(end).unwrap_or(most);
        work::count(run.saturating_sub(from));
        run
    }

    /// The value at the beginning of `text`, a run of `run` bytes; like a pattern, it never ends in the middle of
    /// a word, unless it is too long to be looked at whole.
    pub(super) fn at<'t>(&self, text: &'t str, run: usize) -> Option<&'t str> {
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let mut end = run;
        while end < MAX_MATCH && end >= self.length.0 && text.as_bytes().get(end).is_some_and(word)
        {
            end -= 1;
        }
        text.get(..end).filter(|_| end >= self.length.0)
    }
}

/// A rule. Its score joins independent evidence: `1 - (1 - base)(1 - proof)(1 - context)`, with `proof`
/// where the check proves the match and `context` where one of its topics is the nearest one to the
/// left, within `window` bytes. Matches below [`FLOOR`] are not reported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// Stable name.
    pub id: &'static str,
    /// What it finds.
    pub label: &'static str,
    /// Regular expression, matched as far as it goes; its first group that matches, if it has one, is what
    /// is reported.
    pub pattern: &'static str,
    /// What is reported instead, behind the match.
    pub value: Option<Value>,
    /// Where it may begin.
    pub start: Start,
    /// What else must hold.
    pub check: Check,
    /// Weight of the shape alone.
    pub base: f32,
    /// Weight of the proof.
    pub proof: f32,
    /// Topics that speak for it.
    pub topics: &'static [Topic],
    /// Weight of a topic.
    pub context: f32,
    /// How far a topic reaches, in bytes.
    pub window: usize,
    /// Topics that, nearest and within reach, speak against it.
    pub unless: &'static [Topic],
    /// What the next item is about where a match stands in a list.
    pub next: Option<Topic>,
    /// How many bytes of the longest match may be it, where its beginning tells.
    pub length: Option<fn(&str) -> usize>,
    /// Whether a shorter match is tried where the longest one is wrong.
    pub shorter: bool,
    /// Whether what goes on beyond [`super::lexer::MAX_MATCH`] is a further match. No other rule of its
    /// start goes so far.
    pub endless: bool,
    /// How many bytes behind a match its check sees.
    pub look: usize,
}

/// A rule found by its shape alone, with weight `base`.
pub(super) const fn rule(
    id: &'static str,
    label: &'static str,
    start: Start,
    pattern: &'static str,
    base: f32,
) -> Rule {
    Rule {
        id,
        label,
        pattern,
        value: None,
        start,
        check: |_| Shape::Plain,
        base,
        proof: 0.0,
        topics: &[],
        context: 0.0,
        window: WINDOW,
        unless: &[],
        next: None,
        length: None,
        shorter: false,
        endless: false,
        look: LOOK,
    }
}

impl Rule {
    /// With a check whose proof weighs `proof`.
    pub(super) const fn check(mut self, check: Check, proof: f32) -> Self {
        self.check = check;
        self.proof = proof;
        self
    }

    /// Reporting the value behind the pattern: of at least and at most `length` bytes, beginning with
    /// `first` and going on with `rest`.
    pub(super) const fn value(
        mut self,
        first: fn(u8) -> bool,
        rest: fn(u8) -> bool,
        length: (usize, usize),
    ) -> Self {
        self.value = Some(Value {
            first,
            rest,
            length,
        });
        self
    }

    /// With topics that weigh `context`.
    pub(super) const fn near(mut self, topics: &'static [Topic], context: f32) -> Self {
        self.topics = topics;
        self.context = context;
        self
    }

    /// With another reach for its topics.
    pub(super) const fn within(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    /// Not next to these topics.
    pub(super) const fn unless(mut self, topics: &'static [Topic]) -> Self {
        self.unless = topics;
        self
    }

    /// Saying what the next item of a list is about.
    pub(super) const fn then(mut self, next: Topic) -> Self {
        self.next = Some(next);
        self
    }

    /// Of a length that its beginning tells.
    pub(super) const fn long(mut self, length: fn(&str) -> usize) -> Self {
        self.length = Some(length);
        self
    }

    /// With a check that sees as much behind a match as before it.
    pub(super) const fn looking(mut self) -> Self {
        self.look = FRONT;
        self
    }

    /// Going on behind the longest match.
    pub(super) const fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Trying shorter matches where the longest one is wrong.
    pub(super) const fn shorter(mut self) -> Self {
        self.shorter = true;
        self
    }
}
