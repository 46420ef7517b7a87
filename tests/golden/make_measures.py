"""Makes measures.json: scores, truths, and what scikit-learn measures on them.

    pip install scikit-learn && python tests/golden/make_measures.py
"""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, roc_curve


def main() -> None:
    rng = np.random.default_rng(5)
    cases = []
    for n, digits in [(20, 1), (300, 2), (2000, 6)]:  # few digits make ties
        truth = rng.random(n) < 0.3
        scores = np.clip(0.35 * truth + rng.random(n) * 0.65, 0, 1).round(digits)
        fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
        cases.append({
            "scores": scores.tolist(),
            "truth": truth.tolist(),
            "auc": roc_auc_score(truth, scores),
            "ap": average_precision_score(truth, scores),
            "f1_at_half": f1_score(truth, scores >= 0.5),
            "recall_at_5pct_fpr": tpr[fpr <= 0.05].max(),
        })
    Path(__file__).with_name("measures.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
