"""The model card, written from the measured reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).with_name("card.md")


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "-" if value != value else f"{value:.3f}"
        return "-" if value is None else str(value)

    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in row) + " |" for row in lines)


def _injection(report: dict) -> str:
    rows = [[name, e["rows"], e["auc"], e.get("recall"), e.get("passed")] for name, e in report["sources"].items()]
    head = [
        f"AUC {report['auc']:.3f} over all rows, {report['mean_auc']:.3f} as the mean of sources. At the shipped "
        f"threshold: recall {report['recall']:.3f}; benign passed {report['passed']:.3f}, hard-benign passed "
        f"{report['hard_passed']:.3f}, benign over 1,000 characters passed {report['long_passed']:.3f}; "
        + ", ".join(f"{k.removeprefix('recall_')} caught {v:.3f}" for k, v in report.items() if k.startswith("recall_"))
        + ".", "", "",
    ]
    return "\n".join(head) + _table(["source", "rows", "AUC", "recall", "benign passed"], rows)


def _toxicity(report: dict) -> str:
    labels = [[n, e["positives"], e["rows"], e["auc"], e.get("recall"), e.get("false_alarms")]
              for n, e in report["labels"].items() if e["rows"]]
    sources = [[n, e["rows"], e["auc"]] for n, e in report["sources"].items()]
    return (_table(["label", "positives", "rows", "AUC", "recall", "false alarms"], labels) + "\n\n"
            + _table(["source (`toxic`)", "rows", "AUC"], sources))


def _pii(report: dict) -> str:
    def rows(part: dict) -> list[list[Any]]:
        return [[n, e["spans"], e["f1"], e["precision"], e["recall"]] for n, e in part.items() if e["spans"]]

    head = ["spans", "exact F1", "precision", "recall"]
    return _table(["source", *head], rows(report["sources"])) + "\n\n" + _table(["label", *head], rows(report["labels"]))


def write(folder: Path, thresholds: dict[str, dict[str, float]], validation: dict, calibration: dict,
          test: dict) -> None:
    """README.md of the package."""
    sections = {
        "validation_injection": _injection(validation["injection"]),
        "validation_toxicity": _toxicity(validation["toxicity"]),
        "validation_pii": _pii(validation["pii"]),
        "generated_toxicity": _toxicity(validation["generated_toxicity"]),
        "calibration": _injection(calibration),
        "test_injection": _injection(test["injection"]),
        "test_toxicity": _toxicity(test["toxicity"]),
        "test_pii": _pii(test["pii"]),
        "thresholds": "\n".join(
            f"- {head}: " + ", ".join(f"`{k}` {v:g}" for k, v in values.items())
            for head, values in thresholds.items()),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, section in sections.items():
        text = text.replace("{{" + name + "}}", section)
    (folder / "README.md").write_text(text, encoding="utf-8")
