//! Rules compiled: automata that are walked from every place where a match may begin.

use std::sync::Arc;

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, Input, MatchKind, meta};

use super::PatternError;
use super::context::WORDS;
use super::rule::{Check, FLOOR, Rule, Shape, Start, Value};
use super::view::LOOK;
use super::{sign, work};

/// A topic's number within a lexer.
pub(super) type TopicId = u16;

/// The most bytes a match may have; longer ones are cut, of rules without an end into several.
pub(super) const MAX_MATCH: usize = 16 << 10;

/// Memory for an automaton, and for building it.
const DFA_LIMIT: usize = 48 << 20;

/// A compiled rule; see [`Rule`].
#[derive(Debug)]
pub(super) struct LexerRule {
    pub id: Arc<str>,
    pub label: Arc<str>,
    /// Whether it is a number; see [`Start::Number`].
    pub number: bool,
    pub check: Check,
    pub base: f32,
    pub proof: f32,
    /// Whether it needs no topic.
    pub alone: bool,
    pub topics: Vec<TopicId>,
    pub context: f32,
    pub window: usize,
    pub unless: Vec<TopicId>,
    pub next: Option<TopicId>,
    pub length: Option<fn(&str) -> usize>,
    pub shorter: bool,
    pub endless: bool,
    pub look: usize,
    /// What is reported stands behind the pattern.
    pub value: Option<Value>,
    /// The pattern again, where a group of it is what is reported.
    pub group: Option<meta::Regex>,
}

/// What an automaton recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// A topic's word.
    Topic(TopicId),
    /// A rule, by index into [`Lexer::rules`].
    Rule(usize),
}

/// An automaton over all entries that begin in the same way.
#[derive(Debug)]
pub(super) struct Group {
    dfa: dense::DFA<Vec<u32>>,
    /// The state before the first byte, by the byte before it; at the end, that of a text's beginning.
    starts: Vec<Option<StateID>>,
    pub entries: Vec<Entry>,
}

/// A set of rules that compete for the same text.
#[derive(Debug)]
pub(super) struct Lexer {
    /// One for each kind of start, in the order of [`Start::ALL`].
    pub groups: [Option<Group>; Start::ALL.len()],
    pub rules: Vec<LexerRule>,
    /// The kinds of starts that have an entry beginning with a byte, as in [`Start::open`].
    pub begins: [u8; 256],
    /// Those that have one beginning with two bytes, of which it may be that only the first is its own.
    pairs: Vec<[u8; 256]>,
    /// How far a topic reaches that opens [`Start::Told`], in bytes.
    pub told_reach: usize,
    /// Whether overlapping matches of different rules compete, or are all reported; and whether signs are
    /// read as those of ASCII that they stand for.
    pub compete: bool,
}

/// A pattern on its way into a group.
pub(super) struct Source {
    pub pattern: String,
    pub start: Start,
    pub entry: Entry,
}

impl Lexer {
    /// Compiles a built-in table.
    pub(super) fn built_in(table: &[Rule]) -> Result<Self, PatternError> {
        let mut sources = Vec::new();
        let mut rules = Vec::new();
        for (topic, words) in WORDS {
            sources.push(Source {
                pattern: format!("(?i:{words})"),
                start: Start::Word,
                entry: Entry::Topic(*topic as TopicId),
            });
        }
        for rule in table {
            // A word never ends in the middle of a longer one.
            let pattern = match rule.value {
                Some(_) => rule.pattern.to_owned(),
                None => format!(r"(?:{})(?-u:\b{{end-half}})", rule.pattern),
            };
            let alone = 1.0 - (1.0 - rule.base) * (1.0 - rule.proof) >= FLOOR;
            rules.push(LexerRule {
                id: rule.id.into(),
                label: rule.label.into(),
                number: rule.start == Start::Number,
                check: rule.check,
                base: rule.base,
                proof: rule.proof,
                alone,
                topics: rule.topics.iter().map(|t| *t as TopicId).collect(),
                context: rule.context,
                window: rule.window,
                unless: rule.unless.iter().map(|t| *t as TopicId).collect(),
                next: rule.next.map(|t| t as TopicId),
                length: rule.length,
                shorter: rule.shorter,
                endless: rule.endless,
                look: rule.look,
                value: rule.value,
                group: group_regex(rule.id, rule.pattern)?,
            });
            sources.push(Source {
                pattern,
                start: match rule.start {
                    Start::Number if !alone => Start::Told,
                    start => start,
                },
                entry: Entry::Rule(rules.len() - 1),
            });
        }
        Self::compile(&sources, rules, true, DFA_LIMIT)
    }

    /// Compiles `sources`, one automaton for each kind of start, of at most `limit` bytes each.
    pub(super) fn compile(
        sources: &[Source],
        rules: Vec<LexerRule>,
        compete: bool,
        limit: usize,
    ) -> Result<Self, PatternError> {
        let mut groups = [const { None }; Start::ALL.len()];
        let mut begins = [0; 256];
        let mut pairs = vec![[0; 256]; 256];
        for (start, group) in Start::ALL.into_iter().zip(&mut groups) {
            let of_start: Vec<&Source> = sources.iter().filter(|s| s.start == start).collect();
            if of_start.is_empty() {
                continue;
            }
            let patterns: Vec<&str> = of_start.iter().map(|s| s.pattern.as_str()).collect();
            let dfa = automaton(&patterns, limit).map_err(|p| PatternError::new("", p))?;
            let entries = of_start.iter().map(|s| s.entry).collect();
            let group = group.insert(Group::new(dfa, entries));
            for (first, kinds) in (0..=u8::MAX).zip(&mut begins) {
                for state in group.after(first) {
                    *kinds |= start.bit();
                    for (second, kinds) in (0..=u8::MAX).zip(&mut pairs[usize::from(first)]) {
                        if group.step(state, second, |_| ()).1 {
                            *kinds |= start.bit();
                        }
                    }
                }
            }
        }
        if compete {
            // Full-width forms.
            begins[0xEF] = begins.iter().fold(0, |all, kinds| all | kinds);
        }
        let told = rules.iter().filter(|rule| rule.number && !rule.alone);
        Ok(Self {
            told_reach: told.map(|rule| rule.window).max().unwrap_or(0),
            groups,
            rules,
            begins,
            pairs,
            compete,
        })
    }
}

impl Lexer {
    /// Whether all ends of an entry's matches are wanted, not the last one alone.
    pub(super) fn keeps_shorter(&self, entry: Entry) -> bool {
        match entry {
            Entry::Topic(_) => false,
            Entry::Rule(rule) => self.rules.get(rule).is_some_and(|rule| rule.shorter),
        }
    }

    /// The kinds of starts that have an entry which may begin with these two bytes.
    pub(super) fn goes_on(&self, first: u8, second: u8) -> u8 {
        let of_first = self.pairs.get(usize::from(first));
        of_first.map_or(u8::MAX, |kinds| kinds[usize::from(second)])
    }

    /// What `bytes` begin with, read as a sign of ASCII, and how many bytes it takes.
    #[inline(never)]
    pub(super) fn sign(&self, bytes: &[u8]) -> Option<(u8, usize)> {
        sign::read(bytes).filter(|_| self.compete)
    }

    /// How many bytes behind an entry's match are looked at.
    pub(super) fn look(&self, entry: Entry) -> usize {
        match entry {
            Entry::Topic(_) => LOOK,
            Entry::Rule(rule) => self.rules.get(rule).map_or(LOOK, |rule| rule.look),
        }
    }

    /// What stands behind an entry's match and belongs to it.
    pub(super) fn value(&self, entry: Entry) -> Option<&Value> {
        match entry {
            Entry::Topic(_) => None,
            Entry::Rule(rule) => self.rules.get(rule)?.value.as_ref(),
        }
    }
}

impl Group {
    fn new(dfa: dense::DFA<Vec<u32>>, entries: Vec<Entry>) -> Self {
        let start = |before: Option<u8>| {
            let config = start::Config::new().anchored(Anchored::Yes);
            let state = dfa.start_state(&config.look_behind(before)).ok()?;
            (!dfa.is_dead_state(state)).then_some(state)
        };
        let starts = (0..=u8::MAX).map(Some).chain([None]).map(start).collect();
        Self {
            dfa,
            starts,
            entries,
        }
    }

    /// The state before the first byte, after `before`; none if nothing can match.
    pub(super) fn begin(&self, before: Option<u8>) -> Option<StateID> {
        let at = before.map_or(self.starts.len() - 1, usize::from);
        self.starts.get(at).copied().flatten()
    }

    /// The state after `byte`, which `ended` is told of if entries match up to it, and whether the
    /// walk goes on.
    #[inline]
    pub(super) fn step(
        &self,
        state: StateID,
        byte: u8,
        ended: impl FnMut(usize),
    ) -> (StateID, bool) {
        work::count(1);
        let state = self.dfa.next_state(state, byte);
        let goes_on = !self.dfa.is_special_state(state) || self.look(state, ended);
        (state, goes_on)
    }

    /// The same at the end of the text.
    pub(super) fn finish(&self, state: StateID, ended: impl FnMut(usize)) {
        self.look(self.dfa.next_eoi_state(state), ended);
    }

    #[inline(never)]
    fn look(&self, state: StateID, mut ended: impl FnMut(usize)) -> bool {
        if self.dfa.is_match_state(state) {
            for k in 0..self.dfa.match_len(state) {
                ended(self.dfa.match_pattern(state, k).as_usize());
            }
        }
        !self.dfa.is_dead_state(state) && !self.dfa.is_quit_state(state)
    }

    /// The states after a match's first byte, whatever stands before it; none where no match begins so.
    fn after(&self, byte: u8) -> Vec<StateID> {
        let mut states: Vec<StateID> = self.starts.iter().copied().flatten().collect();
        states.sort_unstable();
        states.dedup();
        let after = states
            .into_iter()
            .map(|state| self.step(state, byte, |_| ()));
        after
            .filter(|(_, goes_on)| *goes_on)
            .map(|(state, _)| state)
            .collect()
    }
}

/// One anchored automaton that reports every pattern that matches.
pub(super) fn automaton(patterns: &[&str], limit: usize) -> Result<dense::DFA<Vec<u32>>, String> {
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(StartKind::Anchored)
                .accelerate(false)
                .dfa_size_limit(Some(limit))
                .determinize_size_limit(Some(limit)),
        )
        .syntax(syntax::Config::new().utf8(true))
        .thompson(
            thompson::Config::new()
                .shrink(false)
                .nfa_size_limit(Some(limit)),
        )
        .build_many(patterns)
        .map_err(|error| deepest(&error))
}

/// The pattern with its groups, if it has one. It is only run on what the automaton has matched, so that
/// long counted repetitions may be loosened, which makes it small and fast.
fn group_regex(id: &str, pattern: &str) -> Result<Option<meta::Regex>, PatternError> {
    let regex = meta::Regex::new(&format!(r"\A(?:{})\z", loosened(pattern)))
        .map_err(|error| PatternError::new(id, deepest(&error)))?;
    Ok((regex
        .group_info()
        .group_len(regex_automata::PatternID::ZERO)
        > 1)
    .then_some(regex))
}

/// `pattern` with repetitions of ten times and more made unbounded.
fn loosened(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let counts = after
            .split_once('}')
            .map(|(counts, behind)| (counts.split_once(','), behind));
        out.push_str(before);
        rest = match counts {
            Some((Some((least, most)), behind))
                if most.len() > 1 && most.bytes().all(|b| b.is_ascii_digit()) =>
            {
                out.push(if least == "0" { '*' } else { '+' });
                behind
            }
            _ => {
                out.push('{');
                after
            }
        };
    }
    out + rest
}

impl LexerRule {
    /// The score of a match of this shape after `topic`; 0 if it is wrong.
    pub(super) fn score(&self, shape: Shape, topic: Option<TopicId>) -> f32 {
        let proof = match shape {
            Shape::Wrong => return 0.0,
            Shape::Plain => 0.0,
            Shape::Proven => self.proof,
        };
        let context = match topic {
            Some(topic) if self.topics.contains(&topic) => self.context,
            _ => 0.0,
        };
        1.0 - (1.0 - self.base) * (1.0 - proof) * (1.0 - context)
    }

    /// The part of `whole` that is reported: its group, or all of it. Bytes of `whole`.
    pub(super) fn reported(&self, whole: &str) -> std::ops::Range<usize> {
        let all = 0..whole.len();
        let Some(regex) = &self.group else {
            return all;
        };
        let mut captures = regex.create_captures();
        regex.captures(Input::new(whole).anchored(Anchored::Yes), &mut captures);
        let groups = 1..captures.group_len();
        let found = groups.filter_map(|group| captures.get_group(group)).next();
        found.map_or(all, |span| span.range())
    }
}

/// What an error says at its root, on one line.
pub(super) fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    let text = error.to_string();
    text.lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}
