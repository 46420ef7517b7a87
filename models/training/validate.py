"""The validation part: whole sources kept out of training, and generated texts of unseen templates."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

from . import augment, data
from .data import HELD_OUT, Example
from .generators import attacks, benign, carriers, encoded, fragments, manuals, pii, prompts, roles, scenes, toxicity


def injection(folder: Path) -> list[Example]:
    """Rows of the held-out sources."""
    return [r for r in data.injection(folder) if r.source in HELD_OUT]


def calibration(folder: Path, held_out: bool) -> list[Example]:
    """Injection rows that no phase trains on; with `held_out` only those of sources that phase one sees."""
    rows = [r for i, r in enumerate(data.injection(folder)) if data.calibrates(i, r)]
    return [r for r in rows if not (held_out and r.source in HELD_OUT)]


def toxic(folder: Path) -> list[Example]:
    return [r for r in data.toxicity(folder) if r.source in HELD_OUT]


def entities(folder: Path) -> list[Example]:
    """Real-text rows that the first phase does not train on (same sources, other sentences)."""
    return [r for i, r in enumerate(data.pii(folder)) if data.in_validation(i, r)]


def generated_injection(seed: int, count: int = 300) -> list[Example]:
    """Attacks, hidden attacks, evasions and look-alikes of templates that training never draws.

    The documents that carry attacks, or none, are of the same templates as in training.
    """
    rng = random.Random(f"validation:{seed}")
    rows = []
    for _ in range(count):
        attack = attacks.direct(rng, True)
        hidden = carriers.carrier(rng, attacks.payload(rng, True))
        evaded = augment.evade(attacks.direct(rng, True), rng)
        rows += [
            Example(attack, "generated direct", "direct", injection=1),
            Example(hidden, "generated indirect", "indirect", injection=1),
            Example(evaded, "generated evasion", "evasion", injection=1),
            Example(benign.short(rng, True), "generated short benign", "hard_benign", injection=0),
            Example(benign.long(rng, True), "generated long benign", "hard_benign", injection=0),
            Example(carriers.carrier(rng), "generated documents", "hard_benign", injection=0),
            Example(augment.evade(benign.short(rng, True), rng), "generated noisy benign", "benign", injection=0),
        ]
    return rows


def generated_prompts(seed: int, count: int = 300) -> list[Example]:
    """Long prompts, roles, scenes, fragments and orders of unseen templates: too easy to choose a threshold on."""
    rng = random.Random(f"prompts:{seed}")
    rows = []
    for _ in range(count):
        rows += [
            Example(prompts.long_prompt(rng, True), "generated prompt", "hard_benign", injection=0),
            Example(roles.role(rng, True), "generated role", "hard_benign", injection=0),
            Example(manuals.document(rng, True), "generated manual", "hard_benign", injection=0),
            Example(roles.plain(rng, True), "generated request", "hard_benign", injection=0),
            Example(encoded.text(rng, True), "generated encoded", "hard_benign", injection=0),
            Example(fragments.fragment(rng, True), "generated fragment", "hard_benign", injection=0),
            Example(fragments.order(rng, True), "generated order", "direct", injection=1),
            Example(scenes.scene(rng, True, True), "generated scene", "jailbreak", injection=1),
            Example(scenes.scene(rng, False, True), "generated harmless scene", "hard_benign", injection=0),
        ]
    return rows


def generated_toxicity(seed: int, count: int = 800) -> list[Example]:
    rng = random.Random(f"validation:{seed}")
    rows = []
    for _ in range(count):
        text, labels = toxicity.sample(rng, True)
        rows.append(Example(text, "generated contrast", toxicity=labels))
    return rows


def generated_entities(seed: int, count: int = 600) -> list[Example]:
    rng = random.Random(f"validation:{seed}")
    rows = []
    for _ in range(count):
        text, spans = pii.sample(rng, True)
        rows.append(Example(text, "generated pii", spans=spans))
    return rows


def write(folder: Path, out: Path) -> None:
    """The held-out sources' rows as files for `portcullis eval`."""
    out.mkdir(exist_ok=True)
    parts = {
        "injection": [{"text": r.text, "label": r.injection, "kind": r.kind, "source": r.source} for r in injection(folder)],
        "toxicity": [{"text": r.text, "labels": r.toxicity, "source": r.source} for r in toxic(folder)],
    }
    for task, rows in parts.items():
        with gzip.open(out / f"{task}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
