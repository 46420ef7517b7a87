"""The optimisation: masked losses of three heads, layer-wise rates, weight averaging, resuming."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from .batches import IGNORE, UNCOVERED, Batch, make_batches
from .model import LAYERS, GuardModel
from .pools import Mixture


@dataclass
class Stage:
    """One part of the schedule."""

    name: str
    tokens: int
    """Padded tokens to train on."""
    rate: float
    """Learning rate of the topmost layer when the stage begins."""
    final: float
    """Share of `rate` left at its end (linear in between)."""
    warmup: int = 0


BATCH_TOKENS = 4096
LAYER_DECAY = 0.9
HEAD_FACTOR = 3.0
EMA = 0.995
SMOOTHING = {"injection": 0.05, "toxicity": 0.03, "pii": 0.02}
WEIGHTS = {"injection": 1.0, "toxicity": 1.2, "pii": 4.0}


def losses(model: GuardModel, batch: Batch) -> dict[str, tuple[Tensor, int]]:
    """Mean loss and number of labelled rows of each head."""
    hidden = model(batch.ids, batch.lengths)
    first = hidden[:, 0]
    out: dict[str, tuple[Tensor, int]] = {}

    rows = batch.injection != IGNORE
    if rows.any():
        logits = model.injection(first[rows]).float()
        loss = F.cross_entropy(logits, batch.injection[rows], label_smoothing=SMOOTHING["injection"])
        out["injection"] = loss, int(rows.sum())

    known = ~batch.toxicity.isnan()
    rows = known.any(1)
    if rows.any():
        logits = model.toxicity(first[rows]).float()
        target, mask = batch.toxicity[rows].nan_to_num(), known[rows].float()
        s = SMOOTHING["toxicity"]
        loss = F.binary_cross_entropy_with_logits(logits, target * (1 - s) + s / 2, reduction="none")
        # `toxic` carries the row; the finer labels share what is left.
        share = mask.clone()
        share[:, 1:] *= 0.3
        out["toxicity"] = (loss * share).sum() / share.sum(), int(rows.sum())

    marked = batch.tokens != IGNORE
    if marked.any():
        log_p = model.pii(hidden[marked]).float().log_softmax(-1)
        target = batch.tokens[marked]
        allowed = batch.allowed[:, None].expand(-1, marked.shape[1], -1)[marked]
        outside = log_p.masked_fill(~allowed, -1e9).logsumexp(-1)
        exact = log_p.gather(1, target.clamp(min=0)[:, None])[:, 0]
        s = SMOOTHING["pii"]
        exact = (1 - s) * exact + s * log_p.mean(-1)
        loss = -torch.where(target == UNCOVERED, outside, exact)
        # Entity tokens are rare; count them twice.
        weight = 1.0 + (target > 0).float()
        out["pii"] = (loss * weight).sum() / weight.sum(), int(marked.any(1).sum())
    return out


def depth(name: str) -> float:
    """Learning-rate factor of a parameter: the lower the layer, the smaller the step."""
    if name.startswith(("injection", "toxicity", "pii")):
        return HEAD_FACTOR
    if name.startswith("layers."):
        return LAYER_DECAY ** (LAYERS - 1 - int(name.split(".")[1]))
    return LAYER_DECAY**LAYERS


class Trainer:
    """Float32 master weights, a bfloat16 working copy, and their running average."""

    def __init__(self, model: GuardModel, tokenizer: Tokenizer, checkpoint: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.checkpoint = tokenizer, checkpoint
        self.names = [n for n, _ in model.named_parameters()]
        self.master = [p.detach().float().to(self.device).clone().requires_grad_()
                       for p in model.parameters()]
        self.average = [p.detach().clone() for p in self.master]
        self.model = model.to(self.device, torch.bfloat16)
        self.work = list(self.model.parameters())
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, p in zip(self.names, self.master, strict=True):
            plain = p.ndim < 2 or name.startswith(("words", "positions", "types"))
            groups.setdefault((depth(name), 0.0 if plain else 0.05), []).append(p)
        self.optimizer = torch.optim.AdamW(
            [{"params": ps, "factor": f, "weight_decay": d} for (f, d), ps in groups.items()],
            lr=1e-4, betas=(0.9, 0.98), eps=1e-6, fused=True,
        )
        self.done: dict[str, int] = {}
        """Chunks finished in each stage."""
        self.spent: dict[str, int] = {}
        """Tokens trained on in each stage."""
        self.steps = 0
        if checkpoint.exists():
            self._restore()

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        with torch.no_grad():
            for target, saved in ((self.master, state["master"]), (self.average, state["average"])):
                for t, s in zip(target, saved, strict=True):
                    t.copy_(s)
            torch._foreach_copy_(self.work, self.master)
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.spent, self.steps = state["done"], state["spent"], state["steps"]

    def _save(self) -> None:
        part = self.checkpoint.with_suffix(".part")
        torch.save({
            "master": self.master, "average": self.average, "done": self.done, "spent": self.spent,
            "steps": self.steps, "optimizer": self.optimizer.state_dict(),
        }, part)
        part.replace(self.checkpoint)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name."""
        return {n: p.cpu() for n, p in zip(self.names, self.average, strict=True)}

    def _step(self, batch: Batch, rate: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        batch = Batch(**{k: v.to(self.device) for k, v in vars(batch).items()})
        parts = losses(self.model, batch)
        rows = len(batch.ids)
        total = sum(WEIGHTS[k] * loss * (n / rows) for k, (loss, n) in parts.items())
        total.backward()
        for p, w in zip(self.master, self.work, strict=True):
            p.grad = None if w.grad is None else w.grad.float()
            w.grad = None
        torch.nn.utils.clip_grad_norm_(self.master, 1.0)
        self.optimizer.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_copy_(self.work, self.master)
            if self.steps % 4 == 0:
                decay = min(EMA, (1 + self.steps / 4) / (10 + self.steps / 4)) ** 4
                torch._foreach_lerp_(self.average, self.master, 1.0 - decay)
        return {k: float(loss.detach()) for k, (loss, _) in parts.items()}

    def run(self, stage: Stage, mixture: Mixture) -> None:
        """Trains one stage to its token budget, from where it was left."""
        self.model.train()
        spent, chunk = self.spent.get(stage.name, 0), self.done.get(stage.name, 0)
        saved = shown = time.time()
        seen, trace = 0, {}
        while spent < stage.tokens:
            seed = f"{mixture.seed}:{stage.name}:{chunk}"
            torch.manual_seed(random.Random(seed).getrandbits(48))
            batches = make_batches(
                mixture.chunk(chunk), self.tokenizer, BATCH_TOKENS, random.Random(seed)
            )
            for batch in batches:
                progress = min(spent / stage.tokens, 1.0)
                rate = stage.rate * (1 - progress * (1 - stage.final))
                rate *= min(1.0, (self.steps + 1) / max(stage.warmup, 1))
                parts = self._step(batch, rate)
                spent += batch.ids.numel()
                seen += batch.ids.numel()
                for k, v in parts.items():
                    trace[k] = v if k not in trace else 0.98 * trace[k] + 0.02 * v
                if not all(math.isfinite(v) for v in parts.values()):
                    raise FloatingPointError(f"loss is not finite at step {self.steps}: {parts}")
                if time.time() - shown > 30:
                    speed = seen / (time.time() - shown)
                    shown, seen = time.time(), 0
                    text = " ".join(f"{k}={v:.3f}" for k, v in trace.items())
                    print(f"{stage.name} {progress:6.1%} step {self.steps} {speed:.0f} tok/s {text}",
                          flush=True)
            chunk += 1
            self.done[stage.name], self.spent[stage.name] = chunk, spent
            if time.time() - saved > 240:
                self._save()
                saved = time.time()
        self._save()
