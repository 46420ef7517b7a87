"""Scoring texts with a package's weights the way the server does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from .data import Span
from .decode import fold, spans
from .labels import CLS, PAD, SEP
from .model import GuardModel
from .tokenizer import Encoded, encode, windows


@dataclass
class Scores:
    """What the three heads say about one text."""

    injection: float
    toxicity: np.ndarray
    entities: list[tuple[Span, float]]


def _windows(encoded: list[Encoded]) -> list[tuple[int, tuple[int, int]]]:
    return [(i, r) for i, e in enumerate(encoded) for r in windows(len(e.ids))]


@torch.inference_mode()
def predict(
    model: GuardModel, tokenizer: Tokenizer, texts: Iterable[str], heads: Iterable[str],
    budget: int = 8192,
) -> list[Scores]:
    """Scores of the named heads; sequence scores are the maximum over windows."""
    texts, wanted = list(texts), set(heads)
    model.eval()
    device = next(model.parameters()).device
    encoded = encode(tokenizer, texts)
    jobs = sorted(_windows(encoded), key=lambda job: job[1][1] - job[1][0])
    injection = np.zeros(len(texts))
    toxicity = np.zeros((len(texts), 6))
    parts: dict[int, dict[tuple[int, int], np.ndarray]] = {}
    start = 0
    while start < len(jobs):
        end = start + 1
        while end < len(jobs) and (jobs[end][1][1] - jobs[end][1][0] + 2) * (end + 1 - start) <= budget:
            end += 1
        group = jobs[start:end]
        start = end
        rows = [[CLS, *encoded[i].ids[a:b], SEP] for i, (a, b) in group]
        width = max(map(len, rows))
        ids = torch.tensor([r + [PAD] * (width - len(r)) for r in rows], device=device)
        hidden = model(ids, torch.tensor([len(r) for r in rows], device=device))
        if "injection" in wanted:
            score = model.injection(hidden[:, 0]).float().softmax(-1)[:, 1].cpu().numpy()
            np.maximum.at(injection, [i for i, _ in group], score)
        if "toxicity" in wanted:
            score = model.toxicity(hidden[:, 0]).float().sigmoid().cpu().numpy()
            np.maximum.at(toxicity, [i for i, _ in group], score)
        if "pii" in wanted:
            score = model.pii(hidden).float().softmax(-1).cpu().numpy()
            for (i, (a, b)), row in zip(group, score, strict=True):
                parts.setdefault(i, {})[(a, b)] = row[1 : 1 + b - a]
    out = []
    for i, text in enumerate(texts):
        found: list[tuple[Span, float]] = []
        if "pii" in wanted:
            ranges = sorted(parts[i])
            joined = fold(ranges, [parts[i][r] for r in ranges], len(encoded[i].ids))
            found = spans(text, encoded[i], joined)
        out.append(Scores(float(injection[i]), toxicity[i], found))
    return out
