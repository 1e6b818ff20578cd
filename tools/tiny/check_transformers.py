#!/usr/bin/env python3
"""Compare the exported model with the transformers library's on held-out questions.

usage: check_transformers.py MODELDIR

Both run in float32 on the dequantised weights; prints the largest relative difference of a question's logits
(norm of the difference over the norm) and the share of positions where both rank the same token first.
"""
import os
import sys

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, FineGrainedFP8Config

import evaluate
import export


@torch.no_grad()
def main():
    folder = sys.argv[1]
    ours = export.load(folder).eval()
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                  quantization_config=FineGrainedFP8Config(dequantize=True)).float().eval()
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    worst, same, positions = 0.0, 0, 0
    for ids, _ in evaluate.encode(tokenizer, evaluate.exam(seed=11, questions=3)):
        tokens = torch.tensor(ids)
        mine = ours(ours.batch(tokens, [(1, len(ids))])) @ ours.lm_head.T
        other = theirs(input_ids=tokens[None], use_cache=False).logits[0]
        worst = max(worst, ((mine - other).norm() / other.norm()).item())
        same += (mine.argmax(-1) == other.argmax(-1)).sum().item()
        positions += len(ids)
    print(f"{positions} positions, largest relative difference {worst:.2e}, same first token {same / positions:.4%}")


if __name__ == "__main__":
    main()
