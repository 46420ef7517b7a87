"""The package's tokenizer: BERT's word pieces, plus every emoji as a word of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emoji
from tokenizers import Regex, Tokenizer, pre_tokenizers

from .labels import MAX_LENGTH, MAX_WORD_CHARS, STRIDE

SYMBOL = r"\p{S}"


def emoji_names(vocab: dict[str, int]) -> dict[str, str]:
    """Single-code-point emoji that the vocabulary lacks, each with the words of its name."""
    names = {
        char: data["en"].strip(":").replace("_", " ").replace("-", " ")
        for char, data in emoji.EMOJI_DATA.items()
        if len(char) == 1 and char not in vocab
    }
    for i in range(26):
        names[chr(0x1F1E6 + i)] = f"flag letter {chr(ord('a') + i)}"
    return dict(sorted(names.items()))


def build(base: Path) -> tuple[dict[str, Any], list[str]]:
    """The package's tokenizer.json made from the base model's, and the new tokens' names by id."""
    spec = json.loads(base.read_text(encoding="utf-8"))
    vocab = spec["model"]["vocab"]
    names = emoji_names(vocab)
    for new_id, char in enumerate(names, start=len(vocab)):
        spec["added_tokens"].append(
            {"id": new_id, "content": char, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": False}
        )
    spec["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SYMBOL}, "behavior": "Isolated", "invert": False},
            {"type": "BertPreTokenizer"},
        ],
    }
    spec["truncation"] = None
    spec["padding"] = None
    return spec, list(names.values())


def load(spec: dict[str, Any] | str) -> Tokenizer:
    """A tokenizer as the server runs it: special tokens in user text are text, long words are cut."""
    tokenizer = Tokenizer.from_str(spec if isinstance(spec, str) else json.dumps(spec))
    tokenizer.encode_special_tokens = True
    long_words = pre_tokenizers.Split(Regex(f".{{{MAX_WORD_CHARS}}}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, long_words])
    return tokenizer


@dataclass
class Encoded:
    """Content tokens of one text, without [CLS] and [SEP]."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    continues: list[bool]
    """Whether a token belongs to the same word as the one before it."""


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[Encoded]:
    """Content tokens of many texts with character offsets."""
    out = []
    for e in tokenizer.encode_batch(texts, add_special_tokens=False):
        continues = [
            i > 0 and token.startswith("##") and e.offsets[i - 1][1] == e.offsets[i][0]
            for i, token in enumerate(e.tokens)
        ]
        out.append(Encoded(e.ids, e.offsets, continues))
    return out


def windows(length: int, max_length: int = MAX_LENGTH, stride: int = STRIDE) -> list[tuple[int, int]]:
    """The content-token ranges that cover `length` tokens."""
    size = max_length - 2
    ranges = [(0, min(size, length))]
    while ranges[-1][1] < length:
        start = ranges[-1][0] + size - stride
        ranges.append((start, min(start + size, length)))
    return ranges
