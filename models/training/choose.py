"""Thresholds, chosen on the validation part only."""

from __future__ import annotations

import numpy as np

from .data import Example
from .evaluate import pii_report
from .labels import ENTITIES

PASSED = {"all": 0.955, "hard": 0.955, "long": 0.93}
"""Shares of benign, hard-benign and long benign texts that must pass."""
FALSE_ALARMS = 0.05
"""Share of harmless texts a toxicity label may flag."""
RARE = ("severe_toxic", "threat")
"""Under 300 positives in training: reported by AUC, off by default."""


def injection(rows: list[Example], scores: list[float]) -> float:
    """The lowest threshold that lets enough benign, hard-benign and long benign texts pass."""
    s = np.array(scores)
    benign = np.array([r.injection == 0 for r in rows])
    masks = {
        "all": benign,
        "hard": benign & np.array([r.kind == "hard_benign" for r in rows]),
        "long": benign & np.array([len(r.text) > 1000 for r in rows]),
    }
    needed = max(float(np.quantile(s[m], PASSED[k])) for k, m in masks.items() if m.any())
    return round(min(max(needed, 0.3), 0.95), 3)


UNKNOWN = {"toxic": 0.5, "obscene": 0.6, "insult": 0.7, "identity_hate": 0.5}
"""Thresholds of labels that the validation part lacks: about 1% of harmless training texts are flagged."""


def toxicity(rows: list[Example], scores: np.ndarray, names: list[str]) -> dict[str, float]:
    """For each label the lowest threshold within the false-alarm budget; UNKNOWN where too little is known."""
    chosen = {}
    for i, name in enumerate(names):
        if name in RARE:
            continue
        known = [r.toxicity.get(name) if r.toxicity else None for r in rows]
        quiet = [k for k, value in enumerate(known) if value == 0]
        enough = len(quiet) >= 200 and known.count(1) >= 100
        value = float(np.quantile(scores[quiet, i], 1 - FALSE_ALARMS)) if enough else UNKNOWN[name]
        chosen[name] = round(min(max(value, 0.3), 0.9), 3)
    return chosen


def pii(rows: list[Example], found: list) -> dict[str, float]:
    """For each entity label the threshold with the best exact-span F1."""
    chosen = dict.fromkeys(ENTITIES, 0.5)
    best = dict.fromkeys(ENTITIES, -1.0)
    for value in (0.5, 0.4, 0.6):
        labels = pii_report(rows, found, dict.fromkeys(ENTITIES, value))["labels"]
        for name, entry in labels.items():
            # A value other than 0.5 must pay.
            if entry["spans"] >= 20 and entry["f1"] > best[name] + 0.01:
                best[name], chosen[name] = entry["f1"], value
    return chosen
