"""From window scores to one answer per text: folding, word groups, Viterbi, spans."""

from __future__ import annotations

import numpy as np

from .labels import BIO, ENTITIES
from .tokenizer import Encoded
from .data import Span

FLOOR = 1e-12


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


_INSIDE = np.array([name.startswith("I-") and name != "I-ADDRESS" for name in BIO])
_AFTER_BREAK = np.where(_INSIDE[None, :], -1e9, _ALLOWED).astype(np.float32)
"""Transitions across a line break or tab: only an address goes on."""

TAIL = " \t\r\n,;:/|"
"""Characters that no entity but a password ends with."""
DOTTED = {"PERSON", "ORGANIZATION", "LOCATION", "ADDRESS", "PASSWORD"}
"""Labels whose values may end with a full stop."""


def _viterbi(probabilities: np.ndarray, breaks: list[bool]) -> list[int]:
    """The best legal sequence of classes; `breaks` marks words that follow a line break or tab."""
    log_p = np.log(np.maximum(probabilities, FLOOR))
    score = log_p[0] + _START
    back = []
    for row, broken in zip(log_p[1:], breaks[1:], strict=True):
        paths = score[:, None] + (_AFTER_BREAK if broken else _ALLOWED)
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


def _trimmed(text: str, start: int, end: int, label: str) -> tuple[int, int]:
    """The span without separators at its ends."""
    if label == "PASSWORD":
        piece = text[start:end].rstrip()
    else:
        piece = text[start:end].rstrip(TAIL)
        if label not in DOTTED:
            piece = piece.removesuffix(".")
    end = start + len(piece)
    start = end - len(piece.lstrip(" \t\r\n,;|" if label != "PASSWORD" else None))
    if text[start:end].startswith(": "):
        start += 2
    return start, end


def spans(text: str, encoded: Encoded, probabilities: np.ndarray) -> list[tuple[Span, float]]:
    """Entities of a text with their scores, before any threshold."""
    if not encoded.ids:
        return []
    groups = words(encoded)
    mean = np.stack([probabilities[g].mean(0) for g in groups])
    bounds = [(encoded.offsets[g[0]][0], encoded.offsets[g[-1]][1]) for g in groups]
    breaks = [i > 0 and any(c in "\n\r\t" for c in text[bounds[i - 1][1] : start])
              for i, (start, _) in enumerate(bounds)]
    path = _viterbi(mean, breaks)
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
        start, end = _trimmed(text, start, end, name)
        if end > start:
            out.append(((start, end, name), float(np.mean(all_scores))))
    return out
