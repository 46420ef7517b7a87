"""A tiny template grammar: `{slot}` is replaced by a random entry of that slot, recursively."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
Slots = dict[str, Sequence[str]]

SLOT = re.compile(r"\{([a-z_]+)\}")


def pick(items: Sequence[T], rng: random.Random, validation: bool = False) -> T:
    """An entry of the training share, or of the validation share, of a template list."""
    if len(items) < 5:
        return rng.choice(items)
    while True:
        place = rng.randrange(len(items))
        if (place % 5 == 4) == validation:
            return items[place]


def expand(template: str, slots: Slots, rng: random.Random) -> str:
    """Fills every slot that is known; unknown braces stay as they are."""

    def fill(match: re.Match[str]) -> str:
        choices = slots.get(match.group(1))
        return expand(rng.choice(choices), slots, rng) if choices else match.group()

    return SLOT.sub(fill, template)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
