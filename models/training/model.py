"""The network: a BERT trunk of six layers and three heads, written for fast CPU and GPU training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .labels import BIO, INJECTION, TOXICITY

HIDDEN, HEADS, LAYERS, INNER, POSITIONS = 384, 12, 6, 1536, 512
EPS = 1e-12


class PooledDropout(nn.Module):
    """Dropout whose mask is a random slice of a pre-drawn pool: drawing fresh bits dominates on CPUs."""

    def __init__(self, p: float, pool: int = 1 << 24) -> None:
        super().__init__()
        self.p = p
        self.size = pool
        self.pool: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        if x.is_cuda or x.numel() >= self.size:
            return F.dropout(x, self.p)
        if self.pool is None or self.pool.dtype != x.dtype:
            self.pool = (torch.rand(self.size) > self.p).to(x.dtype) / (1.0 - self.p)
        start = int(torch.randint(0, self.size - x.numel(), ()))
        return x * self.pool[start : start + x.numel()].view_as(x)


class Layer(nn.Module):
    """One post-norm transformer layer."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.query = nn.Linear(HIDDEN, HIDDEN)
        self.key = nn.Linear(HIDDEN, HIDDEN)
        self.value = nn.Linear(HIDDEN, HIDDEN)
        self.attention_out = nn.Linear(HIDDEN, HIDDEN)
        self.attention_norm = nn.LayerNorm(HIDDEN, eps=EPS)
        self.inner = nn.Linear(HIDDEN, INNER)
        self.outer = nn.Linear(INNER, HIDDEN)
        self.output_norm = nn.LayerNorm(HIDDEN, eps=EPS)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape

        def split(y: Tensor) -> Tensor:
            y = y.view(batch, length, HEADS, HIDDEN // HEADS).transpose(1, 2)
            return y.reshape(batch * HEADS, length, HIDDEN // HEADS)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        # Plain batched products: faster than the fused CPU kernel's backward pass.
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=(HIDDEN // HEADS) ** -0.5)
        context = torch.bmm(torch.softmax(scores, -1), v)
        context = context.view(batch, HEADS, length, -1).transpose(1, 2).reshape(batch, length, HIDDEN)
        x = self.attention_norm(x + self.dropout(self.attention_out(context)))
        return self.output_norm(x + self.dropout(self.outer(F.gelu(self.inner(x)))))


class SequenceHead(nn.Module):
    """First token -> dense -> tanh -> labels."""

    def __init__(self, labels: int, dropout: nn.Module) -> None:
        super().__init__()
        self.dense = nn.Linear(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, labels)
        self.dropout = dropout
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, first: Tensor) -> Tensor:
        return self.out(self.dropout(torch.tanh(self.dense(self.dropout(first)))))


class GuardModel(nn.Module):
    """Trunk and heads; one pass gives all three."""

    def __init__(self, vocab: int, dropout: float = 0.1) -> None:
        super().__init__()
        drop = PooledDropout(dropout)
        self.dropout = drop
        self.words = nn.Embedding(vocab, HIDDEN)
        self.positions = nn.Embedding(POSITIONS, HIDDEN)
        self.types = nn.Embedding(2, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN, eps=EPS)
        self.layers = nn.ModuleList(Layer(drop) for _ in range(LAYERS))
        self.injection = SequenceHead(len(INJECTION), drop)
        self.toxicity = SequenceHead(len(TOXICITY), drop)
        self.pii = nn.Linear(HIDDEN, len(BIO))
        nn.init.normal_(self.pii.weight, std=0.02)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Last hidden states [batch, length, hidden]; positions at or after `lengths` are padding."""
        batch, length = ids.shape
        places = torch.arange(length, device=ids.device)
        x = self.words(ids) + self.positions(places) + self.types.weight[0]
        x = self.dropout(self.norm(x))
        padding = places[None, :] >= lengths[:, None]
        mask = torch.zeros(batch, 1, length, dtype=x.dtype, device=x.device)
        mask = mask.masked_fill(padding[:, None], -1e4).repeat_interleave(HEADS, 0)
        for layer in self.layers:
            x = layer(x, mask)
        return x


_NAMES = {
    "words": "bert.embeddings.word_embeddings",
    "positions": "bert.embeddings.position_embeddings",
    "types": "bert.embeddings.token_type_embeddings",
    "norm": "bert.embeddings.LayerNorm",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "output_norm": "output.LayerNorm",
}


def hub_name(name: str) -> str:
    """A parameter's name in the package (the hub's BERT naming for the trunk)."""
    parts = name.split(".")
    if parts[0] == "layers":
        return ".".join(["bert.encoder.layer", parts[1], _NAMES[parts[2]], parts[3]])
    if parts[0] in ("injection", "toxicity"):
        return "heads." + name
    if parts[0] == "pii":
        return f"heads.pii.out.{parts[1]}"
    return f"{_NAMES[parts[0]]}.{parts[1]}"


def load_trunk(model: GuardModel, tensors: dict[str, Tensor], new_words: list[list[int]]) -> None:
    """Fills the trunk from the base model; each new word starts as the mean of its name's pieces."""
    state = model.state_dict()
    for name in state:
        key = hub_name(name).removeprefix("bert.")
        if key in tensors and name != "words.weight":
            state[name].copy_(tensors[key])
    words = tensors["embeddings.word_embeddings.weight"].float()
    state["words.weight"][: len(words)].copy_(words)
    for row, pieces in enumerate(new_words, start=len(words)):
        state["words.weight"][row].copy_(words[pieces].mean(0))
