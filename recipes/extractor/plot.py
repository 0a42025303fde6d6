"""Draw where scores stand against training tokens and parameters, for the model card.

    python plot.py SCORES.jsonl OUT.svg

SCORES.jsonl: the last line of score.py for each checkpoint, oldest first. Those of the largest
model are joined by a line, those of smaller ones stand alone, hollow. The dictionary's scores are
those of the last line that has them. Needs matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt


def main() -> None:
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text("utf-8").splitlines()]
    most = max(row["parameters"] for row in rows)
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    names = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    for number, name in enumerate(names):
        scored = [row for row in rows if name in row["scores"]]
        for form, line in (("entity-list", "-"), ("template", "--")):
            found = [row for row in scored if form in row["scores"][name]]
            points = [row for row in found if row["parameters"] == most]
            for row in found:
                if row["parameters"] < most:
                    score = row["scores"][name][form]["all"]["f1"]
                    axes.plot(row["tokens"] / 1e6, score, "s", color=f"C{number}", fillstyle="none")
            if not points:
                continue
            axes.plot(
                [row["tokens"] / 1e6 for row in points],
                [row["scores"][name][form]["all"]["f1"] for row in points],
                line,
                marker="o",
                color=f"C{number}",
                label=f"{name}, {form}",
            )
        known = [row["scores"][name].get("dictionary") for row in scored]
        known = [found for found in known if found]
        if known:
            level = known[-1]["all"]["f1"]
            axes.axhline(level, color=f"C{number}", linewidth=0.8, linestyle=":")
            axes.text(0, level, f" {name}: dictionary", color=f"C{number}", fontsize=7)
    axes.set(xlabel="training tokens (millions)", ylabel="strict micro F1, dev", ylim=(0, 1))
    axes.set_xlim(left=0)
    axes.legend(fontsize=7)
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
