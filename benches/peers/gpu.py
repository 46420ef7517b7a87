"""The same weights on the same GPU through what a user would take instead, in one run.

Weights are random, made here from a seed in the sizes of the models that matter. Every way of running
them gets the same texts' lengths: batches of equal length, and mixed lengths in order of arrival.

    gpu.py --ours target/gpu/cuda --out DIR [--models deberta-v3-base,...] [--quick]

Peers: transformers (eager, SDPA where the architecture has it, torch.compile) and, where installed,
FlashDeBERTa and DisentangledFlash. Times are medians over passes, with the 10th and 90th of a hundred:
of device events for device time, of the wall clock for whole calls. Results go to DIR/gpu.json and, as
a table, to the terminal.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import time

import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 20261123


def config(name):
    """The configuration and the class of each size."""
    common = dict(num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    if name in ("deberta-v3-base", "deberta-v3-xsmall"):
        hidden = {"deberta-v3-base": 768, "deberta-v3-xsmall": 384}[name]
        return transformers.DebertaV2Config(
            vocab_size=128100, hidden_size=hidden, num_hidden_layers=12, num_attention_heads=hidden // 64,
            intermediate_size=4 * hidden, max_position_embeddings=512, type_vocab_size=0,
            relative_attention=True, position_buckets=256, norm_rel_ebd="layer_norm", share_att_key=True,
            pos_att_type=["p2c", "c2p"], layer_norm_eps=1e-7, max_relative_positions=-1,
            position_biased_input=False, pooler_dropout=0.0, pooler_hidden_act="gelu",
            pooler_hidden_size=hidden, **common)
    if name in ("minilm-l6", "bert-base"):
        hidden, layers = {"minilm-l6": (384, 6), "bert-base": (768, 12)}[name]
        return transformers.BertConfig(
            hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=12,
            intermediate_size=4 * hidden, **common)
    if name == "modernbert-base":
        return transformers.ModernBertConfig(num_labels=2)
    raise SystemExit(f"no such model: {name}")


MODELS = ["deberta-v3-base", "minilm-l6", "deberta-v3-xsmall", "bert-base", "modernbert-base"]


def package(name, folder):
    """Random weights in a package's layout. The tokenizer is only there to be read."""
    made = folder / name
    if made.is_dir():
        return made
    torch.manual_seed(SEED)
    model = transformers.AutoModelForSequenceClassification.from_config(config(name))
    model.float().save_pretrained(made)
    shutil.copy(ROOT / "tests/golden/bert-sequence/tokenizer.json", made)
    return made


def workloads(quick):
    """Name to batches of lengths."""
    sizes = [(1, 128), (8, 128), (64, 128), (1, 512), (32, 512)]
    if quick:
        sizes = [(1, 128), (32, 128)]
    work = {f"{count} x {length}": [[length] * count] for count, length in sizes}
    lengths = random.Random(SEED)
    # Long-tailed, as what users send: half below 30 tokens, some that fill a window.
    texts = [min(512, max(4, int(lengths.lognormvariate(3.5, 1.0)))) for _ in range(512)]
    for batch in (8, 64):
        work[f"mixed, batches of {batch}"] = [texts[i:i + batch] for i in range(0, len(texts), batch)]
    return work


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


def measure(model, batches, passes):
    """Device and call times of the batches one after the other, padded."""
    inputs = [padded(batch, "cuda") for batch in batches]
    device, calls = [], []
    with torch.inference_mode():
        for _ in range(3):
            for ids, mask in inputs:
                model(input_ids=ids, attention_mask=mask)
        torch.cuda.synchronize()
        for _ in range(passes):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start = time.perf_counter()
            begin.record()
            for ids, mask in inputs:
                logits = model(input_ids=ids, attention_mask=mask).logits
            end.record()
            logits.cpu()
            torch.cuda.synchronize()
            calls.append(time.perf_counter() - start)
            device.append(begin.elapsed_time(end) / 1e3)
    return spread(device), spread(calls)


def peers(name, made, dtype):
    """Name of each way to run the model, and what builds it."""
    load = transformers.AutoModelForSequenceClassification.from_pretrained

    def plain(attention):
        return lambda: load(made, dtype=dtype, attn_implementation=attention).cuda().eval()

    ways = {"transformers eager": plain("eager")}
    if not name.startswith("deberta"):
        ways["transformers sdpa"] = plain("sdpa")
    ways["torch.compile"] = lambda: torch.compile(
        plain("eager" if name.startswith("deberta") else "sdpa")(), dynamic=True)
    if name.startswith("deberta"):
        def flash():
            import flashdeberta
            kind = flashdeberta.FlashDebertaV2ForSequenceClassification
            return kind.from_pretrained(made, dtype=dtype).cuda().eval()

        def disentangled():
            from disentangled_flash import optimize_deberta
            model = plain("eager")()
            optimize_deberta(model.deberta, sequence_lengths=[64, 128, 256, 384, 512])
            return model

        ways["FlashDeBERTa"] = flash
        ways["DisentangledFlash"] = disentangled
        ways["DisentangledFlash packed"] = lambda: Packed(disentangled())
    return ways


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS[:2]))
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which is slow to start")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path("/tmp/portcullis-gpu")
    folder.mkdir(exist_ok=True)
    results = {
        "date": time.strftime("%Y-%m-%d"), "command": " ".join(sys.argv), "device": torch.cuda.get_device_name(),
        "driver": subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                                 capture_output=True, text=True).stdout.strip(),
        "torch": torch.__version__, "transformers": transformers.__version__, "dtype": options.dtype,
        "passes": options.passes, "rows": [],
    }
    work = workloads(options.quick)

    def record(model, way, workload, device, calls):
        tokens = sum(map(sum, work[workload]))
        results["rows"].append(dict(model=model, way=way, workload=workload, tokens=tokens,
                                    device_seconds=device, call_seconds=calls))
        per_second = tokens / calls[1] / 1e6
        print(f"{model:18} {workload:22} {way:26} device {device[1] * 1e3:9.3f} ms   call "
              f"{calls[1] * 1e3:9.3f} ms ({calls[0] * 1e3:.3f} .. {calls[2] * 1e3:.3f})   "
              f"{per_second:7.3f} Mtok/s", flush=True)
        (options.out / "gpu.json").write_text(json.dumps(results, indent=1))

    for name in options.models.split(","):
        made = package(name, folder)
        try:
            for workload, line in ours(options.ours, made, work, folder, options.dtype == "bfloat16",
                                       options.passes).items():
                record(name, "portcullis", workload, line["device_seconds"], line["call_seconds"])
        except RuntimeError as error:
            print(f"{name}: portcullis failed: {error}", flush=True)
        for way, build in peers(name, made, getattr(torch, options.dtype)).items():
            if options.no_compile and way == "torch.compile":
                continue
            try:
                model = build()
                for workload, batches in work.items():
                    device, calls = measure(model, batches, options.passes)
                    record(name, way, workload, device, calls)
                del model
            except Exception as error:  # a peer that is missing or fails leaves a line, not a hole
                print(f"{name}: {way}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
