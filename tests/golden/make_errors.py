"""Makes errors.json: how far transformers' scores in f16 and bf16 are from those in f32, on the same weights
and texts. The CUDA engine may be at most 1.5 times as far (src/engine/cuda/tests/accuracy.rs).

    pip install torch transformers safetensors
    python tests/golden/make_errors.py                                # the models of make.py
    python tests/golden/make_errors.py --device cuda --out FILE DIR ...  # other packages in the hub's layout

The error is |scores - scores in f32| / |scores in f32| over all texts and labels. Where transformers has
more than one attention the most exact one counts. Texts run one at a time: padding is nobody's error.
"""

import argparse
import json
import os
import random
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    logging,
)

HERE = Path(__file__).parent
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
# Scores that are all 0 have no relative error; transformers cannot load the other one.
LEFT_OUT = {"bert-regression", "bert-without-types"}
# Sequence heads give a few numbers a text, so there are many texts.
LENGTHS = [*range(1, 25), 31, 40, 64, 65, 130, 200]


class PIGuard(DebertaV2ForSequenceClassification):
    """DeBERTa with the classifier on the first token."""

    def forward(self, input_ids):
        hidden = self.deberta(input_ids=input_ids)[0]
        return type("Output", (), {"logits": self.classifier(hidden[:, 0])})


def load(folder: Path, config: dict, dtype: torch.dtype, attention: str) -> torch.nn.Module:
    options = {"dtype": dtype, "attn_implementation": attention}
    if config["model_type"] == "piguard":
        options["config"] = DebertaV2Config.from_pretrained(folder)
        return PIGuard.from_pretrained(folder, **options)
    token = config["architectures"][0].endswith("ForTokenClassification")
    auto = AutoModelForTokenClassification if token else AutoModelForSequenceClassification
    return auto.from_pretrained(folder, **options)


@torch.inference_mode()
def scores(model: torch.nn.Module, config: dict, texts: list[list[int]], device: str) -> torch.Tensor:
    model = model.to(device).eval()
    flat = []
    for ids in texts:
        logits = model(input_ids=torch.tensor([ids], device=device)).logits[0].double()
        match config.get("problem_type"):
            case "multi_label_classification":
                logits = logits.sigmoid()
            case _:
                logits = logits.softmax(-1)
        flat.append(logits.flatten())
    return torch.cat(flat)


def errors(folder: Path, texts: list[list[int]], device: str) -> dict[str, float]:
    config = json.loads((folder / "config.json").read_text())
    exact = scores(load(folder, config, torch.float32, "eager"), config, texts, device)
    found = {}
    for name, dtype in DTYPES.items():
        for attention in ("eager", "sdpa"):
            try:
                got = scores(load(folder, config, dtype, attention), config, texts, device)
            except ValueError:  # DeBERTa has no SDPA
                continue
            error = ((got - exact).norm() / exact.norm()).item()
            print(f"{folder.name} {name} {attention}: {error:.2e}", flush=True)
            found[name] = min(error, found.get(name, error))
    return {name: float(f"{error:.4g}") for name, error in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=HERE / "errors.json")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    made = sorted(path.parent for path in HERE.glob("*/model.safetensors") if path.parent.name not in LEFT_OUT)
    folders = options.folders or made
    logging.disable_progress_bar()
    # f32 is f32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ids = random.Random(20261123)
    texts = [[ids.randrange(5, 105) for _ in range(length)] for length in LENGTHS]
    packages = {
        os.path.relpath(folder, options.out.parent): errors(folder, texts, options.device) for folder in folders
    }
    options.out.write_text(json.dumps({"texts": texts, "packages": packages}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
