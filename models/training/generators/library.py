"""Real texts that come with Python and the packages of `requirements.txt`: code, manuals, licences."""

from __future__ import annotations

import importlib.metadata
import random
import sysconfig
from functools import cache
from pathlib import Path

STDLIB = ["", "asyncio", "concurrent/futures", "email", "html", "http", "importlib", "json", "logging",
          "multiprocessing", "unittest", "urllib", "xml/dom", "wsgiref"]
PACKAGES = ["torch", "numpy", "sympy", "networkx", "jinja2", "emoji", "tokenizers"]
SUFFIXES = {".py", ".pyi", ".h", ".hpp", ".cuh", ".cmake", ".js", ".html", ".f90", ".yaml", ".json"}
LEGAL = ("license", "licence", "copying", "notice", "authors", "readme", "changelog", "contributing")
MOST = 2000
"""Files taken of the packages: every n-th one, by name."""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="ignore") if 1000 < path.stat().st_size < 400_000 else ""
    except OSError:
        return ""


@cache
def code() -> list[str]:
    """Source files of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    return [t for part in STDLIB for f in sorted((root / part).glob("*.py")) if (t := _read(f))]


@cache
def other_code() -> list[str]:
    """Source files of the packages, in several languages."""
    root = Path(sysconfig.get_path("purelib"))
    files = [f for name in PACKAGES for f in sorted((root / name).rglob("*")) if f.suffix in SUFFIXES]
    step = max(1, len(files) // MOST)
    return [t for f in files[::step] if (t := _read(f))]


@cache
def documents() -> list[str]:
    """The chapters of Python's manual, the packages' descriptions and their licences."""
    from pydoc_data.topics import topics

    texts = [t for _, t in sorted(topics.items()) if len(t) > 400]
    found = sorted(importlib.metadata.distributions(), key=lambda d: d.metadata["Name"].lower())
    for dist in found:
        if (described := str(dist.metadata.get_payload() or "")) and len(described) > 400:
            texts.append(described)
        for file in dist.files or []:
            if file.name.lower().startswith(LEGAL) and file.suffix in ("", ".txt", ".md", ".rst") and (t := _read(Path(dist.locate_file(file)))):
                texts.append(t)
    return sorted(set(texts))


def excerpt(texts: list[str], rng: random.Random) -> str:
    """Some lines of one of the texts, from its beginning as often as from anywhere."""
    text = rng.choice(texts)
    start = 0
    if rng.random() < 0.6 and len(text) > 1000:
        start = text.find("\n", rng.randrange(len(text) - 500)) + 1
    return text[start : start + rng.randint(300, 5000)]
