//! A body that streams events: what may pass of it goes on at once, as it came but for what is redacted.
//!
//! Every text of the stream (a choice's, a block's, a tool call's) has a guard of its own. An event waits
//! until its parts of them are released, and those behind it wait for it, so that their order stays. A text
//! that is repeated as a whole when its parts have gone by is not checked again: it passes as they did.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::body::{Context, Direction, Refusal, hold};
use super::strings::Strings;
use crate::api::chat::events::{Channel, Event};
use crate::api::chat::scan::{Asked, is_quick};
use crate::api::chat::sse::{Events, data};
use crate::api::chat::{Edit, Format, Passage, Place, Unreadable, apply};
use crate::api::service::{self, Service};
use crate::api::status::ApiError;
use crate::api::summary::Summary;
use crate::aside::aside;
use crate::guard::{Action, Guard, OutputCheck, OutputGuard, Released, Replacement, Role};

/// Texts of one stream at once.
const MOST_CHANNELS: usize = 256;
/// Texts of one stream that go by in parts, in all, and those that wait or are over beside them.
const MOST_TEXTS: usize = 4096;

/// Bytes that an event takes beside its own.
const OVERHEAD: usize = 128;

/// A stream of events on its way.
pub(super) struct EventStream<'g> {
    service: Service,
    guard: &'g Guard,
    asked: Asked,
    format: Format,
    events: Events,
    waiting: VecDeque<Waiting>,
    /// Bytes of the events that wait, and of all texts so far.
    bytes: usize,
    said: usize,
    /// Something was redacted.
    redacted: bool,
    texts: BTreeMap<Channel, Spoken<'g>>,
    /// What was replaced in the texts that are over and may be repeated, by speaker and digest.
    over: HashMap<(Role, [u8; 32]), Vec<Replacement>>,
    /// Texts that were there at once.
    wholes: u64,
    held: Option<OwnedSemaphorePermit>,
    _place: service::Place,
}

/// An event that may not pass yet.
struct Waiting {
    raw: Vec<u8>,
    /// What its data says, and where that stands.
    data: String,
    at: Option<Range<usize>>,
    parts: Vec<Part>,
    /// Where values stand in the data that say the same in other ways.
    echoes: Vec<Range<usize>>,
    /// It could not be read, and does not pass with the others.
    unread: bool,
}

/// What an event says, where its data stands, its parts and echoes, and what ends with it.
type Read = (
    String,
    Option<Range<usize>>,
    Vec<Part>,
    Vec<Range<usize>>,
    Ends,
);

/// Which texts end with an event.
enum Ends {
    Nothing,
    Choices(Vec<u64>),
    All,
}

/// A part of a text within an event.
struct Part {
    channel: Channel,
    /// Bytes of the text.
    span: Range<usize>,
    /// Where it stands in the data.
    place: Place,
}

/// One of the texts.
#[derive(Default)]
struct Spoken<'g> {
    guard: Option<OutputGuard<'g>>,
    /// Bytes said before its guard began: a text may go on after its end.
    before: usize,
    said: usize,
    released: usize,
    /// What was replaced in events that still wait.
    replaced: Vec<Replacement>,
    /// Its strings, if it is JSON.
    strings: Option<Strings>,
    /// All of it, where it may come again as a whole.
    heard: Option<Heard>,
}

/// What is known of a text by which it is known again.
#[derive(Default)]
struct Heard {
    digest: Sha256,
    replaced: Vec<Replacement>,
}

impl<'g> EventStream<'g> {
    pub(super) fn new(
        context: Context<'_>,
        guard: &'g Guard,
        asked: Asked,
        format: Format,
    ) -> Result<Self, Refusal> {
        let place = context.service.permit(&asked.tenant);
        Ok(Self {
            service: context.service.clone(),
            guard,
            asked,
            format,
            events: Events::default(),
            waiting: VecDeque::new(),
            bytes: 0,
            said: 0,
            redacted: false,
            texts: BTreeMap::new(),
            over: HashMap::new(),
            wholes: 0,
            held: None,
            _place: place.map_err(|e| Refusal::failed(Direction::Response, &e))?,
        })
    }

    /// Takes what came next, and the end of it; gives what may pass by now.
    pub(super) async fn push(
        &mut self,
        context: Context<'_>,
        bytes: &[u8],
        last: bool,
        summary: &mut Summary,
    ) -> Result<Vec<u8>, Refusal> {
        self.events.push(bytes);
        while let Some(event) = self.events.next() {
            self.take(context, event, summary).await?;
        }
        if last {
            if let Some(event) = self.events.rest() {
                self.take(context, event, summary).await?;
            }
            self.end(|_| true, summary).await?;
        }
        let most = context.config.max_body_bytes;
        let holds = self.bytes + self.events.pending() + self.said;
        if self.bytes + self.events.pending() > most || self.said > most {
            return Err(Refusal::too_large(Direction::Response, most));
        }
        hold(&mut self.held, context.buffers, holds)?;
        Ok(self.release())
    }

    /// Everything that waits, with what is known to be redacted.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for event in std::mem::take(&mut self.waiting) {
            self.write(event, &mut out);
        }
        out.extend(self.events.rest().unwrap_or_default());
        out
    }

    /// Whether what was redacted may come again, so that the rest cannot pass unread.
    pub(super) fn hides(&self) -> bool {
        let under_way = self.texts.values().filter_map(|s| s.heard.as_ref());
        let mut replaced = self.over.values().chain(under_way.map(|h| &h.replaced));
        replaced.any(|replaced| !replaced.is_empty())
    }

    /// Whether a text that went by in parts may come again as a whole.
    fn repeats(&self) -> bool {
        self.format == Format::Responses
    }

    /// What may still pass of a stream that may not go on, and its end.
    pub(super) fn cut(&mut self, refusal: &Refusal) -> Vec<u8> {
        self.broke_off(&refusal.message);
        let mut out = self.release();
        let (status, code) = (refusal.status, refusal.code);
        let event = self.format.error_event(status, code, &refusal.message);
        out.extend(event.into_bytes());
        out
    }

    /// Puts on record why texts that began to stream have no verdict, if there are any.
    pub(super) fn broke_off(&self, why: &str) {
        if self.texts.values().any(|spoken| spoken.guard.is_some()) {
            self.service
                .broke_off(&self.asked.tenant, &self.asked.id, why);
        }
    }

    /// Takes an event in; one that cannot be read waits for who wants it all the same.
    async fn take(
        &mut self,
        context: Context<'_>,
        raw: Vec<u8>,
        summary: &mut Summary,
    ) -> Result<(), Refusal> {
        self.bytes += raw.len() + OVERHEAD;
        let read = self.read(context, &raw, summary).await;
        let (data, at, parts, echoes, ends) = match read {
            Ok(read) => read,
            Err(refusal) => {
                self.waiting.push_back(Waiting {
                    raw,
                    data: String::new(),
                    at: None,
                    parts: Vec::new(),
                    echoes: Vec::new(),
                    unread: true,
                });
                return Err(refusal);
            }
        };
        self.waiting.push_back(Waiting {
            raw,
            data,
            at,
            parts,
            echoes,
            unread: false,
        });
        match ends {
            Ends::Nothing => Ok(()),
            Ends::Choices(ended) => {
                let ends = |channel: &Channel| ended.contains(&channel.choice);
                self.end(ends, summary).await
            }
            Ends::All => self.end(|_| true, summary).await,
        }
    }

    /// Reads an event and says its parts to their guards.
    async fn read(
        &mut self,
        context: Context<'_>,
        raw: &[u8],
        summary: &mut Summary,
    ) -> Result<Read, Refusal> {
        let unreadable = |m: &str| Refusal::unreadable(Direction::Response, 502, m.to_owned());
        let text = std::str::from_utf8(raw).map_err(|_| unreadable("an event is not UTF-8"))?;
        let cannot = |e: Unreadable| unreadable(&format!("an event cannot be read: {e}"));
        let (data, at) = data(text).map_err(cannot)?.unwrap_or_default();
        let event = aside(is_quick(raw), || Event::read(&self.format, &data)).map_err(cannot)?;
        self.end_others(&event, summary).await?;
        let mut parts = Vec::new();
        for (channel, literal) in &event.deltas {
            parts.push(Part {
                channel: channel.clone(),
                span: self
                    .say(context, channel, &literal.decode(), summary)
                    .await?,
                place: Passage::from(*literal).place(&data),
            });
        }
        for &(choice, role, mut passage) in &event.wholes {
            let channel = Channel::whole(choice, role, self.wholes);
            self.wholes += 1;
            // Arguments that came in pieces were read as they stand.
            if let Passage::Quoted(literal) = passage
                && self.went_by(&channel, &literal.decode())
            {
                passage = literal.into();
            }
            let said = passage.decode();
            self.repeat(context, &channel, &said, summary).await?;
            parts.push(Part {
                channel,
                span: 0..said.len(),
                place: passage.place(&data),
            });
        }
        let ends = match (event.ends_all, event.ended.is_empty()) {
            (true, _) => Ends::All,
            (false, true) => Ends::Nothing,
            (false, false) => Ends::Choices(event.ended),
        };
        let echoes = event.echoes.iter().map(|echo| {
            let start = echo.as_ptr() as usize - data.as_ptr() as usize;
            start..start + echo.len()
        });
        let echoes = echoes.collect();
        Ok((data, at, parts, echoes, ends))
    }

    /// Says the next part of a text to its guard, and gives where in the text it stands.
    async fn say(
        &mut self,
        context: Context<'_>,
        channel: &Channel,
        said: &str,
        summary: &mut Summary,
    ) -> Result<Range<usize>, Refusal> {
        let open = || self.texts.values().filter(|s| s.guard.is_some()).count();
        let new = !self.texts.contains_key(channel);
        if new && (self.texts.len() >= MOST_TEXTS || open() >= MOST_CHANNELS) {
            return Err(too_many());
        }
        let failed = |e| Refusal::failed(Direction::Response, &ApiError::from(e));
        self.service
            .charge(&self.asked.tenant, u32::from(new), said.len())
            .map_err(|e| Refusal::failed(Direction::Response, &e))?;
        let repeats = self.repeats();
        let spoken = self.texts.entry(channel.clone());
        let spoken = spoken.or_insert_with(|| Spoken {
            heard: repeats.then(Heard::default),
            strings: channel.holds_json().then(Strings::default),
            ..Spoken::default()
        });
        let start = spoken.said;
        spoken.said += said.len();
        if let Some(strings) = &mut spoken.strings {
            strings.say(said);
        }
        if let Some(heard) = &mut spoken.heard {
            heard.digest.update(said);
        }
        self.said += said.len();
        if said.is_empty() {
            return Ok(start..start);
        }
        let output = match &mut spoken.guard {
            Some(output) => output,
            none => {
                spoken.before = start;
                let check = OutputCheck {
                    id: self.asked.id.clone(),
                    tenant: self.asked.tenant.clone(),
                    role: channel.role,
                    policy: self.asked.policy.clone(),
                    conversation: None,
                    timeout: Duration::from_millis(context.config.deadline_ms),
                };
                let output = OutputGuard::new(self.guard, check.clone()).map_err(failed)?;
                let begun = self.service.begins(&check).await;
                begun.map_err(|e| Refusal::failed(Direction::Response, &e))?;
                none.insert(output)
            }
        };
        let released = output.push(said).await.map_err(failed)?;
        if output.blocked() {
            self.end(|_| true, summary).await?;
            return Err(Refusal::blocked(summary));
        }
        let end = spoken.said;
        spoken.note(released);
        Ok(start..end)
    }

    /// Takes a text that is there at once, as it was released where it went by in parts before.
    async fn repeat(
        &mut self,
        context: Context<'_>,
        channel: &Channel,
        said: &str,
        summary: &mut Summary,
    ) -> Result<(), Refusal> {
        if self.texts.len() + self.over.len() >= 2 * MOST_TEXTS {
            return Err(too_many());
        }
        let key = (channel.role, Sha256::digest(said).into());
        if !self.over.contains_key(&key) {
            let same = self.under_way(channel, said.len(), key.1);
            let same: Vec<Channel> = same.cloned().collect();
            self.end(|channel| same.contains(channel), summary).await?;
        }
        if let Some(replaced) = self.over.get(&key) {
            let spoken = Spoken {
                released: said.len(),
                replaced: replaced.clone(),
                ..Spoken::default()
            };
            self.texts.insert(channel.clone(), spoken);
            return Ok(());
        }
        self.say(context, channel, said, summary).await?;
        self.end(|c| c == channel, summary).await
    }

    /// Whether a text that is there at once has come in parts.
    fn went_by(&self, whole: &Channel, said: &str) -> bool {
        let digest = Sha256::digest(said).into();
        self.over.contains_key(&(whole.role, digest))
            || self.under_way(whole, said.len(), digest).next().is_some()
    }

    /// The texts with this digest that have come in parts and are not over, in the place of `whole`.
    fn under_way(
        &self,
        whole: &Channel,
        length: usize,
        digest: [u8; 32],
    ) -> impl Iterator<Item = &Channel> {
        let same = move |(other, spoken): &(&Channel, &Spoken<'_>)| {
            (other.choice, other.role) == (whole.choice, whole.role)
                && spoken.guard.is_some()
                && spoken.said == length
                && spoken.digest() == Some(digest)
        };
        self.texts.iter().filter(same).map(|(channel, _)| channel)
    }

    /// Ends the texts of a choice that has gone on to another (from its reasoning to its answer, from one
    /// tool call to the next), so that they do not hold it up: once, for one that goes on again is not over.
    /// Where texts are repeated, the repetition ends them.
    async fn end_others(
        &mut self,
        event: &Event<'_>,
        summary: &mut Summary,
    ) -> Result<(), Refusal> {
        let said = event.deltas.iter().filter(|(_, l)| !l.decode().is_empty());
        let said: BTreeSet<&Channel> = said.map(|(channel, _)| channel).collect();
        if said.is_empty() || self.repeats() {
            return Ok(());
        }
        let over = self.texts.iter().filter(|(channel, spoken)| {
            let goes_on = said.iter().any(|c| c.choice == channel.choice);
            goes_on && !said.contains(channel) && spoken.guard.is_some() && spoken.before == 0
        });
        let over: Vec<Channel> = over.map(|(channel, _)| (*channel).clone()).collect();
        match over.is_empty() {
            true => Ok(()),
            false => self.end(|channel| over.contains(channel), summary).await,
        }
    }

    /// Ends the texts of these channels, and adds the verdicts on them.
    async fn end(
        &mut self,
        ends: impl Fn(&Channel) -> bool,
        summary: &mut Summary,
    ) -> Result<(), Refusal> {
        let mut blocked = false;
        for (channel, spoken) in self.texts.iter_mut().filter(|(channel, _)| ends(channel)) {
            let Some(output) = spoken.guard.take() else {
                continue;
            };
            let (released, verdict) = output.finish().await;
            // Nothing passes for want of a record.
            self.service
                .record(&self.asked.tenant, &[], &verdict)
                .await
                .map_err(|e| Refusal::failed(Direction::Response, &e))?;
            spoken.note(released);
            // Of a text that went on after its end nobody has read the whole.
            if spoken.before == 0
                && let Some(heard) = &spoken.heard
            {
                let digest = heard.digest.clone().finalize().into();
                self.over
                    .insert((channel.role, digest), heard.replaced.clone());
            }
            summary.add(&verdict);
            blocked |= verdict.action == Action::Block;
        }
        match blocked {
            true => Err(Refusal::blocked(summary)),
            false => Ok(()),
        }
    }

    /// The events all of whose parts are released.
    fn release(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(next) = self.waiting.front() {
            let waits = next.unread
                || next.parts.iter().any(|part| {
                    let spoken = self.texts.get(&part.channel);
                    spoken.is_none_or(|s| s.released < part.span.end)
                });
            if waits {
                break;
            }
            if let Some(event) = self.waiting.pop_front() {
                self.bytes -= event.raw.len() + OVERHEAD;
                self.write(event, &mut out);
            }
        }
        out
    }

    /// Writes an event, with what is redacted in its place.
    fn write(&mut self, event: Waiting, out: &mut Vec<u8>) {
        let mut edits = Vec::new();
        for part in &event.parts {
            let Some(spoken) = self.texts.get_mut(&part.channel) else {
                continue;
            };
            let within = spoken.replaced.iter().filter_map(|replacement| {
                let Range { start, end } = replacement.span;
                let cut = start.max(part.span.start)..end.min(part.span.end);
                // What stands for it goes where it begins; the rest of it is left out.
                let text = match part.span.contains(&start) {
                    true => replacement.text.as_str(),
                    false => "",
                };
                let local =
                    cut.start.wrapping_sub(part.span.start)..cut.end.wrapping_sub(part.span.start);
                (cut.start < cut.end).then_some((local, text))
            });
            let passage = Passage::at(&event.data, &part.place);
            edits.extend(passage.edits(&event.data, within));
            spoken.replaced.retain(|r| r.span.end > part.span.end);
            if part.channel.is_whole() {
                self.texts.remove(&part.channel);
            }
        }
        self.redacted |= !edits.is_empty();
        if self.redacted {
            let echoes = event
                .echoes
                .iter()
                .filter_map(|at| event.data.get(at.clone()));
            edits.extend(echoes.map(|value| Edit::silence(&event.data, value)));
        }
        if edits.is_empty() {
            out.extend(event.raw);
            return;
        }
        let data = apply(&event.data, edits);
        if let Some(at) = event.at {
            out.extend_from_slice(&event.raw[..at.start]);
            out.extend_from_slice(data.as_bytes());
            out.extend_from_slice(&event.raw[at.end..]);
            return;
        }
        // Of several lines: line ends can only stand between the tokens of its JSON.
        let text = String::from_utf8_lossy(&event.raw);
        for line in text.split(['\n', '\r']).filter(|l| !l.is_empty()) {
            if !line.trim_start_matches('\u{feff}').starts_with("data") {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(data.replace('\n', " ").as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

fn too_many() -> Refusal {
    let many = "the stream has too many texts";
    Refusal::unreadable(Direction::Response, 502, many.to_owned())
}

impl Spoken<'_> {
    /// Of all that was said, where it may come again.
    fn digest(&self) -> Option<[u8; 32]> {
        let heard = self.heard.as_ref()?;
        Some(heard.digest.clone().finalize().into())
    }

    /// Takes what its guard released, which counts from where the guard began.
    fn note(&mut self, released: Released) {
        self.released = self.released.max(self.before + released.span.end);
        let mut replaced = released.replaced;
        for replacement in &mut replaced {
            replacement.span.start += self.before;
            replacement.span.end += self.before;
            if let Some(strings) = &self.strings
                && strings.is_bare(&replacement.span)
            {
                replacement.text = format!("\"{}\"", replacement.text);
            }
        }
        if let Some(heard) = &mut self.heard {
            heard.replaced.extend_from_slice(&replaced);
        }
        self.replaced.append(&mut replaced);
        if let Some(strings) = &mut self.strings {
            strings.forget(self.released);
        }
    }
}
