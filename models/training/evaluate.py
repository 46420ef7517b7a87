"""Measures: AUC per source, recall and false alarms at thresholds, exact span F1."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from tokenizers import Tokenizer

from .data import Example, Span
from .labels import ENTITIES, TOXICITY
from .model import GuardModel
from .predict import Scores, predict

Thresholds = dict[str, float]


def auc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """Area under the ROC curve, ties counted half; NaN when a class is missing."""
    y, s = np.asarray(labels), np.asarray(scores)
    positive, negative = int((y == 1).sum()), int((y == 0).sum())
    if not positive or not negative:
        return float("nan")
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    return float((ranks[y == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def injection_report(rows: list[Example], scores: list[float], threshold: float) -> dict:
    """AUC of every source (one-sided sources against the pool of the other class), recall, pass rate."""
    y = np.array([r.injection for r in rows])
    s = np.array(scores)
    source = np.array([r.source for r in rows])
    kind = np.array([r.kind for r in rows])
    long = np.array([len(r.text) > 1000 for r in rows])
    report: dict = {"auc": auc(y, s), "sources": {}}
    for name in sorted(set(source)):
        here = source == name
        mixed = len(set(y[here])) == 2
        pool = here if mixed else here | (y != y[here][0])
        entry = {"rows": int(here.sum()), "auc": auc(y[pool], s[pool])}
        if (y[here] == 1).any():
            entry["recall"] = float((s[here & (y == 1)] >= threshold).mean())
        if (y[here] == 0).any():
            entry["passed"] = float((s[here & (y == 0)] < threshold).mean())
        report["sources"][name] = entry
    report["mean_auc"] = float(np.mean([e["auc"] for e in report["sources"].values()]))
    report["recall"] = float((s[y == 1] >= threshold).mean())
    for name, mask in (("passed", y == 0), ("hard_passed", (y == 0) & (kind == "hard_benign")),
                       ("long_passed", (y == 0) & long)):
        report[name] = float((s[mask] < threshold).mean()) if mask.any() else float("nan")
    for name in sorted(set(kind[y == 1])):
        report[f"recall_{name}"] = float((s[kind == name] >= threshold).mean())
    return report


def toxicity_report(rows: list[Example], scores: np.ndarray, thresholds: Thresholds) -> dict:
    """AUC of every label, and of `toxic` by source; recall and false alarms at the thresholds."""
    report: dict = {"labels": {}, "sources": {}}
    for i, name in enumerate(TOXICITY):
        known = [k for k, r in enumerate(rows) if r.toxicity and name in r.toxicity]
        y = np.array([rows[k].toxicity[name] for k in known])
        s = scores[known, i]
        entry = {"positives": int(y.sum()), "rows": len(known), "auc": auc(y, s)}
        if name in thresholds and y.any():
            entry["recall"] = float((s[y == 1] >= thresholds[name]).mean())
            entry["false_alarms"] = float((s[y == 0] >= thresholds[name]).mean())
        report["labels"][name] = entry
    toxic = np.array([r.toxicity["toxic"] for r in rows])
    source = np.array([r.source for r in rows])
    groups = {name: source == name for name in sorted(set(source))}
    groups["all Jigsaw"] = np.array(["Jigsaw" in name for name in source])
    for name, here in groups.items():
        if here.any():
            report["sources"][name] = {"rows": int(here.sum()), "auc": auc(toxic[here], scores[here, 0])}
    return report


def _count(rows: list[Example], found: list[list[tuple[Span, float]]], thresholds: Thresholds) -> dict:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row, spans in zip(rows, found, strict=True):
        visible = row.covered if row.covered is not None else set(ENTITIES)
        predicted = {s for s, p in spans if s[2] in visible and p >= thresholds.get(s[2], 2.0)}
        true = {s for s in row.spans or [] if s[2]}
        for start, end, label in row.spans or []:
            if not label:
                predicted = {s for s in predicted if s[0] >= end or s[1] <= start}
        for span in predicted | true:
            c = counts[span[2]]
            c[0] += span in predicted and span in true
            c[1] += span in predicted
            c[2] += span in true
    return counts


def _f1(counts: Sequence[int]) -> dict[str, float]:
    hit, predicted, true = counts
    precision, recall = hit / max(predicted, 1), hit / max(true, 1)
    return {"f1": 2 * precision * recall / max(precision + recall, 1e-9), "precision": precision,
            "recall": recall, "spans": true}


def pii_report(rows: list[Example], found: list[list[tuple[Span, float]]], thresholds: Thresholds) -> dict:
    """Exact span F1 by source and, over all sources, by label."""
    report: dict = {"sources": {}, "labels": {}}
    for name in sorted({r.source for r in rows}):
        here = [k for k, r in enumerate(rows) if r.source == name]
        counts = _count([rows[k] for k in here], [found[k] for k in here], thresholds)
        report["sources"][name] = _f1([sum(c[i] for c in counts.values()) for i in range(3)])
    counts = _count(rows, found, thresholds)
    report["labels"] = {k: _f1(counts[k]) for k in sorted(counts)}
    report["all"] = _f1([sum(c[i] for c in counts.values()) for i in range(3)])
    return report


Predict = Callable[[list[Example], str], list[Scores]]


def predictor(model: GuardModel, tokenizer: Tokenizer) -> Predict:
    """Scores rows with one head."""
    return lambda rows, head: predict(model, tokenizer, [r.text for r in rows], [head])
