#!/usr/bin/env python3
"""Look for the exam's questions in what training reads.

usage: check_held_out.py [SAMPLES]

Draws SAMPLES training samples (default 100000) and compares every answer in them, with all that stands before it,
with the exam's questions. Prints by skill how many of the exam's questions were met; fails if it is any.
Standard library only.
"""
import collections
import json
import os
import random
import sys

import corpus

EXAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "exam")
sys.path.insert(0, EXAM)
import make_exam  # noqa: E402

SEED = 5


def identity(request, expect):
    return json.dumps([request, expect], sort_keys=True)


def questions_in(sample):
    """Identities of all that a training sample asks, as the exam would ask it."""
    if "lines" in sample:
        return []
    if "prompt" in sample:
        request = {"prompt": sample["prompt"], "temperature": 0, "max_tokens": make_exam.MAX_TOKENS}
        return [identity(request, {"text": sample["completion"]})]
    return [identity(*make_exam.chat_question(sample, i)) for i, turn in enumerate(sample["turns"]) if turn["role"] == "assistant"]


def main():
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    with open(os.path.join(EXAM, "questions.jsonl"), encoding="utf-8") as f:
        exam = {identity(q["request"], q["expect"]): q for q in map(json.loads, f)}
    rng, met = random.Random(SEED), set()
    for _ in range(samples):
        met.update(text for text in questions_in(corpus.training_sample(rng, needle_high=500)) if text in exam)
    by_skill = collections.Counter(exam[text]["skill"] for text in met)
    print(f"{samples} training samples, {len(exam)} questions, met: {len(met)} {dict(by_skill)}")
    sys.exit(1 if met else 0)


if __name__ == "__main__":
    main()
