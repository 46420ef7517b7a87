"""What sharing one trunk costs: a head trained with a trunk of its own, on the same rows.

`python -m training.alone --data DATA --work work --head injection` trains the first held-out stage with that head
alone and prints its held-out report; `--head all` is the shared trunk after the same stage. Both draw the same chunks;
a model of its own leaves out the rows and the labels that teach its head nothing.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import validate
from .__main__ import HELD_OUT_STAGES, calibrate, mixture, new_trainer
from .batches import make_batches
from .data import Example
from .evaluate import injection_report, pii_report, predictor, toxicity_report
from .labels import ENTITIES
from .pools import Mixture
from .train import BATCH_TOKENS, Stage, Trainer

FIELDS = {"injection": "injection", "toxicity": "toxicity", "pii": "spans"}


class OneHead(Mixture):
    """The shared mixture's chunks with the labels of one head."""

    def __init__(self, shared: Mixture, head: str) -> None:
        super().__init__(shared.pools, shared.seed, shared.size, shared.named)
        self.head = head

    def chunk(self, number: int) -> list[Example]:
        others = {field: None for head, field in FIELDS.items() if head != self.head}
        rows = super().chunk(number)
        return [replace(row, **others) for row in rows if getattr(row, FIELDS[self.head]) is not None]


def tokens(trainer: Trainer, mixture: Mixture, chunks: int = 8) -> int:
    """Padded tokens of the first chunks."""
    return sum(batch.ids.numel() for number in range(chunks)
               for batch in make_batches(mixture.chunk(number), trainer.tokenizer, BATCH_TOKENS, random.Random(number)))


def report(trainer: Trainer, heads: list[str], folder: Path, seed: int) -> dict:
    """Held-out figures of these heads, by the averaged weights."""
    model = trainer.model
    model.load_state_dict(trainer.weights())
    run, out = predictor(model, trainer.tokenizer), {}
    if "injection" in heads:
        threshold, _ = calibrate(run, folder, seed, True)
        rows = validate.injection(folder)
        out["injection"] = injection_report(rows, [s.injection for s in run(rows, "injection")], threshold)
    if "toxicity" in heads:
        for name, rows in (("toxicity", validate.toxic(folder)), ("generated", validate.generated_toxicity(seed))):
            scores = np.array([s.toxicity for s in run(rows, "toxicity")])
            out[name] = toxicity_report(rows, scores, {})["sources"]
    if "pii" in heads:
        rows = validate.entities(folder)
        found = [s.entities for s in run(rows, "pii")]
        out["pii"] = pii_report(rows, found, dict.fromkeys(ENTITIES, 0.5))["sources"]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="training.alone", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--head", choices=[*FIELDS, "all"], required=True)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    trainer, _, _ = new_trainer(args.work / f"alone-{args.head}.pt", args.seed)
    stage = HELD_OUT_STAGES[0]
    rows = mixture(args.data / "train", stage, True, args.seed)
    heads = list(FIELDS)
    if args.head != "all":
        own, heads = OneHead(rows, args.head), [args.head]
        share = tokens(trainer, own) / tokens(trainer, rows)
        stage = Stage(stage.name, round(stage.tokens * share), stage.rate, stage.final, stage.warmup)
        rows = own
    trainer.run(stage, rows)
    print(json.dumps(report(trainer, heads, args.data / "train", args.seed), indent=1))


if __name__ == "__main__":
    main()
