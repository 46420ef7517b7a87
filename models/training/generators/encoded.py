"""Harmless strings that look hidden: encoded texts, hashes, data URIs, dumps, and games with letters."""

from __future__ import annotations

import base64
import codecs
import hashlib
import random
import uuid

from . import roles
from .grammar import Slots, capital, expand, pick

SLOTS: Slots = roles.SLOTS | {
    "word": ["stressed", "banana", "lighthouse", "umbrella", "keyboard", "violin", "mountain", "pretzel", "system", "override",
             "library", "ignore", "parrot", "sandwich", "secret", "horizon", "instruction", "cinnamon", "planet", "prompt"],
    "phrase": ["the early bird catches the worm", "happy birthday, grandma", "meet me at the station", "bread and butter",
               "good night and sleep well", "all roads lead to Rome", "the shop opens at nine", "never odd or even"],
}

DECODE = [
    "Decode this: {blob}", "What does {blob} say?", "What is the plain text of {blob}?", "Please decode {blob} for me",
    "decode: {blob}", "{blob} - which encoding is this?", "My friend sent me {blob}. What does it mean?", "How do I decode {blob} in Python?",
    "I found the string {blob} in a log file. Is it base64 or hex?", "Translate {blob} into text and explain the steps.",
    "The cookie holds {blob}; what is stored in it?", "Puzzle of the day: {blob}", "geocache hint: {blob}", "Is {blob} valid base64?",
    "Convert {blob} to ASCII.", "{blob}\n\nWhat is this?", "Solve the cipher {blob}. It is a proverb.", "Why does atob('{blob}') fail?",
    "encode '{phrase}' as base64", "Encode the sentence '{phrase}' in hex.", "What is '{phrase}' in ROT13?", "Write '{phrase}' in Morse code.",
    "Show '{phrase}' as binary.", "Write a function that decodes strings such as {blob}.", "Our quiz: decode {blob} and win a cake.",
    "Explain why base64 ends with = as in {blob}", "Compare {blob} with its URL-safe form.", "hex to text: {blob}", "base64 decode {blob}", "is this a hash or an encoding? {blob}",
]
LETTERS = [
    "write '{word}' backwards", "Spell '{word}' in reverse.", "Reverse the string \"{word}\".", "What is '{word}' read from right to left?",
    "How many letters are in '{word}'?", "How many times does the letter e occur in '{word}'?", "Give me an anagram of '{word}'.",
    "Write '{word}' in pig Latin.", "Put a dot between the letters of '{word}'.", "Remove every vowel from '{phrase}'.", "Is '{phrase}' a palindrome?",
    "Spell '{word}' with the NATO alphabet.", "Make an acrostic of {word}.", "Write '{phrase}' in upper case.", "Shift each letter of '{word}' by three.",
    "Which words rhyme with {word}?", "Swap the first and last letter of {word}.", "write {word} upside down", "Sort the letters of '{word}'.",
    "Repeat the word '{word}' five times.", "Write {word} in leet speak.", "Replace each vowel in '{phrase}' by a star.", "Say '{phrase}' like Yoda.", "Write '{phrase}' with the words in reverse order.",
    "S-P-E-L-L {word} for me, letter by letter", "Take every second letter of '{phrase}'.", "What is the first letter of each word in '{phrase}'?", "hyphenate {word}",
]
ASKS = ["What is this?", "Explain each line.", "Is there an error in it?", "Describe the picture.", "Why is the page slow?", "Convert it to JSON.",
        "Which tool wrote this?", "Find the duplicate entry.", "How do I read this?", "Please format it.", "Are the checksums right?", "Make it shorter."]
NAMES = ["setup.exe", "data.tar.gz", "image.iso", "model.bin", "photo.png", "app.min.js", "notes.pdf", "font.woff2", "archive.zip", "libcore.so"]
KINDS = ["image/png", "image/jpeg", "image/gif", "image/svg+xml", "font/woff2", "application/pdf", "audio/mpeg", "image/webp"]
MORSE = dict(zip("abcdefghijklmnopqrstuvwxyz", ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..".split(), strict=True))


def blob(text: str, rng: random.Random) -> str:
    """A harmless text in one of the usual encodings."""
    kind = rng.randrange(8)
    if kind < 3:
        return base64.b64encode(text.encode()).decode()
    if kind == 3:
        return text.encode().hex()
    if kind == 4:
        return text.encode().hex(" ")
    if kind == 5:
        return codecs.encode(text, "rot13")
    if kind == 6:
        return " ".join(f"{b:08b}" for b in text.encode()[:12])
    return " ".join(MORSE.get(c, "/") for c in text.lower())


def _noise(rng: random.Random, low: int, high: int) -> str:
    return base64.b64encode(rng.randbytes(rng.randint(low, high))).decode()


def _uri(rng: random.Random) -> str:
    kind = rng.choice(KINDS)
    start = {"image/png": "iVBORw0KGgoAAAANSUhEUgAA", "image/jpeg": "/9j/4AAQSkZJRgABAQ", "image/gif": "R0lGODlhAQABAIAA"}.get(kind, "")
    uri = f"data:{kind};base64,{start}{_noise(rng, 30, 900)}"
    return rng.choice(["{}", "![logo]({})", '<img src="{}" alt="logo">', "background: url({}) no-repeat;", '{{"icon": "{}"}}', "src: url('{}')"]).format(uri)


def _line(kind: int, rng: random.Random) -> str:
    if kind == 0:
        return f"{hashlib.sha256(rng.randbytes(8)).hexdigest()}  {rng.choice(NAMES)}"
    if kind == 1:
        return str(uuid.UUID(int=rng.getrandbits(128)))
    if kind == 2:
        row = rng.randbytes(16)
        shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        return f"{rng.randrange(0, 65536, 16):08x}  {row.hex(' ')}  |{shown}|"
    if kind == 3:
        return f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{_noise(rng, 32, 33)} user@host{rng.randint(1, 99)}"
    if kind == 4:
        return f'checksum = "sha512-{_noise(rng, 64, 64)}"'
    if kind == 5:
        return f"commit {rng.randbytes(20).hex()}"
    if kind == 6:
        return "".join(rng.choice("ACGT") for _ in range(60))
    if kind == 7:
        return f"0x{rng.getrandbits(64):016x}: mov r{rng.randint(0, 15)}, 0x{rng.getrandbits(16):x}"
    return f"{rng.random() * 100:.4f},{rng.random():.6f},{rng.randint(0, 9999)}"


def _dump(rng: random.Random) -> str:
    kind = rng.randrange(9)
    return "\n".join(_line(kind, rng) for _ in range(rng.randint(1, 25)))


def text(rng: random.Random, validation: bool = False) -> str:
    """A request about an encoded text, a game with letters, or a dump with or without a question."""
    kind = rng.random()
    if kind < 0.35:
        hidden = expand("{phrase}", SLOTS, rng) if rng.random() < 0.5 else roles.plain(rng, validation)[:160]
        out = expand(pick(DECODE, rng, validation), SLOTS, rng).replace("{blob}", blob(hidden, rng))
    elif kind < 0.6:
        out = expand(pick(LETTERS, rng, validation), SLOTS, rng)
    else:
        out = _uri(rng) if kind < 0.8 else _dump(rng)
        ask = pick(ASKS, rng, validation) if rng.random() < 0.6 else roles.plain(rng, validation)
        out = rng.choice([out, f"{ask}\n{out}", f"{out}\n\n{ask}", f"{ask} {out}"])
    return capital(out) if rng.random() < 0.7 else out
