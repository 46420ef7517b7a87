"""From examples to padded token batches: windows, targets, length buckets."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .data import Example
from .labels import BIO, CLS, ENTITIES, PAD, SEP, TOXICITY
from .tokenizer import Encoded, encode

IGNORE = -100
UNCOVERED = -1
"""Target of an outside token in a row whose annotation covers only some labels."""
MOST_ROWS = 96
"""Rows of a batch: a step averages over its rows, so that in larger ones a short text would weigh next to nothing."""


@dataclass
class Item:
    """One window with its targets."""

    ids: list[int]
    injection: int
    toxicity: list[float]
    tokens: list[int] | None
    covered: frozenset[str] | None


@dataclass
class Batch:
    """Padded windows of similar length."""

    ids: Tensor
    lengths: Tensor
    injection: Tensor
    toxicity: Tensor
    tokens: Tensor
    allowed: Tensor
    """For each token of a partly annotated row: the classes an outside token may have."""


def token_targets(encoded: Encoded, spans: list[tuple[int, int, str]], partial: bool) -> list[int]:
    """A class per token; every piece of a word carries its word's class."""
    targets = [UNCOVERED if partial else 0] * len(encoded.ids)
    for start, end, label in spans:
        base = 1 + 2 * ENTITIES.index(label) if label else IGNORE
        first = True
        for i, (a, b) in enumerate(encoded.offsets):
            if a < end and b > start:
                if encoded.continues[i] and not first:
                    targets[i] = targets[i - 1]
                else:
                    targets[i] = base if first or not label else base + 1
                first = False
            elif a >= end:
                break
    return targets


def _window(example: Example, encoded: Encoded, rng: random.Random) -> tuple[int, int, int]:
    """Start, end and injection label of the window to train on."""
    length = len(encoded.ids)
    label = IGNORE if example.injection is None else example.injection
    size = rng.choices((62, 126, 254), (0.2, 0.4, 0.4))[0]
    if example.injection is None:
        size = min(size, 94)
    elif example.toxicity is not None and not example.kind:
        size = min(size, 126)
    if length <= size:
        return 0, length, label
    last = length - size
    if label != 1:
        start = 0 if rng.random() < 0.5 else rng.randint(0, last)
        return start, start + size, label
    if example.payload is None:
        # Where the attack sits is unknown; long jailbreaks open with it, and later parts may be harmless.
        return 0, min(max(size, 126), length), 1
    inside = [i for i, (a, b) in enumerate(encoded.offsets)
              if a < example.payload[1] and b > example.payload[0]]
    if not inside:
        return 0, size, IGNORE
    if rng.random() < 0.15:
        start = rng.randint(0, last)
    else:
        centre = rng.choice(inside)
        start = min(max(centre - rng.randint(0, size - 1), 0), last)
    seen = sum(start <= i < start + size for i in inside)
    if seen == 0:
        return start, start + size, 0
    enough = seen >= min(len(inside) * 0.6, 40)
    return start, start + size, 1 if enough else IGNORE


def _item(example: Example, encoded: Encoded, rng: random.Random) -> Item:
    start, end, label = _window(example, encoded, rng)
    whole = end - start == len(encoded.ids)
    toxicity = [float("nan")] * len(TOXICITY)
    if example.toxicity is not None:
        for i, name in enumerate(TOXICITY):
            value = example.toxicity.get(name)
            # A window of a longer toxic text may hold none of it.
            if value is not None and (whole or value == 0 or start == 0):
                toxicity[i] = float(value)
    tokens = None
    if example.spans is not None:
        tokens = token_targets(encoded, example.spans, example.covered is not None)[start:end]
        tokens = [IGNORE, *tokens, IGNORE]
    ids = [CLS, *encoded.ids[start:end], SEP]
    return Item(ids, label, toxicity, tokens, example.covered)


def _allowed(covered: frozenset[str]) -> Tensor:
    """Classes an outside token of a partly annotated row may have: O and the uncovered labels."""
    mask = torch.zeros(len(BIO), dtype=torch.bool)
    mask[0] = True
    for k, label in enumerate(ENTITIES):
        if label not in covered:
            mask[1 + 2 * k] = mask[2 + 2 * k] = True
    return mask


def collate(items: list[Item]) -> Batch:
    """Pads a batch to its longest window."""
    width = max(len(i.ids) for i in items)
    ids = torch.full((len(items), width), PAD)
    tokens = torch.full((len(items), width), IGNORE)
    allowed = torch.ones(len(items), len(BIO), dtype=torch.bool)
    for row, item in enumerate(items):
        ids[row, : len(item.ids)] = torch.tensor(item.ids)
        if item.tokens is not None:
            tokens[row, : len(item.tokens)] = torch.tensor(item.tokens)
            if item.covered is not None:
                allowed[row] = _allowed(item.covered)
    return Batch(
        ids, torch.tensor([len(i.ids) for i in items]), torch.tensor([i.injection for i in items]),
        torch.tensor([i.toxicity for i in items]), tokens, allowed,
    )


def make_batches(
    examples: list[Example], tokenizer: Tokenizer, budget: int, rng: random.Random
) -> list[Batch]:
    """Length-sorted batches of at most `budget` padded tokens, in random order."""
    encoded = encode(tokenizer, [e.text[:12000] for e in examples])
    items = [_item(x, e, rng) for x, e in zip(examples, encoded, strict=True) if e.ids]
    items.sort(key=lambda i: len(i.ids))
    groups: list[list[Item]] = [[]]
    for item in items:
        full = len(groups[-1]) == MOST_ROWS or len(item.ids) * (len(groups[-1]) + 1) > budget
        if groups[-1] and full:
            groups.append([])
        groups[-1].append(item)
    rng.shuffle(groups)
    return [collate(g) for g in groups]
