//! One tokenizer of a package: text in, token ids with exact byte spans out.
//!
//! What a hub `tokenizer.json` says about truncation and padding is switched off, because windows
//! are ours; special tokens written in a user's text are text.

use std::path::Path;

use tokenizers::models::ModelWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::fixed_length::FixedLength;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::tokenizer::Tokenizer;

use super::position::floor_char_boundary;

/// A loaded `tokenizer.json`, ready to be shared between threads.
#[derive(Debug)]
pub struct TextTokenizer {
    inner: Tokenizer,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
}

/// Tokens of one text, without special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedText {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Bytes `start..end` of the original text behind each token, on character boundaries.
    pub spans: Vec<(usize, usize)>,
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
        split_words_wordpiece_would_drop(&mut inner);
        let (prefix, suffix) = special_tokens(&inner)?;
        Ok(Self {
            inner,
            prefix,
            suffix,
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
            .map(|&(start, end)| {
                let start = floor_char_boundary(text, start);
                let mut end = end.clamp(start, text.len());
                while !text.is_char_boundary(end) {
                    end += 1;
                }
                (start, end)
            })
            .collect();
        Ok(TokenizedText {
            ids: encoding.get_ids().to_vec(),
            spans,
            continues_word,
        })
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

/// WordPiece turns a word longer than its limit (100 characters) into a single unknown token: a way
/// past any detector. Words are cut at the limit instead, after the model's own splitting.
fn split_words_wordpiece_would_drop(tokenizer: &mut Tokenizer) {
    let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
        return;
    };
    let cut = PreTokenizerWrapper::FixedLength(FixedLength::new(model.max_input_chars_per_word));
    let steps = match tokenizer.get_pre_tokenizer() {
        Some(own) => vec![own.clone(), cut],
        None => vec![cut],
    };
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(steps))));
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
