#!/usr/bin/env python3
"""Logits of the whole model have the same bits however a prompt is cut into steps and however many threads compute:
the embedded model on backend cpu, with every instruction set of this processor, on fresh random prompts."""
import os
import random
import re
import subprocess
import sys
import tempfile

import daemon

LATENTCTL = os.path.join(daemon.BUILDDIR, "latentctl")
MODEL = os.path.join(daemon.SRCDIR, "models", "tiny")
VOCABULARY = 1560
THREADS = [1, 2, 3, 4]
BUDGETS = [256, 512, 1024, 2048]  # steps of whole expanded spans
CHUNKS = [1, 7, 32, 256]


def call(*args):
    return subprocess.run([LATENTCTL, "logits", MODEL, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


class Prompt:
    """A prompt of random ids, and files for it and its logits."""

    def __init__(self, folder, tokens):
        seed = random.randrange(1 << 30)
        print("%d tokens, seed %d" % (tokens, seed), flush=True)
        rng = random.Random(seed)
        self.tokens, self.ids, self.out = tokens, os.path.join(folder, "ids"), os.path.join(folder, "out")
        with open(self.ids, "wb") as f:
            f.write(b"".join(rng.randrange(VOCABULARY).to_bytes(4, "little") for _ in range(tokens)))

    def logits(self, *options):
        done = call("--ids", self.ids, "--out", self.out, *options)
        assert done.returncode == 0, done.stderr
        with open(self.out, "rb") as f:
            data = f.read()
        assert len(data) == 4 * VOCABULARY * self.tokens, "%d bytes of logits" % len(data)
        return data

    def same(self, first, others):
        """The number of ways that gave the bits of the first."""
        want = self.logits(*first)
        for way in others:
            assert self.logits(*way) == want, "%s gives other bits than %s" % (" ".join(way), " ".join(first))
        return len(others)


def instruction_sets(folder):
    """What the processor has, as the refusal of one that it has not tells."""
    prompt = Prompt(folder, 1)
    said = call("--ids", prompt.ids, "--out", prompt.out, "--isa", "none").stderr
    names = re.search(r"can run auto, (.*)", said).group(1).split(", ")
    for name in ("avx512bf16", "avx512", "avx2"):
        if name not in names:
            print("not checked: %s, which this processor does not have" % name)
    return names


def test_budgets():
    """attention auto: expanded spans, an absorbed tail."""
    with tempfile.TemporaryDirectory() as folder:
        prompt = Prompt(folder, random.randint(2050, 2300))
        return prompt.same(["--chunk", "256", "--threads", "1"],
                           [["--chunk", str(budget), "--threads", str(1 + i % 4)] for i, budget in enumerate(BUDGETS)]
                           + [["--cache-type", "f32"]])


def test_threads():
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        for isa in instruction_sets(folder):
            prompt = Prompt(folder, random.randint(300, 600))
            options = ["--isa", isa, "--cache-type", random.choice(["f32", "bf16", "q8"])]
            count += prompt.same([*options, "--threads", "1"], [[*options, "--threads", str(n)] for n in THREADS[1:]])
        return count


def test_chunks():
    """attention absorbed: any cut."""
    with tempfile.TemporaryDirectory() as folder:
        count = 0
        for isa in instruction_sets(folder):
            prompt = Prompt(folder, random.randint(100, 400))
            options = ["--isa", isa, "--attention", "absorbed", "--cache-type", random.choice(["f32", "bf16", "q8"])]
            count += prompt.same(options, [[*options, "--chunk", str(n), "--threads", str(random.choice(THREADS))]
                                           for n in CHUNKS])
        return count


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
