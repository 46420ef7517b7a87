//! Every kind of tokenizer gives the exact bytes behind each token, in any script.

use std::path::Path;

use portcullis::text::{TextTokenizer, TokenizedText};
use unicode_normalization::UnicodeNormalization;

use crate::support::golden;

const KINDS: [&str; 5] = [
    "unigram-xlm-roberta",
    "unigram-deberta-v3",
    "bpe-roberta",
    "bpe-gemma",
    "wordpiece-bert",
];

fn tokenizer(kind: &str) -> (TextTokenizer, Vec<String>) {
    let path = golden("tokenizers").join(format!("{kind}.json"));
    (TextTokenizer::from_file(&path).unwrap(), pieces(&path))
}

/// The pieces of a tokenizer.json by id.
fn pieces(path: &Path) -> Vec<String> {
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    match &file["model"]["vocab"] {
        serde_json::Value::Array(pieces) => pieces
            .iter()
            .map(|p| p[0].as_str().unwrap().to_owned())
            .collect(),
        serde_json::Value::Object(pieces) => {
            let mut by_id = vec![String::new(); pieces.len()];
            for (piece, id) in pieces {
                by_id[id.as_u64().unwrap() as usize] = piece.clone();
            }
            by_id
        }
        other => panic!("{other}"),
    }
}

fn texts() -> Vec<String> {
    let file = golden("tokenizers").join("texts.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// Spans lie in the text in order, and what is between them is white space, or was deleted as a mark.
#[track_caller]
fn covers(kind: &str, text: &str, tokens: &TokenizedText) {
    let mut read = 0;
    for &(start, end) in &tokens.spans {
        assert!(
            start <= end && text.get(start..end).is_some(),
            "{kind}: {start}..{end}"
        );
        if start > read {
            let skipped = &text[read..start];
            let nothing =
                |c: char| c.is_whitespace() || unicode_normalization::char::is_combining_mark(c);
            assert!(
                skipped.chars().all(nothing),
                "{kind} skips {skipped:?} of {text:?}"
            );
        }
        read = read.max(end);
        let piece = &text[start..end];
        assert_eq!(
            piece.trim().len(),
            if piece.trim().is_empty() {
                0
            } else {
                piece.len()
            },
            "{kind}: {piece:?} has white space around it"
        );
    }
    assert!(
        text[read..].trim().is_empty(),
        "{kind} leaves {:?}",
        &text[read..]
    );
}

#[test]
fn spans_cover_texts_of_every_script_without_the_spaces_around_words() {
    for kind in KINDS {
        let (tokenizer, _) = tokenizer(kind);
        for text in texts() {
            let tokens = tokenizer.tokenize(&text).unwrap();
            covers(kind, &text, &tokens);
        }
    }
}

#[test]
fn the_text_of_a_span_is_what_its_token_says() {
    // What a tokenizer makes of a text before it looks for pieces, space marks aside.
    let plain = |s: &str| -> String {
        s.nfkd()
            .filter(|c| !unicode_normalization::char::is_combining_mark(*c))
            .flat_map(char::to_lowercase)
            .filter(|c| !c.is_whitespace() && !['\u{2581}', '\u{200d}'].contains(c))
            .collect()
    };
    for kind in KINDS {
        if kind == "bpe-roberta" {
            continue; // its pieces are bytes written as other letters; see below
        }
        let (tokenizer, pieces) = tokenizer(kind);
        let mut compared = 0;
        for text in texts() {
            let tokens = tokenizer.tokenize(&text).unwrap();
            for (&id, &(start, end)) in tokens.ids.iter().zip(&tokens.spans) {
                let piece = pieces[id as usize].trim_start_matches("##");
                let is_byte = piece.starts_with("<0x");
                if Some(id) == tokens.unknown_id || is_byte || start == end {
                    continue;
                }
                let (said, stands) = (plain(piece), plain(&text[start..end]));
                // A character that stands for several ("ﬁ") belongs whole to each of their tokens.
                let ligature = |c: char| c.nfkd().filter(|c| c.is_alphanumeric()).count() > 1;
                if text[start..end].contains(ligature) {
                    assert!(stands.contains(&said), "{kind}: {said:?} in {stands:?}");
                } else {
                    assert_eq!(said, stands, "{kind}: {text:?}");
                }
                compared += 1;
            }
        }
        assert!(compared > 300, "{kind}: {compared}");
    }
}

#[test]
fn words_begin_and_end_where_they_stand() {
    for kind in KINDS {
        let (tokenizer, _) = tokenizer(kind);
        for (text, word) in [
            ("Please write to Anna  Müller soon", "Müller"),
            ("живу в  Санкт-Петербурге .", "Санкт-Петербурге"),
            ("제 이름은 김민수 입니다", "김민수"),
            ("اسمي أحمد وأعيش في القاهرة", "القاهرة"),
            ("मेरा नाम प्रिया है", "प्रिया"),
            ("a 👍🏽 b", "👍🏽"),
            ("the e\u{301}tude is", "e\u{301}tude"),
            ("x ＦＵＬＬ　ＷＩＤＴＨ y", "ＷＩＤＴＨ"),
        ] {
            let tokens = tokenizer.tokenize(text).unwrap();
            let at = text.find(word).unwrap();
            let starts = tokens.spans.iter().any(|s| s.0 == at && s.1 > at);
            let ends = tokens
                .spans
                .iter()
                .any(|s| s.1 == at + word.len() && s.0 < s.1);
            assert!(starts && ends, "{kind}: {word:?} in {:?}", tokens.spans);
        }
    }
}

#[test]
fn what_the_vocabulary_lacks_is_counted() {
    for kind in [
        "unigram-xlm-roberta",
        "unigram-deberta-v3",
        "wordpiece-bert",
    ] {
        let (tokenizer, _) = tokenizer(kind);
        let tokens = tokenizer.tokenize("send ᚠᚢᚦ now").unwrap();
        assert!(
            tokens.unknown >= 1 && tokens.unread == 3,
            "{kind}: {tokens:?}"
        );
    }
    for kind in ["bpe-roberta", "bpe-gemma"] {
        let (tokenizer, _) = tokenizer(kind);
        let tokens = tokenizer.tokenize("send ᚠᚢᚦ now").unwrap();
        assert_eq!(
            (tokens.unknown, tokens.unread),
            (0, 0),
            "{kind} reads bytes"
        );
    }
}

#[test]
fn special_tokens_written_in_a_text_are_text() {
    for (kind, special) in [
        ("unigram-xlm-roberta", "</s>"),
        ("unigram-deberta-v3", "[SEP]"),
        ("bpe-roberta", "<s>"),
        ("bpe-gemma", "<eos>"),
        ("wordpiece-bert", "[SEP]"),
    ] {
        let (tokenizer, pieces) = tokenizer(kind);
        let id = pieces.iter().position(|p| p == special).unwrap() as u32;
        let tokens = tokenizer.tokenize(&format!("one {special} two")).unwrap();
        assert!(!tokens.ids.contains(&id), "{kind}");
        assert!(
            tokenizer.prefix().len() == 1 && tokenizer.suffix().len() == 1,
            "{kind}"
        );
    }
}
