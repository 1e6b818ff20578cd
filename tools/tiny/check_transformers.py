#!/usr/bin/env python3
"""Compare the exported model with the transformers library's on held-out questions.

usage: check_transformers.py MODELDIR [LATENTCTL]

All run in float32 on the dequantised weights; prints the largest relative difference of a question's logits
(norm of the difference over the norm) and the share of positions where both rank the same token first: of the
trainer's model, and of latentd (backend blas) where the program latentctl is named.
"""
import os
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, FineGrainedFP8Config

import evaluate
import export


class Comparison:
    def __init__(self, name):
        self.name, self.worst, self.same, self.positions = name, 0.0, 0, 0

    def add(self, mine, theirs):
        self.worst = max(self.worst, ((mine - theirs).norm() / theirs.norm()).item())
        self.same += (mine.argmax(-1) == theirs.argmax(-1)).sum().item()
        self.positions += len(theirs)

    def __str__(self):
        return (f"{self.name}: {self.positions} positions, largest relative difference {self.worst:.2e}, "
                f"same first token {self.same / self.positions:.4%}")


def latentd_logits(latentctl, folder, tokens, scratch):
    """[tokens, vocabulary] as latentd computes them."""
    ids, out = os.path.join(scratch, "ids"), os.path.join(scratch, "out")
    with open(ids, "wb") as f:
        f.write(tokens.int().numpy().tobytes())
    subprocess.run([latentctl, "logits", folder, "--ids", ids, "--out", out, "--backend", "blas", "--cache-type", "f32"], check=True)
    with open(out, "rb") as f:
        return torch.frombuffer(bytearray(f.read()), dtype=torch.float32).view(len(tokens), -1)


@torch.no_grad()
def main():
    folder, latentctl = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    ours = export.load(folder).eval()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                  quantization_config=FineGrainedFP8Config(dequantize=True)).float().eval()
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    trainer, latentd = Comparison("trainer"), Comparison("latentd")
    with tempfile.TemporaryDirectory() as scratch:
        for ids, _ in evaluate.encode(tokenizer, evaluate.exam(seed=11, questions=3)):
            tokens = torch.tensor(ids)
            other = theirs(input_ids=tokens[None], use_cache=False).logits[0]
            trainer.add(ours(ours.batch(tokens, [(1, len(ids))])) @ ours.lm_head.T, other)
            if latentctl:
                latentd.add(latentd_logits(latentctl, folder, tokens, scratch), other)
    print(trainer)
    if latentctl:
        print(latentd)


if __name__ == "__main__":
    main()
