#!/usr/bin/env python3
"""Draw how evenly the experts were loaded during a training.

usage: plot_balance.py LOG OUT.svg        needs matplotlib

Each line is one mixture of experts: MaxVio (largest load over the mean, minus 1) on the held-out questions at
each evaluation, with the trained biases (solid) and with the same weights and the biases set to zero (dashed).
"""
import json
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "latentd"  # the same log gives the same file
import matplotlib.pyplot as plt  # noqa: E402


def main():
    log, out = sys.argv[1:]
    with open(log, encoding="utf-8") as f:
        entries = [entry for entry in map(json.loads, f) if "max_vio_biased" in entry]
    minutes = [entry["minutes"] for entry in entries]
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for i, name in enumerate(entries[-1]["max_vio_biased"]):
        colour = f"C{i}"
        axes.plot(minutes, [entry["max_vio_biased"][name] for entry in entries], color=colour, label=name)
        axes.plot(minutes, [entry["max_vio_zero"][name] for entry in entries], color=colour, linestyle="--", alpha=0.6)
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("MaxVio on held-out questions")
    axes.set_title("Expert load with the trained biases (solid) and with zeros (dashed)")
    axes.set_ylim(bottom=0)
    axes.legend(ncols=3)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main()
