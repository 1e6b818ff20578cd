#!/usr/bin/env python3
"""How often the extra-token module is right about the exam's answers.

usage: exam_second_token.py MODELDIR

In float32, with the right tokens before each guess: the share of the exam's answer tokens (all but the first of an
answer) that the module, one token early, ranks first.
"""
import os
import sys

from tokenizers import Tokenizer

import evaluate
import export

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "exam"))
import make_exam  # noqa: E402


def main():
    folder = sys.argv[1]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    samples = [sample for _, sample in make_exam.questions()]
    encoded = [(ids, evaluate.last_answer(learn)) for ids, learn in evaluate.encode(tokenizer, samples)]
    right, accepted, tried, _ = evaluate.measure(export.load(folder), encoded)
    print(f"{right.sum().item()} of {len(right)} answers right; second token accepted: {accepted} of {tried}, {100 * accepted / tried:.1f}%")


if __name__ == "__main__":
    main()
