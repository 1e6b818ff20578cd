#!/usr/bin/env python3
"""MaxVio over the exam's tokens, from latentd's own counts, with the trained biases and with zeros.

usage: exam_balance.py LATENTD MODELDIR [PORT]

Runs LATENTD (backend blas) on MODELDIR and on a copy of it with all correction biases at zero, asks each the exam's
questions once, 32 at a time, and reads the per-expert counts from /metrics. Needs safetensors and torch.
"""
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import urllib.request

import torch
from safetensors.torch import load_file, save_file

EXAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "exam")
sys.path.insert(0, EXAM)
import exam  # noqa: E402

COUNT = re.compile(r'^latentd_expert_tokens_total\{layer="(\d+)",expert="\d+"\} (\d+)$', re.M)
CONCURRENCY = 32


def counts(latentd, folder, port, questions):
    """(score, {layer: [tokens of each expert]}) after one pass over the questions."""
    url = f"http://127.0.0.1:{port}"
    client = exam.Client(url)
    process = exam.start(shlex.join([latentd, "--model", folder, "--backend", "blas", "--port", str(port)]), client)
    try:
        score = exam.overall(exam.scores(questions, exam.run_pass(client, questions, False, CONCURRENCY)))
        with urllib.request.urlopen(url + "/metrics") as answer:
            text = answer.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    layers = {}
    for layer, tokens in COUNT.findall(text):
        layers.setdefault(int(layer), []).append(int(tokens))
    if not layers:
        sys.exit("exam_balance: /metrics has no per-expert counts")
    return score, layers


def zeroed(folder, out):
    """A copy of the model whose biases choose nothing."""
    shutil.copytree(folder, out)
    file = os.path.join(out, "model.safetensors")
    tensors = load_file(file)
    for name in tensors:
        if name.endswith("e_score_correction_bias"):
            tensors[name] = torch.zeros_like(tensors[name])
    save_file(tensors, file, metadata={"format": "pt"})
    return out


def main():
    latentd, folder = sys.argv[1:3]
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 8092
    with open(os.path.join(EXAM, "questions.jsonl"), encoding="utf-8") as f:
        questions = [json.loads(line) for line in f]
    with tempfile.TemporaryDirectory() as place:
        for name, model in (("trained biases", folder), ("zero biases", zeroed(folder, os.path.join(place, "zero")))):
            score, layers = counts(latentd, model, port, questions)
            shown = ", ".join(f"layer {layer + 1} {max(load) * len(load) / sum(load) - 1:.3f}" for layer, load in layers.items())
            print(f"{name}: score {100 * score:.1f}%, MaxVio {shown}", flush=True)


if __name__ == "__main__":
    main()
