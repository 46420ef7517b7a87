"""Runs the contenders in interleaved rounds and prints how much longer the peers take than this engine.

Each contender is a process of its own, idle while another is measured. A round measures every work once
with every contender and mode, in an order that turns. A peer's best mode is the one with the lowest median.
The ratio is that median over this engine's, once with f32 products and once with bf16 ones; beside it stands the
interquartile range of the rounds' own ratios. All contenders get the same token ids, cut to 512; "with tokenising" starts from the texts. With
--half everybody's weights are rounded to f16, as packages often ship them.
"""

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import contender
import model

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent.parent / ".cache" / "peers"
# This engine, by the precision of its products.
OURS = {"portcullis": "float32", "portcullis-bf16": "bfloat16"}
# Contenders that round more than f32 does.
ROUNDED = {"portcullis-bf16", "pytorch-bf16", "onnx-int8"}
# Threads of a contender spin for a while after their work; the next one is not to feel it.
PAUSE = 0.3


def read_texts(path: Path, count: int) -> list[str]:
    """`count` texts, taken at random, always the same ones, from all files of `path`."""
    files = sorted(path.glob("*.jsonl*")) if path.is_dir() else [path]
    texts = []
    for file in files:
        opened = gzip.open(file, "rt") if file.suffix == ".gz" else open(file)
        with opened as lines:
            texts += [text for line in lines if (text := json.loads(line)["text"]).strip()]
    if not texts:
        sys.exit(f"{path}: no text in any *.jsonl or *.jsonl.gz")
    return random.Random(0).sample(texts, min(count, len(texts)))


def works(texts: list[str], directory: Path) -> dict:
    """What is run, by name: token ids or texts."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(model.MAX_LENGTH)
    mixed = [e.ids for e in tokenizer.encode_batch(texts)]
    chance = random.Random(1)
    ids = lambda count, length: [[chance.randrange(1000, 30000) for _ in range(length)] for _ in range(count)]
    lengths = sorted(map(len, mixed))
    print(
        f"mixed: {len(mixed)} texts, {sum(lengths)} tokens, median {lengths[len(lengths) // 2]}, "
        f"longest {lengths[-1]}"
    )
    return {
        "1x16": {"ids": ids(1, 16)},
        "1x128": {"ids": ids(1, 128)},
        "32x128": {"ids": ids(32, 128)},
        "mixed": {"ids": mixed},
        "mixed, with tokenising": {"texts": texts},
    }


class Contender:
    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, work: dict, mode: str, least_seconds: float) -> dict:
        request = {**work, "mode": mode, "least_seconds": least_seconds}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)


def build() -> str:
    """Builds benches/peers/ours.rs; its path."""
    command = ["cargo", "bench", "--locked", "--bench", "peers", "--no-run", "--message-format=json"]
    messages = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in messages.splitlines()]
    return next(a["executable"] for a in artifacts if a.get("executable"))


def start(program: str, directory: Path, threads: int) -> list[Contender]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    environment["TOKENIZERS_PARALLELISM"] = "true"
    rest = [str(directory), str(threads)]
    script = [sys.executable, str(HERE / "contender.py")]
    ours = {name: [program, *rest, precision] for name, precision in OURS.items()}
    commands = {**ours, **{name: [*script, name, *rest] for name in contender.PEERS}}
    return [Contender(name, command, environment) for name, command in commands.items()]


def modes(name: str, work: dict) -> list[str]:
    if name in OURS:
        return ["packed"]
    count = len(work.get("ids") or work["texts"])
    return list(contender.MODES) if count > 1 else ["one by one"]


def scores(name: str, answer: dict) -> np.ndarray:
    """Scores after the softmax: what this engine answers, and what peers leave to their callers."""
    if name in OURS:
        return np.array(answer["scores"])
    logits = np.array(answer["logits"])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def agree(contenders: list[Contender], all_works: dict) -> dict:
    """Warms everybody up, and makes sure that all do the same work. Tokenisers may differ in a few texts:
    this engine splits words that are too long, and takes a literal [SEP] as text."""
    worst = {}
    for name, work in all_works.items():
        expected = None
        for c in contenders:
            for mode in modes(c.name, work):
                got = scores(c.name, c.run(work, mode, 0.0))
                expected = got if expected is None else expected
                difference = float(np.abs(got - expected).max())
                if "ids" in work:
                    worst[c.name] = max(worst.get(c.name, 0.0), difference)
                if c.name not in ROUNDED and "ids" in work and difference > 1e-3:
                    sys.exit(f"{c.name} ({mode}) scores {name} otherwise, by {difference:.1e}")
    print("largest difference of a score:", {name: f"{d:.1e}" for name, d in worst.items()})
    return worst


def spread(values: list[float]) -> tuple[float, float]:
    return tuple(np.percentile(values, [25, 75]))


def report(all_works: dict, times: dict) -> list[dict]:
    rows = []
    print(f"\n{'work':<24} {'':<16} {'best mode':<22} {'median':>11}  over ours (IQR), f32 and bf16")
    for work in all_works:
        ours = {name: times[work, name, "packed"] for name in OURS}
        print(work)
        for name, measured in ours.items():
            print(f"{'':<24} {name:<16} {'packed':<22} {statistics.median(measured) * 1e3:>8.2f} ms")
        for name in contender.PEERS:
            medians = {
                mode: statistics.median(t) for (w, n, mode), t in times.items() if (w, n) == (work, name)
            }
            mode = min(medians, key=medians.get)
            said = f"{'':<24} {name:<16} {mode:<22} {medians[mode] * 1e3:>8.2f} ms"
            for own, measured in ours.items():
                ratio = medians[mode] / statistics.median(measured)
                low, high = spread([p / o for p, o in zip(times[work, name, mode], measured)])
                said += f"  {ratio:>6.2f}x ({low:.2f} to {high:.2f})"
                rows.append(
                    {"work": work, "ours": own, "peer": name, "mode": mode, "ratio": ratio, "iqr": [low, high],
                     "ours_seconds": statistics.median(measured), "peer_seconds": medians}
                )  # fmt: skip
            print(said)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="JSON lines with a text, or a folder of them")
    parser.add_argument("--count", type=int, default=500, help="texts of the mixed work")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="works whose name holds this")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--half", action="store_true", help="weights rounded to f16")
    parser.add_argument("--least-seconds", type=float, default=0.3, help="time of a measurement at least")
    parser.add_argument("--program", help="a built benches/peers/ours.rs, instead of building it")
    parser.add_argument("--json", type=Path, default=CACHE / "result.json", help="where the measures go")
    args = parser.parse_args()

    texts = read_texts(args.texts, args.count)
    directory = CACHE / ("half" if args.half else "full")
    model.prepare(directory, args.half)
    all_works = {name: work for name, work in works(texts, directory).items() if (args.only or "") in name}
    if not all_works:
        parser.error(f"--only {args.only!r}: no such work")
    contenders = start(args.program or build(), directory, args.threads)
    differences = agree(contenders, all_works)
    turns = [(w, c, m) for w, work in all_works.items() for c in contenders for m in modes(c.name, work)]
    times = {(w, c.name, m): [] for w, c, m in turns}
    for i in range(args.rounds):
        shift = i * len(turns) // args.rounds
        for w, c, m in turns[shift:] + turns[:shift]:
            time.sleep(PAUSE)
            times[w, c.name, m].append(c.run(all_works[w], m, args.least_seconds)["seconds"])
        print(f"\rround {i + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = report(all_works, times)
    result = {
        "processor": platform.processor() or platform.machine(),
        "threads": args.threads,
        "half": args.half,
        "rounds": args.rounds,
        "score_differences": differences,
        "ratios": rows,
        "seconds": [{"work": w, "contender": c, "mode": m, "rounds": t} for (w, c, m), t in times.items()],
    }
    args.json.write_text(json.dumps(result, indent=1))
    print(f"\n{args.json}")


if __name__ == "__main__":
    main()
