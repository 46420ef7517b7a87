"""From window scores to one answer per text: folding, word groups, Viterbi, spans."""

from __future__ import annotations

import re
import unicodedata

import numpy as np

from .labels import BIO, ENTITIES, FORMATS
from .tokenizer import Encoded
from .data import Span

FLOOR = 1e-30


def fold(ranges: list[tuple[int, int]], scores: list[np.ndarray], length: int) -> np.ndarray:
    """Token scores of overlapping windows; each token from the window whose edge is farther away."""
    out = np.zeros((length, scores[0].shape[1]), np.float32)
    best = np.full(length, -1)
    for (start, end), part in zip(ranges, scores, strict=True):
        places = np.arange(start, end)
        left = places - start if start > 0 else np.full(end - start, length)
        right = end - 1 - places if end < length else np.full(end - start, length)
        margin = np.minimum(left, right)
        better = margin > best[start:end]
        out[start:end][better] = part[better]
        best[start:end] = np.where(better, margin, best[start:end])
    return out


def _transitions() -> np.ndarray:
    """allowed[i, j]: class j may follow class i (I-X only after B-X or I-X)."""
    count = len(BIO)
    allowed = np.ones((count, count), bool)
    for k in range(len(ENTITIES)):
        allowed[:, 2 + 2 * k] = False
        allowed[1 + 2 * k, 2 + 2 * k] = allowed[2 + 2 * k, 2 + 2 * k] = True
    return allowed


_ALLOWED = np.where(_transitions(), 0.0, -1e9).astype(np.float32)
_START = np.where([name.startswith("I-") for name in BIO], -1e9, 0.0).astype(np.float32)


SEPARATORS = ",;|"
"""Characters that, with white space, no entity begins or ends with."""


def _viterbi(probabilities: np.ndarray) -> list[int]:
    """The best legal sequence of classes."""
    log_p = np.log(np.maximum(probabilities, FLOOR))
    score = log_p[0] + _START
    back = []
    for row in log_p[1:]:
        paths = score[:, None] + _ALLOWED
        back.append(paths.argmax(0))
        score = paths.max(0) + row
    path = [int(score.argmax())]
    for step in reversed(back):
        path.append(int(step[path[-1]]))
    return path[::-1]


def words(encoded: Encoded) -> list[list[int]]:
    """Token numbers of each word."""
    groups: list[list[int]] = []
    for i, continues in enumerate(encoded.continues):
        if continues:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _joins(char: str) -> bool:
    """Whether a character is seen as part of the one before it."""
    return unicodedata.category(char) in ("Mn", "Me", "Mc") or char == "\u200d"


def _tidy(text: str, start: int, end: int) -> tuple[int, int]:
    """The span with whole visible characters and without separators at its ends."""
    while start > 0 and start < len(text) and _joins(text[start]):
        start -= 1
    while end < len(text) and _joins(text[end]):
        end += 1
    while start < end and (text[start].isspace() or text[start] in SEPARATORS):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in SEPARATORS):
        end -= 1
    return start, end


def spans(text: str, encoded: Encoded, probabilities: np.ndarray) -> list[tuple[Span, float]]:
    """Entities of a text with their scores, before any threshold."""
    if not encoded.ids:
        return []
    groups = words(encoded)
    mean = np.stack([probabilities[g].mean(0) for g in groups])
    bounds = [(encoded.offsets[g[0]][0], encoded.offsets[g[-1]][1]) for g in groups]
    path = _viterbi(mean)
    found: list[tuple[int, int, str, list[float]]] = []
    for (start, end), row, label in zip(bounds, mean, path, strict=True):
        if label == 0:
            continue
        base = (label - 1) // 2
        score = float(row[1 + 2 * base] + row[2 + 2 * base])
        name = ENTITIES[base]
        if BIO[label].startswith("I-"):
            first, _, _, all_scores = found[-1]
            found[-1] = (first, end, name, [*all_scores, score])
        else:
            found.append((start, end, name, [score]))
    out = []
    for start, end, name, all_scores in found:
        start, end = _tidy(text, start, end)
        if end > start and re.search(FORMATS.get(name, ""), text[start:end]):
            out.append(((start, end, name), float(np.mean(all_scores))))
    return out
