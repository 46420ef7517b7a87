"""Reading the data folder into examples; a row labels one head, and some rows label others too."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

Span = tuple[int, int, str]

HELD_OUT = frozenset({
    # injection: attacks and benign texts whose sources phase one never sees
    "deepset/prompt-injections", "WithSecureLabs/spikee", "microsoft/TaskTracker", "composed:email",
    "f/awesome-chatgpt-prompts", "lmarena/arena-hard-auto v0.1",
    # toxicity
    "Vicomtech Stormfront sampled_train", "conversationai wiki nonfuzzed testset",
})


@dataclass
class Example:
    """One text; a head without a label for it (None) learns nothing from it."""

    text: str
    source: str
    kind: str = ""
    injection: int | None = None
    payload: tuple[int, int] | None = None
    """Where the attack sits in the text, when known."""
    toxicity: dict[str, int] | None = None
    spans: list[Span] | None = None
    """Entities; a span with an empty label has no known class."""
    covered: frozenset[str] | None = None
    """The entity labels that were annotated; None means all of them."""


def _rows(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _common(a: str, b: str) -> int:
    """Length of the common prefix."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _locate_payloads(rows: list[Example]) -> None:
    """Finds the payload of composed attacks by comparing each with its clean carrier."""
    starts: dict[str, list[str]] = defaultdict(list)
    ends: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.source.startswith("composed:") and row.injection == 0:
            starts[row.text[:60]].append(row.text)
            ends[row.text[-60:]].append(row.text)
    for row in rows:
        if not row.source.startswith("composed:") or row.injection != 1:
            continue
        for carrier in starts[row.text[:60]] + ends[row.text[-60:]]:
            before = _common(row.text, carrier)
            after = min(_common(row.text[::-1], carrier[::-1]), len(row.text) - before)
            if before + after >= len(carrier) - 3:
                row.payload = (before, len(row.text) - after)
                break


def injection(folder: Path) -> list[Example]:
    """Injection rows; benign ones count as not toxic too."""
    rows = [
        Example(r["text"], r["source"], r["kind"], injection=r["label"],
                toxicity={"toxic": 0} if r["kind"] == "benign" else None)
        for r in _rows(folder / "injection.jsonl.gz")
    ]
    _locate_payloads(rows)
    return rows


def toxicity(folder: Path) -> list[Example]:
    """Toxicity rows; rude or not, none of them is an attack on a model."""
    return [
        Example(r["text"], r["source"], injection=0, toxicity=r["labels"])
        for r in _rows(folder / "toxicity.jsonl.gz")
    ]


def _unlabelled_handles(row: dict) -> list[Span]:
    """This corpus leaves @handles unmarked while another one marks them as people: learn neither."""
    if row["source"] != "WNUT17 train":
        return []
    taken = [(s["start"], s["end"]) for s in row["spans"]]
    return [
        (m.start(), m.end(), "") for m in re.finditer(r"@\w+", row["text"])
        if not any(a < m.end() and b > m.start() for a, b in taken)
    ]


def pii(folder: Path) -> list[Example]:
    """PII rows; the synthetic ones (mails, forms, logs, code) are benign for the other heads."""
    rows = []
    for r in _rows(folder / "pii.jsonl.gz"):
        synthetic = "covered" not in r
        rows.append(Example(
            r["text"], r["source"],
            injection=0 if synthetic else None,
            toxicity={"toxic": 0} if synthetic else None,
            spans=[(s["start"], s["end"], s["label"]) for s in r["spans"]] + _unlabelled_handles(r),
            covered=frozenset(r["covered"]) if "covered" in r else None,
        ))
    return rows


def calibrates(place: int, row: Example) -> bool:
    """Whether no phase trains on an injection row: every fourth one of the held-out sources, every 16th one of the others.

    The injection thresholds are chosen on them.
    """
    return row.injection is not None and place % (4 if row.source in HELD_OUT else 16) == 0


def in_validation(place: int, row: Example) -> bool:
    """Whether a PII row is for validation: every eighth one of real text."""
    return row.covered is not None and place % 8 == 0


def by_source(rows: Iterable[Example]) -> dict[str, list[Example]]:
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        groups[row.source].append(row)
    return dict(groups)
