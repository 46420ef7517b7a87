"""Character-level evasions and plain noise, applied to training texts."""

from __future__ import annotations

import random
import re
import unicodedata

HOMOGLYPHS = {
    "a": "аɑα", "c": "сϲ", "d": "ԁ", "e": "её", "g": "ɡ", "h": "һ", "i": "іι", "j": "ј", "k": "κк",
    "l": "ӏ", "m": "м", "n": "ո", "o": "оοо", "p": "рρ", "q": "ԛ", "r": "г", "s": "ѕ", "t": "т",
    "u": "υս", "v": "ν", "w": "ԝ", "x": "х", "y": "уγ", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "С", "E": "ЕΕ", "H": "НΗ", "I": "ІΙ", "K": "КΚ", "M": "МΜ", "N": "Ν",
    "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "ΥҮ",
}
LEET = {"a": "4@", "e": "3", "i": "1!", "o": "0", "s": "5$", "t": "7", "b": "8", "g": "9", "l": "1"}
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
NEAR = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo",
    "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et",
    "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}


def _swap(text: str, table: dict[str, str], rate: float, rng: random.Random) -> str:
    return "".join(
        rng.choice(table[c]) if c in table and rng.random() < rate else c for c in text
    )


def homoglyphs(text: str, rng: random.Random) -> str:
    return _swap(text, HOMOGLYPHS, rng.uniform(0.1, 0.6), rng)


def leet(text: str, rng: random.Random) -> str:
    return _swap(text, LEET, rng.uniform(0.3, 0.9), rng)


def zero_width(text: str, rng: random.Random) -> str:
    rate = rng.uniform(0.05, 0.4)
    return "".join(c + rng.choice(ZERO_WIDTH) if rng.random() < rate else c for c in text)


def full_width(text: str, rng: random.Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _words(text: str, rate: float, rng: random.Random, change) -> str:
    return re.sub(
        r"[^\W\d_]{3,}", lambda m: change(m.group()) if rng.random() < rate else m.group(), text
    )


def spaced(text: str, rng: random.Random) -> str:
    """Letters pulled apart, in some words or in all of them."""
    glue = rng.choice([" ", " ", ".", "-", "_", "*"])
    rate = rng.choice([0.25, 0.5, 1.0])
    return _words(text, rate, rng, lambda w: glue.join(w))


def token_break(text: str, rng: random.Random) -> str:
    """A stray letter before a word, which breaks its word pieces."""
    return _words(
        text, rng.uniform(0.15, 0.5), rng, lambda w: rng.choice("abcdefhilmnorstuxyz") + w
    )


def punctuated(text: str, rng: random.Random) -> str:
    def change(word: str) -> str:
        at = rng.randrange(1, len(word))
        return word[:at] + rng.choice(".-_*'|/~") + word[at:]

    return _words(text, rng.uniform(0.15, 0.6), rng, change)


def cased(text: str, rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.lower()
    if kind == 2:
        return "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in text)
    return text.title()


def typos(text: str, rng: random.Random) -> str:
    def change(word: str) -> str:
        at = rng.randrange(len(word) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if kind == 1:
            return word[:at] + word[at + 1 :]
        if kind == 2:
            return word[:at] + word[at] + word[at:]
        return word[:at] + rng.choice(NEAR.get(word[at].lower(), word[at])) + word[at + 1 :]

    return _words(text, rng.uniform(0.05, 0.3), rng, change)


def accents(text: str, rng: random.Random) -> str:
    marks = "\u0301\u0300\u0308\u0302\u0336\u0323"
    rate = rng.uniform(0.1, 0.5)
    out = "".join(c + rng.choice(marks) if c.isalpha() and rng.random() < rate else c for c in text)
    return unicodedata.normalize("NFC", out)


def squeezed(text: str, rng: random.Random) -> str:
    """White space changed: doubled, turned into line breaks or dropped."""
    glue = rng.choice(["  ", "\n", "", "\t", " \n "])
    rate = rng.uniform(0.05, 0.3)
    return re.sub(" ", lambda m: glue if rng.random() < rate else " ", text)


EVASIONS = [homoglyphs, leet, zero_width, full_width, spaced, token_break, punctuated, cased, typos,
            accents, squeezed]
MILD = [typos, cased, squeezed, token_break]


def evade(text: str, rng: random.Random) -> str:
    """One evasion, now and then two."""
    for change in rng.sample(EVASIONS, 2 if rng.random() < 0.15 else 1):
        text = change(text, rng)
    return text


def noise(text: str, rng: random.Random) -> str:
    """What careless typing does, without the intent to evade."""
    return rng.choice(MILD)(text, rng)


def lower_spans(text: str, rng: random.Random) -> str:
    """A change of case that keeps every character's place (for texts with spans)."""
    changed = text.lower() if rng.random() < 0.75 else text.upper()
    return changed if len(changed) == len(text) else text
