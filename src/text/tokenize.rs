//! One tokenizer of a package: text in, token ids with exact byte spans out.
//!
//! What a hub `tokenizer.json` says about truncation and padding is switched off, because windows
//! are ours; special tokens written in a user's text are text.

use std::collections::HashSet;
use std::path::Path;

use tokenizers::models::ModelWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::{SplitDelimiterBehavior, Tokenizer};
use unicode_normalization::char::is_combining_mark;

use super::position::floor_char_boundary;

/// A loaded `tokenizer.json`, ready to be shared between threads.
#[derive(Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    unknown_id: Option<u32>,
    /// Tokens that no text yields.
    special: HashSet<u32>,
}

/// Tokens of one text, without special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Bytes `start..end` of the original text behind each token, on character boundaries.
    pub spans: Vec<(usize, usize)>,
    /// Tokens that stand for anything the vocabulary lacks.
    pub unknown: usize,
    /// Characters behind those tokens, and characters that no token stands for; white space, combining
    /// marks and what only joins or presents characters aside.
    pub unread: usize,
    /// Those of them that are letters, for private use or in place of lost characters: what may say
    /// something.
    pub illegible: usize,
    /// The vocabulary's id for what it lacks.
    pub unknown_id: Option<u32>,
    /// Whether each token goes on with the word of the token before it (`word` + `##piece`).
    pub continues_word: Vec<bool>,
}

/// Why a tokenizer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file is no tokenizer.json this version understands.
    #[error("cannot read the tokenizer: {0}")]
    Read(String),
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {0}")]
    Encode(String),
    /// A token id the model has no embedding for.
    #[error("the tokenizer has {tokenizer} tokens and the model embeds {model}")]
    Vocabulary {
        /// One more than the highest token id.
        tokenizer: usize,
        /// Rows of the embedding.
        model: usize,
    },
}

impl TokenizedText {
    /// The tokens of `range` that stand for something the vocabulary knows.
    #[must_use]
    pub fn known_in(&self, range: std::ops::Range<usize>) -> usize {
        let known = |id: &&u32| Some(**id) != self.unknown_id;
        self.ids[range].iter().filter(known).count()
    }
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, TokenizerError> {
        let bytes = std::fs::read(path).map_err(|e| TokenizerError::Read(e.to_string()))?;
        Self::from_bytes(&bytes)
    }

    /// Reads the content of a `tokenizer.json`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let mut inner =
            Tokenizer::from_bytes(bytes).map_err(|e| TokenizerError::Read(e.to_string()))?;
        inner
            .with_truncation(None)
            .map_err(|e| TokenizerError::Read(e.to_string()))?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        split_words_wordpiece_would_drop(&mut inner)?;
        let (prefix, suffix) = special_tokens(&inner)?;
        let unknown = match inner.get_model() {
            ModelWrapper::WordPiece(model) => Some(model.unk_token.clone()),
            ModelWrapper::BPE(model) => model.unk_token.clone(),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.clone()),
            ModelWrapper::Unigram(model) => unigram_unknown(model),
        };
        let unknown_id = unknown.and_then(|token| inner.token_to_id(&token));
        let special = inner
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(id, token)| token.special && Some(*id) != unknown_id)
            .map(|(id, _)| id)
            .collect();
        hide_special_pieces(&mut inner, &special)?;
        Ok(Self {
            inner,
            prefix,
            suffix,
            unknown_id,
            special,
        })
    }

    /// Special tokens before (`[CLS]`, `<s>`) every window.
    #[must_use]
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// Special tokens after (`[SEP]`, `</s>`) every window.
    #[must_use]
    pub fn suffix(&self) -> &[u32] {
        &self.suffix
    }

    /// Fails if a token id could lie outside an embedding of `rows` rows.
    pub fn check_vocabulary(&self, rows: usize) -> Result<(), TokenizerError> {
        let highest = self.inner.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if highest < rows {
            Ok(())
        } else {
            Err(TokenizerError::Vocabulary {
                tokenizer: highest + 1,
                model: rows,
            })
        }
    }

    /// Tokenises `text`, whatever its length, without special tokens.
    pub fn tokenize(&self, text: &str) -> Result<TokenizedText, TokenizerError> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|e| TokenizerError::Encode(e.to_string()))?;
        let words = encoding.get_word_ids();
        let continues_word = (0..words.len())
            .map(|i| i > 0 && words[i].is_some() && words[i] == words[i - 1])
            .collect();
        let spans = encoding
            .get_offsets()
            .iter()
            .zip(encoding.get_tokens())
            .map(|(&offsets, token)| span(text, offsets, token))
            .collect();
        let mut tokens = TokenizedText {
            ids: encoding
                .get_ids()
                .iter()
                .map(|id| match self.unknown_id {
                    Some(unknown) if self.special.contains(id) => unknown,
                    _ => *id,
                })
                .collect(),
            spans,
            unknown: 0,
            unread: 0,
            illegible: 0,
            unknown_id: self.unknown_id,
            continues_word,
        };
        tokens.unknown = tokens.ids.len() - tokens.known_in(0..tokens.ids.len());
        (tokens.unread, tokens.illegible) = unread(text, &tokens);
        Ok(tokens)
    }
}

/// A lower bound on the tokens of `text` that takes a fraction of the time: its words that begin with
/// an ASCII letter or digit after white space. No tokenizer joins such words into one token.
#[must_use]
pub fn least_tokens(text: &str) -> usize {
    let mut after_space = true;
    let mut words = 0;
    for byte in text.bytes() {
        words += usize::from(after_space && byte.is_ascii_alphanumeric());
        after_space = byte.is_ascii_whitespace();
    }
    words
}

/// Characters of `text` that the model learns nothing of: those behind unknown tokens, and those that
/// the tokenizer deleted. White space, combining marks, controls and what joins or presents other
/// characters say nothing by themselves and do not count. The second number is that of the characters among
/// them which may be part of words.
fn unread(text: &str, tokens: &TokenizedText) -> (usize, usize) {
    let counts = |c: &char| {
        !(c.is_whitespace()
            || c.is_control()
            || is_combining_mark(*c)
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'))
    };
    let says = |c: &char| {
        c.is_alphabetic() || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fffd}' | '\u{f0000}'..)
    };
    let (mut unread, mut illegible) = (0, 0);
    let mut count = |piece: &str| {
        for c in piece.chars().filter(counts) {
            unread += 1;
            illegible += usize::from(says(&c));
        }
    };
    let mut read_to = 0;
    for (&(start, end), &id) in tokens.spans.iter().zip(&tokens.ids) {
        let from = if Some(id) == tokens.unknown_id {
            read_to..end // with what was deleted before it
        } else {
            read_to..start
        };
        if let Some(piece) = text.get(from) {
            count(piece);
        }
        read_to = read_to.max(end);
    }
    count(text.get(read_to..).unwrap_or_default());
    (unread, illegible)
}

/// WordPiece gives up on a whole word, and makes it one unknown token, when the word is longer than a
/// limit (100 characters) or holds a single character it has no piece for: two ways past any detector.
/// After the model's own splitting, such characters are set apart and long words are cut.
fn split_words_wordpiece_would_drop(tokenizer: &mut Tokenizer) -> Result<(), TokenizerError> {
    let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
        return Ok(());
    };
    let longest = model.max_input_chars_per_word.max(1);
    let prefix = model.continuing_subword_prefix.clone();
    let mut known = String::new();
    let vocabulary = tokenizer.get_vocab(false);
    for token in vocabulary.keys() {
        let mut chars = token.chars();
        if let (Some(c), None) = (chars.next(), chars.next())
            && vocabulary.contains_key(&format!("{prefix}{c}"))
        {
            known.push_str(&format!("\\x{{{:x}}}", c as u32));
        }
    }
    let mut steps: Vec<PreTokenizerWrapper> =
        tokenizer.get_pre_tokenizer().cloned().into_iter().collect();
    if !known.is_empty() {
        let pattern = SplitPattern::Regex(format!("[^{known}]"));
        let apart = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
            .map_err(|e| TokenizerError::Read(e.to_string()))?;
        steps.push(PreTokenizerWrapper::Split(apart));
    }
    steps.push(PreTokenizerWrapper::FixedLength(FixedLength::new(longest)));
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(steps))));
    Ok(())
}

/// The bytes of `text` behind a token, on character boundaries and without the white space around
/// it. A token that is a mark for a space that is not there has none.
fn span(text: &str, (start, end): (usize, usize), token: &str) -> (usize, usize) {
    let start = floor_char_boundary(text, start);
    let mut end = end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let covered = &text[start..end];
    let inner = covered.trim();
    if inner.is_empty() {
        return (start, end); // the token is the white space
    }
    if token == SPACE_MARK {
        return (start, start);
    }
    let before = covered.len() - covered.trim_start().len();
    (start + before, start + before + inner.len())
}

/// What SentencePiece writes for a space.
const SPACE_MARK: &str = "\u{2581}";

/// Unigram models list special tokens among their pieces, and would find them in a text that spells
/// them out: renamed, they are found no more. Their ids stay.
fn hide_special_pieces(
    tokenizer: &mut Tokenizer,
    special: &HashSet<u32>,
) -> Result<(), TokenizerError> {
    let ModelWrapper::Unigram(model) = tokenizer.get_model() else {
        return Ok(());
    };
    let read = |e: &dyn std::fmt::Display| TokenizerError::Read(e.to_string());
    let described = serde_json::to_value(model).map_err(|e| read(&e))?;
    let unknown = described["unk_id"].as_u64().map(|id| id as usize);
    let pieces = (0u32..)
        .zip(model.iter())
        .map(|(id, (piece, score))| match special.contains(&id) {
            // A control character that every normaliser of such models deletes.
            true => (format!("\0{id}\0"), *score),
            false => (piece.clone(), *score),
        })
        .collect();
    let hidden = Unigram::from(pieces, unknown, model.byte_fallback()).map_err(|e| read(&e))?;
    tokenizer.with_model(hidden);
    Ok(())
}

/// The piece a Unigram model falls back to, which its file names by index alone.
fn unigram_unknown(model: &Unigram) -> Option<String> {
    let described = serde_json::to_value(model).ok()?;
    let index = described["unk_id"].as_u64()?;
    let piece = model.iter().nth(index as usize)?;
    Some(piece.0.clone())
}

/// The special tokens the post-processor puts around a single text.
fn special_tokens(tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let encoding = tokenizer
        .encode("a", true)
        .map_err(|e| TokenizerError::Read(e.to_string()))?;
    let special = encoding.get_special_tokens_mask();
    let ids = encoding.get_ids();
    let Some(first) = special.iter().position(|&s| s == 0) else {
        return Err(TokenizerError::Read(
            "the text \"a\" yields no token".into(),
        ));
    };
    let last = special.iter().rposition(|&s| s == 0).unwrap_or(first);
    Ok((ids[..first].to_vec(), ids[last + 1..].to_vec()))
}
