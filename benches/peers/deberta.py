"""A model of DeBERTa-v3-base's size with random weights: PyTorch (transformers, eager) and this engine, with
the same threads, in interleaved rounds.

    benches/peers/run --prepare && .cache/peers-venv/bin/python benches/peers/deberta.py

PyTorch runs the texts one by one and as one padded batch; its better mode counts.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

import compare

sys.path.insert(0, str(compare.HERE.parent.parent / "tests" / "golden"))
PACKAGE = compare.CACHE / "deberta-v3-base-size"
VOCABULARY = 1024
MIXED = [12, 300, 45, 90, 17, 160, 30, 500]


def make() -> None:
    """The package: 12 layers of 768, 12 heads, 256 position buckets, as deberta-v3-base; a small vocabulary,
    because embeddings cost no time."""
    from make import tiny_tokenizer

    torch.manual_seed(0)
    config = DebertaV2Config(
        vocab_size=VOCABULARY,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        relative_attention=True,
        position_buckets=256,
        max_relative_positions=-1,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
        pooler_hidden_act="gelu",
        id2label={0: "SAFE", 1: "INJECTION"},
        label2id={"SAFE": 0, "INJECTION": 1},
    )
    DebertaV2ForSequenceClassification(config).save_pretrained(PACKAGE)
    tiny_tokenizer(VOCABULARY).save(str(PACKAGE / "tokenizer.json"))


@torch.no_grad()
def one_by_one(model, sequences: list[list[int]]) -> torch.Tensor:
    logits = [model(input_ids=torch.tensor([ids])).logits[0] for ids in sequences]
    return torch.stack(logits).softmax(-1)


@torch.no_grad()
def padded(model, sequences: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, sequences))
    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return model(input_ids=ids, attention_mask=mask).logits.softmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--program", help="a built benches/peers/ours.rs, instead of building it")
    args = parser.parse_args()
    if not (PACKAGE / "model.safetensors").exists():
        make()
    torch.set_num_threads(args.threads)
    model = DebertaV2ForSequenceClassification.from_pretrained(PACKAGE, attn_implementation="eager").eval()
    program = args.program or compare.build()
    command = [program, str(PACKAGE), str(args.threads)]
    ours = {name: compare.Contender(name, [*command, how], None) for name, how in compare.OURS.items()}
    ids = lambda n: torch.randint(4, VOCABULARY - 20, (n,)).tolist()
    works = {"1x128": [ids(128)], "8 mixed": [ids(n) for n in MIXED], "8x128": [ids(128) for _ in range(8)]}
    for name, sequences in works.items():
        times = {key: [] for key in [*ours, one_by_one, padded]}
        for round_ in range(args.rounds + 1):
            answers = {}
            for key, contender in ours.items():
                answers[key] = contender.run({"ids": sequences}, "packed", 0.0)
                time.sleep(compare.PAUSE)
            answer = answers["portcullis"]
            taken = {key: answer["seconds"] for key, answer in answers.items()}
            for mode in (one_by_one, padded):
                start = time.perf_counter()
                got = mode(model, sequences)
                taken[mode] = time.perf_counter() - start
                difference = (got - torch.tensor(answer["scores"])).abs().max().item()
                if difference > 1e-4:
                    sys.exit(f"{mode.__name__} scores {name} otherwise, by {difference:.1e}")
            if round_ > 0:  # the first warms up
                for key, seconds in taken.items():
                    times[key].append(seconds)
        medians = {key: statistics.median(t) for key, t in times.items()}
        best = min((one_by_one, padded), key=medians.get)
        print(f"{name:<8} PyTorch {best.__name__} {medians[best] * 1e3:.0f} ms", flush=True)
        for key in ours:
            low, high = compare.spread([p / o for p, o in zip(times[best], times[key])])
            ratio = medians[best] / medians[key]
            print(f"{'':<8} {key} {medians[key] * 1e3:.0f} ms: {ratio:.2f}x ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
