"""The training mixture: weighted pools of corpus rows and generators, drawn deterministically."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import augment, data
from .data import Example
from .generators import attacks, benign, carriers, encoded, fragments, library, manuals, pii, prompts, roles, scenes, toxicity
from .generators.values import value
from .labels import IDENTIFIERS, TOXICITY

Draw = Callable[[random.Random], Example]


@dataclass
class Pool:
    """Something to draw examples from, and how often."""

    weight: float
    draw: Draw


def _corpus(rows: list[Example], weight: float, power: float = 0.5) -> list[Pool]:
    """One pool per source; a source's share grows with its size to `power`, so small ones count."""
    groups = list(data.by_source(rows).values())
    total = sum(len(g) ** power for g in groups)
    return [
        Pool(weight * len(g) ** power / total, lambda rng, g=g: rng.choice(g)) for g in groups if g
    ]


def _corpus_groups(rows: list[Example]) -> list[list[Example]]:
    """The rows of every source that has a useful number of them."""
    return [g for g in data.by_source(rows).values() if len(g) >= 50]


def _swapped(rows: list[Example]) -> Draw:
    """Real sentences whose entities are exchanged for others of the same label."""
    rows = [r for r in rows if r.spans]
    mentions: dict[str, list[str]] = {}
    for row in rows:
        for start, end, label in row.spans or []:
            mentions.setdefault(label, []).append(row.text[start:end])

    def draw(rng: random.Random) -> Example:
        row = rng.choice(rows)
        text, spans, end = "", [], 0
        for a, b, label in sorted(row.spans or []):
            text += row.text[end:a]
            new = row.text[a:b]
            if label in ("PERSON", "LOCATION", "ORGANIZATION") and rng.random() < 0.8:
                new = value(label, rng, "en_US") if rng.random() < 0.4 else rng.choice(mentions[label])
            spans.append((len(text), len(text) + len(new), label))
            text += new
            end = b
        return replace(row, text=text + row.text[end:], spans=spans)

    return draw


def _balanced(rows: list[Example], weight: float, key: str) -> list[Pool]:
    """Positive and negative rows of a toxicity label at equal weight."""
    known = [r for r in rows if r.toxicity and key in r.toxicity]
    positive = [r for r in known if r.toxicity and r.toxicity[key]]
    negative = [r for r in known if r.toxicity and not r.toxicity[key]]
    return _corpus(positive, weight / 2) + _corpus(negative, weight / 2)


CLEAN = dict.fromkeys(TOXICITY, 0)
NOT_RUDE = {name: 0 for name in TOXICITY if name != "toxic"}
"""An attack on a model may be unfriendly, but it is no insult, threat or obscenity."""


SUBTLE = {"HatemojiBuild": 0.26, "Civil Comments": 0.16, "Vicomtech": 0.07, "CAT_LARGE": 0.05}
"""Sources whose hate is hard to learn, and their weights."""


def _implied(row: Example) -> Example:
    """What is not toxic has none of the finer labels either."""
    if row.toxicity and row.toxicity.get("toxic") == 0:
        return replace(row, toxicity=CLEAN | row.toxicity)
    return row


def trainable(folder: Path) -> list[Example]:
    """Injection rows without those that the final threshold is chosen on."""
    return [r for i, r in enumerate(data.injection(folder)) if not data.calibrates(i, r)]


def corpus(folder: Path, held_out: bool) -> list[Pool]:
    """Pools over the rows of the data folder, without the held-out sources if asked so."""

    def keep(rows: list[Example]) -> list[Example]:
        return [_implied(r) for r in rows if not (held_out and r.source in data.HELD_OUT)]

    injection = keep(trainable(folder))
    toxicity = keep(data.toxicity(folder))
    entities = data.pii(folder)
    if held_out:
        entities = [r for i, r in enumerate(entities) if not data.in_validation(i, r)]
    attack_rows = [r for r in injection if r.injection == 1]
    pools = _corpus([r for r in attack_rows if not r.source.startswith("composed")], 0.20)
    pools += _corpus([r for r in attack_rows if r.source.startswith("composed")], 0.07)
    benign_rows = [r for r in injection if r.injection == 0]
    pools += _corpus([r for r in benign_rows if not r.source.startswith("composed")], 0.22)
    pools += _corpus([r for r in benign_rows if r.source.startswith("composed")], 0.04)
    long_prompts = [r for r in benign_rows if len(r.text) > 700 and not r.source.startswith("composed")]
    pools += _corpus(long_prompts, 0.06)
    # By their own shares of toxic rows, then with both classes even, then the sources that are hard to learn.
    pools += _corpus(toxicity, 0.75, 0.7)
    pools += _balanced(toxicity, 0.40, "toxic")
    pools += _balanced(toxicity, 0.08, "identity_hate")
    for name, weight in SUBTLE.items():
        pools += _balanced([r for r in toxicity if r.source.startswith(name)], weight, "toxic")
    rare = [r for r in toxicity if r.toxicity
            and any(r.toxicity.get(k) for k in ("severe_toxic", "threat", "obscene"))]
    pools += _corpus(rare, 0.03)
    pools += _corpus([r for r in entities if r.covered is None], 0.18)
    real = [r for r in entities if r.covered is not None]
    pools += _corpus(real, 0.26)
    pools += [Pool(0.20, _swapped(real))]
    pools.append(Pool(0.14, _nameless([r for r in injection if r.injection == 0 and not r.source.startswith("composed")])))
    return pools


def _nameless(rows: list[Example]) -> Draw:
    """Real prompts, in which nothing is an identifier such as a password or a card number."""
    groups = _corpus_groups(rows)

    def draw(rng: random.Random) -> Example:
        row = rng.choice(rng.choice(groups))
        return replace(row, text=row.text[:1500], spans=[], covered=IDENTIFIERS)

    return draw


def _attack(rng: random.Random) -> Example:
    text = attacks.direct(rng)
    return Example(text, "generated direct", "direct", injection=1, toxicity=NOT_RUDE)


def _harmless(rng: random.Random) -> Example:
    return Example(benign.text(rng), "generated benign", "hard_benign", injection=0, toxicity=CLEAN)


def _scene(rng: random.Random) -> Example:
    """Fiction and role play around a goal, harmful or not, or talk about crime."""
    kind = rng.random()
    if kind < 0.45:
        return Example(scenes.scene(rng, True), "generated scene", "jailbreak", injection=1)
    text = scenes.scene(rng, False) if kind < 0.9 else scenes.report(rng)
    return Example(text, "generated scene", "hard_benign", injection=0, toxicity=CLEAN)


def _prompt(rng: random.Random) -> Example:
    return Example(prompts.long_prompt(rng), "generated prompt", "hard_benign", injection=0, toxicity=CLEAN)


def _role(rng: random.Random) -> Example:
    return Example(roles.role(rng), "generated role", "hard_benign", injection=0, toxicity=CLEAN)


def _plain(rng: random.Random) -> Example:
    return Example(roles.plain(rng), "generated request", "hard_benign", injection=0, toxicity=CLEAN)


def _manual(rng: random.Random) -> Example:
    return Example(manuals.document(rng), "generated manual", "hard_benign", injection=0, toxicity=CLEAN)


def _prompt_about(groups: list[list[Example]]) -> Draw:
    """A long harmless prompt next to a real text."""

    def draw(rng: random.Random) -> Example:
        parts = [prompts.long_prompt(rng), rng.choice(rng.choice(groups)).text[:2500]]
        rng.shuffle(parts)
        return Example(rng.choice(["\n\n", "\n", "\n---\n", "\n\nText: "]).join(parts), "prompt and text", "hard_benign", injection=0)

    return draw


def _hidden(rng: random.Random) -> Example:
    """A payload inside a generated document."""
    payload = attacks.payload(rng)
    return _with_payload(carriers.carrier(rng, payload), payload)


def _with_payload(text: str, payload: str) -> Example:
    start = text.find(payload)
    place = (start, start + len(payload)) if start >= 0 else None
    return Example(text, "generated indirect", "indirect", injection=1, payload=place, toxicity=NOT_RUDE)


def _hiding(carrier_rows: list[Example]) -> Draw:
    """Payloads hidden in real texts; the same texts stay benign without them."""

    def draw(rng: random.Random) -> Example:
        text = rng.choice(carrier_rows).text[:6000]
        if rng.random() < 0.3:
            return Example(text, "carrier", "hard_benign", injection=0)
        payload = attacks.payload(rng)
        return _with_payload(carriers.hide(text, payload, rng), payload)

    return draw


def _contrast(rng: random.Random) -> Example:
    text, labels = toxicity.sample(rng)
    return Example(text, "generated contrast", injection=0, toxicity=labels)


def _pasted(groups: list[list[Example]], questions: list[Example]) -> Draw:
    """A long harmless prompt: a task and the texts it is about, real ones."""

    def draw(rng: random.Random) -> Example:
        parts = [rng.choice(rng.choice(groups)).text[:2500] for _ in range(rng.randint(1, 6))]
        ask = benign.task(rng) if rng.random() < 0.6 else rng.choice(questions).text
        place = rng.choice([0, 0, 0, len(parts)])
        label = rng.choice(["", "", "\n\n### Input:", "\nText:", "\nContext:", "\nPassage:", "\n===", "\nCode:"])
        parts.insert(place, ask + label if place == 0 else rng.choice(["Question: ", "", "Task: "]) + ask)
        text = rng.choice(["\n\n", "\n", " ", "\n---\n"]).join(parts)
        return Example(text, "pasted", "hard_benign", injection=0)

    return draw


def _code(texts: list[str]) -> Draw:
    """Excerpts of code, now and then with a payload in a comment."""

    def draw(rng: random.Random) -> Example:
        text = library.excerpt(texts, rng)
        # No kind of comment may give an attack away.
        if rng.random() < 0.4:
            mark = rng.choice(["// ", "/// ", "//! ", "-- ", "; ", "# ", "* "])
            text = re.sub(r"^([ \t]*)(?:#|//) ", lambda m: m.group(1) + mark, text, flags=re.MULTILINE)
        else:
            mark = "// " if "// " in text else "# "
        if rng.random() < 0.2:
            payload = attacks.payload(rng).replace("\n", " ")
            lines = text.split("\n")
            lines.insert(rng.randint(0, len(lines)), rng.choice(["", "    "]) + rng.choice([mark, mark, '"""']) + payload)
            return _with_payload("\n".join(lines), payload)
        if rng.random() < 0.3:
            return Example(text[:1500], "code", "hard_benign", injection=0, spans=[], covered=IDENTIFIERS)
        if rng.random() < 0.5:
            ask = benign.code_task(rng)
            text = f"{ask}\n{text}" if rng.random() < 0.7 else f"{text}\n\n{ask}"
        return Example(text, "code", "hard_benign", injection=0)

    return draw


def _document(rng: random.Random) -> Example:
    """Manuals, descriptions and licences, alone, with a task, or with a payload somewhere inside."""
    text = library.excerpt(library.documents(), rng)
    kind = rng.random()
    if kind < 0.15:
        payload = attacks.payload(rng)
        return _with_payload(carriers.hide(text, payload, rng), payload)
    if kind < 0.4:
        ask = benign.task(rng)
        text = f"{ask}\n\n{text}" if rng.random() < 0.7 else f"{text}\n\n{ask}"
    return Example(text, "document", "hard_benign", injection=0, toxicity=CLEAN)


def _encoded(rng: random.Random) -> Example:
    return Example(encoded.text(rng), "generated encoded", "hard_benign", injection=0, toxicity=CLEAN)


def contrast(folder: Path, held_out: bool) -> list[Pool]:
    """Generated attacks, their harmless look-alikes, long prompts, and toxicity contrast pairs."""
    real = [r for r in trainable(folder) if r.injection == 0]
    real += [r for r in data.toxicity(folder) if len(r.text) > 150 and not (r.toxicity or {}).get("toxic")]
    real += [r for r in data.pii(folder) if len(r.text) > 80]
    carriers_ = _corpus_groups([r for r in real if not (held_out and r.source in data.HELD_OUT)])
    questions = [r for r in real if r.kind in ("benign", "hard_benign") and len(r.text) < 300
                 and not r.source.startswith("composed") and not (held_out and r.source in data.HELD_OUT)]
    return [
        Pool(0.16, _attack), Pool(0.17, _harmless), Pool(0.08, _hidden), Pool(0.08, _pasted(carriers_, questions)),
        Pool(0.05, _code(library.code())), Pool(0.05, _code(library.other_code())), Pool(0.06, _document), Pool(0.06, _encoded),
        Pool(0.15, _scene), Pool(0.13, _prompt), Pool(0.06, _prompt_about(carriers_)),
        *[Pool(0.06 / len(carriers_), _hiding(rows)) for rows in carriers_],
        Pool(0.20, _contrast),
    ]


def _personal(rng: random.Random) -> Example:
    text, spans = pii.sample(rng)
    return Example(text, "generated pii", injection=0, spans=spans)


def personal() -> list[Pool]:
    """Generated texts with personal data."""
    return [Pool(0.20, _personal)]


def augmented(example: Example, rng: random.Random, named: float = 0.0) -> Example:
    """Noise and evasions; texts with spans only change case, since offsets must hold.

    A share `named` of the others begins with the name of a model.
    """
    chance = rng.random()
    if named and example.spans is None and example.payload is None and rng.random() < named:
        # Most of what names a model is an attack in the corpora; the name itself is none.
        example = replace(example, text=fragments.greeting(rng) + example.text)
    if example.spans is not None:
        if chance < 0.15:
            return replace(example, text=augment.lower_spans(example.text, rng))
        return example
    if example.injection == 1 and example.payload:
        start, end = example.payload
        if chance < 0.2:
            hidden = augment.evade(example.text[start:end], rng)
            text = example.text[:start] + hidden + example.text[end:]
            return replace(example, text=text, payload=(start, start + len(hidden)))
        return example
    attack = example.injection == 1 or bool(example.toxicity and example.toxicity.get("toxic"))
    evasion = 0.2 if attack else 0.08
    if chance < evasion:
        return replace(example, text=augment.evade(example.text[:3000], rng))
    if chance < evasion + 0.1:
        return replace(example, text=augment.noise(example.text[:3000], rng))
    return example


class Mixture:
    """Draws chunks of examples; chunk number and seed alone decide what a chunk holds."""

    def __init__(self, pools: list[Pool], seed: int, size: int = 2048, named: float = 0.0) -> None:
        self.pools, self.seed, self.size, self.named = pools, seed, size, named
        self.weights = [p.weight for p in pools]

    def chunk(self, number: int) -> list[Example]:
        rng = random.Random(f"{self.seed}:{number}")
        chosen = rng.choices(self.pools, self.weights, k=self.size)
        return [augmented(pool.draw(rng), rng, self.named) for pool in chosen]


def requests(folder: Path, held_out: bool) -> list[Pool]:
    """More of what people ask for: real prompts, roles, plain and long requests, and real attacks against them."""
    rows = [r for r in trainable(folder) if not (held_out and r.source in data.HELD_OUT)]
    attack_rows = [r for r in rows if r.injection == 1]
    prompts_ = [r for r in rows if r.injection == 0 and not r.source.startswith("composed")]
    return [
        *_corpus(attack_rows, 0.45), *_corpus(prompts_, 0.45),
        Pool(0.45, _role), Pool(0.25, _plain), Pool(0.20, _prompt), Pool(0.20, _harmless), Pool(0.10, _attack), Pool(0.05, _hidden),
    ]


def long_texts(folder: Path, held_out: bool) -> list[Pool]:
    """Long harmless documents of many kinds, and long real attacks against them."""
    rows = [r for r in trainable(folder) if len(r.text) > 500 and not (held_out and r.source in data.HELD_OUT)]
    return [
        Pool(0.50, _manual), Pool(0.06, _code(library.code())), Pool(0.06, _code(library.other_code())), Pool(0.10, _document), *_corpus([r for r in rows if r.injection == 0], 0.15),
        *_corpus([r for r in rows if r.injection == 1], 0.25),
    ]


def _fragment(rng: random.Random) -> Example:
    return Example(fragments.fragment(rng), "generated fragment", "hard_benign", injection=0, toxicity=CLEAN)


def _order(rng: random.Random) -> Example:
    return Example(fragments.order(rng), "generated order", "direct", injection=1, toxicity=NOT_RUDE)


def short_texts(folder: Path, held_out: bool) -> list[Pool]:
    """Short texts of the same words, harmless and not, and what lies around them, lest length should tell an attack."""
    rows = [r for r in trainable(folder) if not (held_out and r.source in data.HELD_OUT) and not r.source.startswith("composed")]
    long_prompts = [r for r in rows if r.injection == 0 and len(r.text) > 700]
    return [
        Pool(0.9, _fragment), Pool(0.5, _role), Pool(0.4, _prompt), Pool(0.4, _manual), *_corpus(long_prompts, 0.3), Pool(0.2, _document),
        Pool(0.4, _order), Pool(0.6, _attack), Pool(0.2, _scene), Pool(0.4, _hidden), *_corpus([r for r in rows if r.injection == 1], 0.6),
    ]


def more_code() -> list[Pool]:
    """Code of many looks, and documents."""
    return [Pool(1.2, _code(library.code())), Pool(1.2, _code(library.other_code())), Pool(0.4, _document)]
