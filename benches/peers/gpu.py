"""The same weights on the same GPU through what a user would take instead, in one run.

Weights are random, made here from a seed in the sizes of the models that matter. Every way of running
them gets the same texts' lengths: batches of equal length, and mixed lengths in order of arrival.

    gpu.py --ours PROGRAM --out DIR [--models deberta-v3-base,...] [--quick]
    gpu.py --ours PROGRAM --out DIR --cpu     # two layers, short texts, no GPU: shows that all runs
    gpu.py --texts FILE                       # only texts of these lengths, as JSON lines

PROGRAM is a built benches/peers/ours_gpu.rs.

Peers: transformers (eager, SDPA where the architecture has it, torch.compile) and, where installed,
FlashDeBERTa and DisentangledFlash. Times are medians over passes, with the 10th and 90th of a hundred:
of device events for device time, of the wall clock for whole calls. A row of ours has both a call with a
wait for each batch and a stream, in which the next batch is queued before one is waited for; peers queue
all batches of a pass, whose inputs are on the device already, and wait once. Ours runs before the peers and
again after them, so that drift shows. Results go to DIR/gpu.json and, as a table, to the terminal.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import time

import torch
import transformers

import ceilings
import sizes

# Lengths that DisentangledFlash is prepared for.
BUCKETS = [64, 128, 256, 384, 512]


def workloads(quick, tiny):
    """Name to batches of lengths."""
    shapes = [(1, 128), (8, 128), (64, 128), (1, 512), (32, 512)]
    if quick:
        shapes = [(1, 128), (32, 128)]
    if tiny:
        shapes = [(1, 16), (4, 32)]
    work = {f"{count} x {length}": [[length] * count] for count, length in shapes}
    texts = mixed_lengths(512)
    if quick:
        texts = texts[:96]
    if tiny:
        texts = [min(n, 64) for n in texts[:12]]
    for batch, count in ((8, 256), (64, 512)):
        work[f"mixed, batches of {batch}"] = [texts[i:i + batch] for i in range(0, min(count, len(texts)), batch)]
    return work


def mixed_lengths(count):
    """Long-tailed, as what users send: half below 30 tokens, some that fill a window."""
    lengths = random.Random(sizes.SEED)
    return [min(512, max(4, int(lengths.lognormvariate(3.5, 1.0)))) for _ in range(count)]


def write_texts(file, count=4096):
    """Texts of those lengths, two of which are marks; a letter and a space is one token."""
    letters = random.Random(sizes.SEED)
    with open(file, "w") as out:
        for length in mixed_lengths(count):
            words = (letters.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(max(1, length - 2)))
            out.write(json.dumps({"text": " ".join(words)}) + "\n")


def state():
    """Clocks, power and temperature by now."""
    query = "clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def spread(seconds):
    ordered = sorted(seconds)
    return [ordered[(len(ordered) - 1) * p // 100] for p in (10, 50, 90)]


def padded(batch, device):
    """Ids and mask of a batch as padding servers run it."""
    longest = max(batch)
    ids = torch.randint(5, 105, (len(batch), longest), device=device)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(batch):
        mask[row, :length] = 1
    return ids * mask, mask


class Timer:
    """Device time by events; on the CPU, by the clock."""

    def __init__(self, device):
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if device == "cuda" else None
        self.times = []

    def mark(self):
        if self.events:
            self.events[len(self.times)].record()
        self.times.append(time.perf_counter())

    def seconds(self):
        if self.events:
            torch.cuda.synchronize()
            return self.events[0].elapsed_time(self.events[1]) / 1e3
        return self.times[1] - self.times[0]


def measure(model, batches, passes, device):
    """Device and call times of the batches one after the other, padded: `passes` times, or as often as four
    seconds allow, and eight times at least."""
    inputs = [padded(batch, device) for batch in batches]
    on_device, calls = [], []
    with torch.inference_mode():
        for _ in range(3):
            for ids, mask in inputs:
                model(input_ids=ids, attention_mask=mask).logits.cpu()
        begun = time.perf_counter()
        for done in range(passes):
            if done >= 8 and time.perf_counter() - begun > 4:
                break
            timer = Timer(device)
            start = time.perf_counter()
            timer.mark()
            for ids, mask in inputs:
                logits = model(input_ids=ids, attention_mask=mask).logits
            timer.mark()
            logits.cpu()
            calls.append(time.perf_counter() - start)
            on_device.append(timer.seconds())
    return spread(on_device), spread(calls)


def distance(model, exact, device):
    """How far the logits of a few texts are from those in f32, and how large those are."""
    torch.manual_seed(sizes.SEED)
    ids, mask = padded([40, 7, 128, 64], device)
    with torch.inference_mode():
        got, expected = (m(input_ids=ids, attention_mask=mask).logits.float() for m in (model, exact))
    return (got - expected).abs().max().item(), expected.abs().max().item()


def peers(name, made, dtype, device):
    """Name of each way to run the model, and what builds it."""
    load = transformers.AutoModelForSequenceClassification.from_pretrained

    def plain(attention, dtype=dtype):
        return lambda: load(made, dtype=dtype, attn_implementation=attention).to(device).eval()

    ways = {}
    if name.startswith("deberta"):
        def flash():
            import flashdeberta
            kind = flashdeberta.FlashDebertaV2ForSequenceClassification
            return kind.from_pretrained(made, dtype=dtype).to(device).eval()

        def disentangled():
            from disentangled_flash import optimize_deberta
            model = plain("eager")()
            backend = "triton" if device == "cuda" else "torch"
            optimize_deberta(model.deberta, sequence_lengths=BUCKETS, backend=backend)
            return model

        ways["DisentangledFlash packed"] = lambda: Packed(disentangled())
        ways["DisentangledFlash"] = lambda: Bucketed(disentangled())
        ways["FlashDeBERTa"] = flash
    else:
        ways["transformers sdpa"] = plain("sdpa")
    ways["transformers eager"] = plain("eager")
    ways["torch.compile"] = lambda: torch.compile(
        plain("eager" if name.startswith("deberta") else "sdpa")(), dynamic=True)
    return ways


class Bucketed:
    """DisentangledFlash's padded path, which takes batches of the lengths it was prepared for."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, attention_mask):
        length = input_ids.shape[1]
        bucket = next(b for b in BUCKETS if b >= length)
        self.model.deberta.encoder.activate_shape(bucket)
        pad = (0, bucket - length)
        ids, mask = (torch.nn.functional.pad(x, pad) for x in (input_ids, attention_mask))
        return self.model(input_ids=ids, attention_mask=mask)


class Packed:
    """DisentangledFlash's unpadded path: embeddings, packing, encoder.forward_packed, head."""

    def __init__(self, model):
        self.model = model

    def __call__(self, input_ids, attention_mask):
        from disentangled_flash import pack_padded_with_info
        trunk = self.model.deberta
        hidden = trunk.embeddings(input_ids=input_ids, mask=attention_mask)
        tokens, starts, info = pack_padded_with_info(hidden, attention_mask)
        out = trunk.encoder.forward_packed(tokens, starts, info.max_seqlen, packed_info=info)
        first = out.last_hidden_state[starts[:-1].long()].unsqueeze(1)
        logits = self.model.classifier(self.model.pooler(first))
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


def ours(program, made, work, folder, bf16, passes):
    file = folder / "work.json"
    listed = [{"name": name, "batches": batches} for name, batches in work.items()]
    file.write_text(json.dumps(listed))
    command = [program, "--package", made, "--work", file, "--passes", passes]
    if bf16:
        command.append("--bf16")
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr[-2000:])
    return {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}


class Record:
    """The rows so far, in a file and on the terminal."""

    def __init__(self, options, work):
        self.file = options.out / "gpu.json"
        self.work = work
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        self.results = {
            "date": time.strftime("%Y-%m-%d"), "command": " ".join(sys.argv),
            "device": "cpu" if options.cpu else subprocess.run(query, capture_output=True, text=True).stdout.strip(),
            "torch": torch.__version__, "transformers": transformers.__version__, "dtype": options.dtype,
            "passes": options.passes, "states": [], "rows": [], "steps": [], "ratios": [],
        }

    def save(self):
        self.file.write_text(json.dumps(self.results, indent=1))

    def row(self, model, way, workload, on_device, calls, streams=None, steps=None):
        tokens = sum(map(sum, self.work[workload]))
        row = dict(model=model, way=way, workload=workload, tokens=tokens, device_seconds=on_device,
                   call_seconds=calls, stream_seconds=streams, step_seconds=steps)
        self.results["rows"].append(row)
        best = (streams or calls)[1]
        print(f"{model:18} {workload:22} {way:26} device {on_device[1] * 1e3:9.3f} ms   call "
              f"{calls[1] * 1e3:9.3f} ms ({calls[0] * 1e3:.3f} .. {calls[2] * 1e3:.3f})   "
              f"{tokens / best / 1e6:7.3f} Mtok/s", flush=True)
        self.save()

    def steps(self):
        """What share of the card's ceilings each step of our passes reaches."""
        for row in self.results["rows"]:
            if row["step_seconds"]:
                (lengths,) = self.work[row["workload"]]
                config = sizes.config(row["model"])
                shares = ceilings.report(config, lengths, row["step_seconds"], self.results["ceilings"])
                self.results["steps"].append(dict(model=row["model"], workload=row["workload"], steps=shares))
                print(f"{row['model']}, {row['workload']}: step, us, % of the pass, of the operations, of the bandwidth")
                for share in shares:
                    print(f"    {share['step']:14} {share['seconds'] * 1e6:9.1f} {share['of_the_pass']:6.1%} "
                          f"{share['of_the_operations']:6.1%} {share['of_the_bandwidth']:6.1%}", flush=True)
        self.save()

    def ratios(self, model):
        """How many times faster ours is than the best peer that pads and the best that packs."""
        rows = [row for row in self.results["rows"] if row["model"] == model]
        for workload in self.work:
            here = {row["way"]: row for row in rows if row["workload"] == workload}
            ours = [row["stream_seconds"][1] for way, row in here.items() if way.startswith("portcullis")]
            for kind, packs in (("padded", False), ("packed", True)):
                peers_ = {way: row["call_seconds"][1] for way, row in here.items()
                          if not way.startswith("portcullis") and way.endswith("packed") == packs}
                if ours and peers_:
                    best = min(peers_, key=peers_.get)
                    ratio = [peers_[best] / seconds for seconds in ours]
                    self.results["ratios"].append(dict(model=model, workload=workload, kind=kind, peer=best, ratios=ratio))
                    shown = " ".join(f"{r:.2f}" for r in ratio)
                    print(f"{model:18} {workload:22} x best {kind} ({best}): {shown}", flush=True)
        self.save()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/gpu/results"))
    parser.add_argument("--models", default=",".join(sizes.MODELS[:2]))
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--deadline", type=float, default=float("inf"), help="begin nothing after so many seconds")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which is slow to start")
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--cpu", action="store_true", help="try the script where there is no GPU")
    parser.add_argument("--texts", type=pathlib.Path, help="write texts there, and do nothing else")
    options = parser.parse_args()
    if options.texts:
        return write_texts(options.texts)
    begun = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    device, smaller = ("cpu", dict(layers=2, vocabulary=128)) if options.cpu else ("cuda", {})
    folder = pathlib.Path("/tmp/portcullis-sizes" + ("-cpu" if options.cpu else ""))
    folder.mkdir(exist_ok=True)
    work = workloads(options.quick, options.cpu)
    record = Record(options, work)
    names = options.models.split(",")
    made = {name: sizes.package(name, folder, **smaller) for name in names}

    def run_ours(name, way):
        if not options.cpu:
            record.results["states"].append([name, way, state()])
        try:
            lines = ours(options.ours, made[name], work, folder, options.dtype == "bfloat16", options.passes)
            for workload, line in lines.items():
                record.row(name, way, workload, line["device_seconds"], line["call_seconds"],
                           line["stream_seconds"], line["step_seconds"])
        except RuntimeError as error:
            print(f"{name}: portcullis failed: {error}", flush=True)

    for name in names if options.ours else []:
        run_ours(name, "portcullis")
    if not options.cpu:
        record.results["ceilings"] = ceilings.measured(Timer)
        print(record.results["ceilings"], flush=True)
        torch.cuda.empty_cache()
        record.steps()
    for name in [] if options.no_peers else names:
        dtype = getattr(torch, options.dtype)
        exact = transformers.AutoModelForSequenceClassification.from_pretrained(
            made[name], dtype=torch.float32, attn_implementation="eager").to(device).eval()
        for way, build in peers(name, made[name], dtype, device).items():
            if options.no_compile and way == "torch.compile":
                continue
            if time.perf_counter() - begun > options.deadline - 60:
                print(f"{name}: {way}: no time left", flush=True)
                continue
            try:
                model = build()
                off, size = distance(model, exact, device)
                if not off < 0.05 * max(1.0, size):
                    raise ValueError(f"its logits, of up to {size:.2f}, are off by {off:.3f}")
                for workload, batches in work.items():
                    record.row(name, way, workload, *measure(model, batches, options.passes, device))
                del model
            except Exception as error:  # a peer that is missing or fails leaves a line, not a hole
                print(f"{name}: {way}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            if device == "cuda":
                torch.cuda.empty_cache()
        if options.ours and time.perf_counter() - begun < options.deadline - 30:
            run_ours(name, "portcullis, again")
        record.ratios(name)


if __name__ == "__main__":
    main()
