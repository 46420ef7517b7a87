"""What a card can do, measured, and how much of it each step of a pass reaches."""

import torch

# Bytes of a value.
HALF = 2
# Queries and keys of a tile of the attention kernels.
TILE = 64


def measured(timer):
    """What this card copies and multiplies: bytes and operations a second, the best of a few."""
    copied = torch.empty(2 << 30, dtype=torch.uint8, device="cuda").random_()
    other = torch.empty_like(copied)
    left = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    seconds = {"copy": [], "matmul": []}
    for _ in range(30):
        for name, work in (("copy", lambda: other.copy_(copied)), ("matmul", lambda: left @ left)):
            timing = timer("cuda")
            timing.mark()
            work()
            timing.mark()
            seconds[name].append(timing.seconds())
    return {"bytes_per_second": 2 * copied.numel() / min(seconds["copy"]),
            "operations_per_second": 2 * 8192**3 / min(seconds["matmul"])}


def of_steps(config, lengths):
    """Operations and bytes of device memory that the steps of a pass over these lengths cannot do without, by
    the names that ours_gpu gives them: weights read once, every input and result once."""
    tokens, hidden, up, layers = sum(lengths), config.hidden_size, config.intermediate_size, config.num_hidden_layers
    gated = config.model_type == "modernbert"
    disentangled = config.model_type == "deberta-v2"

    def product(inputs, outputs):
        moved = (tokens * (inputs + outputs) + inputs * outputs) * HALF
        return layers * 2 * tokens * inputs * outputs, layers * moved

    # Scores and their weighted sum, and in disentangled attention two bands of distances a pair of tiles.
    operations = sum(4 * n * n * hidden for n in lengths)
    if disentangled:
        operations += sum((-(-n // TILE)) ** 2 * 2 * 2 * TILE * (2 * TILE - 1) * hidden for n in lengths)
    row = tokens * hidden * HALF
    return {
        "embedding": (0, 2 * row),
        "qkv": product(hidden, 3 * hidden),
        "attention": (layers * operations, layers * 4 * row),
        "attention out": product(hidden, hidden),
        "norm": (0, layers * 2 * (4 if gated else 3) * row),
        "up": product(hidden, 2 * up if gated else up),
        "activation": (0, layers * tokens * up * (3 if gated else 2) * HALF),
        "down": product(up, hidden),
    }


def report(config, lengths, seconds, ceilings):
    """A row for each step: its share of the pass, and of what the card can multiply and copy."""
    needed = of_steps(config, lengths)
    total = sum(taken for _, taken in seconds)
    rows = []
    for name, taken in seconds:
        operations, moved = needed.get(name, (0, 0))
        rows.append({
            "step": name, "seconds": taken, "of_the_pass": taken / total,
            "of_the_operations": operations / taken / ceilings["operations_per_second"],
            "of_the_bandwidth": moved / taken / ceilings["bytes_per_second"],
        })
    return rows
