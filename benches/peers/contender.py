"""One peer in a process of its own: answers the requests of compare.py, a line of JSON each."""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from model import MAX_LENGTH

BATCH = 32


def pytorch(precision):
    def load(directory, threads):
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(threads)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(directory)
        model = model.to(getattr(torch, precision)).eval()

        @torch.inference_mode()
        def run(ids, mask):
            ids, mask = torch.from_numpy(ids), torch.from_numpy(mask)
            return model(input_ids=ids, attention_mask=mask).logits.float().numpy()

        return run

    return load


def onnx(file):
    def load(directory, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(directory / file, options, providers=["CPUExecutionProvider"])
        return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return load


PEERS = {
    "pytorch": pytorch("float32"),
    "pytorch-bf16": pytorch("bfloat16"),
    "onnx-f32": onnx("model.onnx"),
    "onnx-int8": onnx("model-int8.onnx"),
}


def one_by_one(run, sequences):
    return [run(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64))[0] for ids in sequences]


def sorted_batches(run, sequences):
    """Batches of 32 of about equal lengths, padded to the longest."""
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    logits = [None] * len(sequences)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = max(len(sequences[i]) for i in chosen)
        ids = np.zeros((len(chosen), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, i in enumerate(chosen):
            ids[row, : len(sequences[i])] = sequences[i]
            mask[row, : len(sequences[i])] = 1
        for i, row in zip(chosen, run(ids, mask)):
            logits[i] = row
    return logits


MODES = {"one by one": one_by_one, "sorted batches of 32": sorted_batches}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("directory", type=Path)
    parser.add_argument("threads", type=int)
    args = parser.parse_args()
    run = PEERS[args.peer](args.directory, args.threads)
    tokenizer = Tokenizer.from_file(str(args.directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_LENGTH)

    def pass_over(request):
        mode = MODES[request["mode"]]
        if "texts" not in request:
            return mode(run, request["ids"])
        if mode is one_by_one:
            return [one_by_one(run, [tokenizer.encode(text).ids])[0] for text in request["texts"]]
        return mode(run, [e.ids for e in tokenizer.encode_batch(request["texts"])])

    for line in sys.stdin:
        request = json.loads(line)
        if "ids" in request:
            request["ids"] = [np.array(ids, dtype=np.int64) for ids in request["ids"]]
        passes, start = 0, time.perf_counter()
        while True:
            logits = pass_over(request)
            passes += 1
            seconds = time.perf_counter() - start
            if seconds >= request["least_seconds"]:
                break
        print(json.dumps({"seconds": seconds / passes, "logits": [row.tolist() for row in logits]}), flush=True)


if __name__ == "__main__":
    main()
