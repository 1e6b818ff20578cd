"""Offline measurements of the embedded model: accuracy by skill, expert balance, second-token acceptance.

Accuracy is exact: an answer counts if every token that the model must produce has the highest logit given
the right tokens before it, which is the same as greedy generation giving exactly the expected answer.

usage: evaluate.py MODELDIR          an exported model, in float32
"""
import os
import random
import sys

import torch
from tokenizers import Tokenizer

import corpus
import export

PAD_ID = 2
EVALUATION_TOKENS = 8192
SHOWN_SEED, SHOWN_QUESTIONS = 99, 50


def bfloat16(model):
    """The model with bfloat16 parameters; the correction biases stay float32."""
    for p in model.parameters():
        p.data = p.data.bfloat16()
    return model


def encode(tokenizer, samples):
    """(ids, learn mask) lists of each sample."""
    rendered = [corpus.render(sample) for sample in samples]
    flat = tokenizer.encode_batch([text for pieces in rendered for text, _ in pieces], add_special_tokens=False)
    encodings = iter(flat)
    result = []
    for pieces in rendered:
        ids, learn = [], []
        for _, is_learnt in pieces:
            piece = next(encodings).ids
            ids += piece
            learn += [is_learnt] * len(piece)
        result.append((ids, learn))
    return result


def pad(encoded, rows=0, length=0):
    """One rectangle: ids [rows, length], learn mask [rows, length]; of at least the size given."""
    length = max([length] + [len(ids) for ids, _ in encoded])
    encoded = encoded + [([], [])] * (rows - len(encoded))
    ids = torch.tensor([row + [PAD_ID] * (length - len(row)) for row, _ in encoded])
    learn = torch.tensor([mask + [False] * (length - len(mask)) for _, mask in encoded])
    return ids, learn


def batch_of(model, chunks, device):
    """(Batch, flat learn mask) of rectangles."""
    tokens = torch.cat([ids.flatten() for ids, _ in chunks]).to(device)
    learn = torch.cat([mask.flatten() for _, mask in chunks])
    return model.batch(tokens, [tuple(ids.shape) for ids, _ in chunks]), learn


def targets(chunks, learn, ahead):
    """Flat positions whose token `ahead` places on is the model's to produce, in the same sequence."""
    inside = torch.cat([(torch.arange(ids.shape[1]) < ids.shape[1] - ahead).repeat(ids.shape[0]) for ids, _ in chunks])
    ahead_mask = torch.cat([learn[ahead:], learn.new_zeros(ahead)])
    return torch.nonzero(ahead_mask & inside)[:, 0]


def last_answer(mask):
    """The mask with only its last run of True kept."""
    kept = [False] * len(mask)
    i = len(mask) - 1
    while i >= 0 and not mask[i]:
        i -= 1
    while i >= 0 and mask[i]:
        kept[i] = True
        i -= 1
    return kept


def rectangles(encoded):
    """Batches of rectangles of like lengths, about EVALUATION_TOKENS each, with the samples' numbers."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
    while order:
        rows = max(1, EVALUATION_TOKENS // len(encoded[order[-1]][0]))
        yield order[-rows:], pad([encoded[i] for i in order[-rows:]])
        del order[-rows:]


@torch.no_grad()
def measure(model, encoded):
    """(right [n], second tokens accepted, second tokens tried, load by layer) over encoded samples.
    The extra-token module's guess for t+2 is tried wherever the token at t+2 is the model's to produce."""
    device = model.embed_tokens.device
    model.eval()
    right = torch.zeros(len(encoded), dtype=torch.bool)
    accepted = tried = 0
    loads = {name: 0 for name, _ in model.mixtures()}
    for numbers, chunk in rectangles(encoded):
        batch, learn = batch_of(model, [chunk], device)
        hidden = model(batch)
        states = model.next_hidden(hidden, batch)
        real = torch.tensor([[i < len(encoded[n][0]) for i in range(chunk[0].shape[1])] for n in numbers]).flatten()
        for name, mixture in model.mixtures():
            loads[name] = loads[name] + mixture.chosen_of[real].flatten().bincount(minlength=mixture.experts).cpu()
        first = targets([chunk], learn, 1).to(device)
        hit = (hidden[first] @ model.lm_head.T).argmax(-1) == batch.tokens[first + 1]
        rows = torch.div(first, chunk[0].shape[1], rounding_mode="floor")
        misses = torch.zeros(len(numbers), device=device).index_add_(0, rows, (~hit).float())
        right[torch.tensor(numbers)] = (misses == 0).cpu()
        second = targets([chunk], learn, 2).to(device)
        accepted += ((states[second] @ model.lm_head.T).argmax(-1) == batch.tokens[second + 2]).sum().item()
        tried += len(second)
    model.train()
    return right, accepted, tried, loads


def max_violation(load):
    """Largest load over the mean, minus 1."""
    return (load.max() / load.float().mean() - 1).item()


def exam(seed, questions, long_needles=True):
    """Held-out samples of every skill: `questions` of each."""
    rng = random.Random(seed)
    samples = []
    for skill in corpus.SKILLS:
        for _ in range(questions):
            while True:
                sample = corpus.exam_sample(rng, skill)
                if skill != "needle" or long_needles or sum(len(t["content"]) for t in sample["turns"]) < 2000:
                    break
            samples.append(sample)
    return samples


def report(model, tokenizer, seed, questions, long_needles=True):
    """Accuracy by skill, acceptance of the second token, and MaxVio with the biases and with zeros."""
    samples = exam(seed, questions, long_needles)
    encoded = [(ids, last_answer(learn)) for ids, learn in encode(tokenizer, samples)]
    right, accepted, tried, loads = measure(model, encoded)
    accuracy = {}
    for skill in corpus.SKILLS:
        hits = [right[i].item() for i, sample in enumerate(samples) if sample["skill"] == skill]
        accuracy[skill] = round(sum(hits) / len(hits), 4)
    biases = [mixture.e_score_correction_bias.clone() for _, mixture in model.mixtures()]
    for _, mixture in model.mixtures():
        mixture.e_score_correction_bias.zero_()
    _, _, _, unbiased = measure(model, encoded)
    for (_, mixture), bias in zip(model.mixtures(), biases):
        mixture.e_score_correction_bias.copy_(bias)
    return {"accuracy": accuracy, "overall": round(right.float().mean().item(), 4), "second_token": round(accepted / max(1, tried), 4),
            "max_vio_biased": {name: round(max_violation(load), 3) for name, load in loads.items()},
            "max_vio_zero": {name: round(max_violation(load), 3) for name, load in unbiased.items()}}


def main():
    folder = sys.argv[1]
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    result = report(export.load(folder), tokenizer, seed=SHOWN_SEED, questions=SHOWN_QUESTIONS)
    for skill, accuracy in result["accuracy"].items():
        print(f"{skill:<12}{100 * accuracy:6.1f}%")
    print(f"{'overall':<12}{100 * result['overall']:6.1f}%")
    print(f"second token accepted: {100 * result['second_token']:.1f}%")
    for name, violation in result["max_vio_biased"].items():
        print(f"MaxVio {name}: {violation:.3f}, with zero biases {result['max_vio_zero'][name]:.3f}")


if __name__ == "__main__":
    main()
