#!/usr/bin/env python3
"""Train the embedded model on the synthetic corpus.

usage: train.py [--run DIR] [--minutes M] [--start MODELDIR [--share S]] [--peak P] [--tokens N] [--threads N] [--seed N]

Keeps everything in DIR (default: tiny-run): tokenizer.json, checkpoint.pt (written every few minutes, picked
up when the command is given again) and log.jsonl. All schedules follow the share of M minutes of training
that has passed, so the same command suits a slow and a fast machine. Runs on a CUDA device if there is one;
computes in bfloat16 where the processor can and in float32 elsewhere.
--start begins a new run from an exported model's weights and tokenizer instead of from nothing; --share
lets its schedules begin as if that share of M minutes had passed (0.5: experts, long fillers, full rate).
"""
import argparse
import json
import math
import os
import random
import shutil
import signal
import time

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")  # read when torch is loaded: kernels of all shapes are kept

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import corpus
import evaluate
import export
import make_tokenizer
from guide import Guide
from model import CONFIG, Model
from optim import Optimiser

SMALLEST_CHUNK = 512         # least tokens of one rectangle of sequences of about one length
SHORTEST, STEP_MULTIPLE = 16, 256  # rectangles are multiples of the one long, steps of the other
CHUNKS_A_STEP = 8            # aim, where the step is large enough
POOL_SAMPLES = 4000          # samples drawn, sorted by length and cut into rectangles at a time
WARM_UP, DECAY_FROM = 0.01, 0.5
EXPERTS_FROM = 0.5           # before that only attention, the shared experts and the dense layer train: a third of the work
FP8_FROM = 0.80              # from here on the matrices are rounded to FP8 in every step
MTP_ALWAYS_FROM = 0.93        # before that the extra-token module trains in every fourth step
LOSS_WEIGHTS = {"loss": 1.0, "mtp_loss": 0.3, "guide_loss": 0.1}  # next token, second token, where to look (guide.py)
LATE_KINDS, LATE_FROM = ("one-tool", "two-tools", "needle"), 0.3
BALANCE_RATE, BALANCE_DECAY_FROM = 0.003, 0.7
SETTLE_FROM, SETTLE_RATE = 0.97, 0.002  # at the very end the weights rest and the biases settle on samples as the exam's are
EVALUATE_SECONDS, SAVE_SECONDS, LOG_SECONDS = 600, 180, 15


def learning_rate(progress):
    """Warm-up, plateau, straight line to nearly nothing."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 1.0 if progress < DECAY_FROM else max(0.01, (SETTLE_FROM - progress) / (SETTLE_FROM - DECAY_FROM))


def balance_rate(progress):
    """Size of the bias steps; goes to 0 at the end of the training, and again while they settle."""
    if progress >= SETTLE_FROM:
        return SETTLE_RATE * max(0.0, (1 - progress) / (1 - SETTLE_FROM))
    return BALANCE_RATE * min(1.0, (SETTLE_FROM - progress) / (SETTLE_FROM - BALANCE_DECAY_FROM))


def needle_limit(progress):
    """Longest filler, in tokens: short first."""
    return 150 if progress < 0.25 else 500 if progress < 0.5 else 1900


def mixture_for(accuracy, progress):
    """The corpus's mixtures with each skill weighed by how badly it is done (accuracy by skill, 0..1).
    Kinds with long prompts and few answers come in earnest once copying has been learnt from short ones."""
    def factor(skill):
        if skill == "drill":
            return max(factor("add"), factor("subtract"))
        if skill in ("counts", "needles"):
            return factor(skill[:-1])
        if skill == "long-list":
            return factor("repeat") - 0.3
        if skill in LATE_KINDS and progress < LATE_FROM:
            return 0.2
        return 0.4 + 1.6 * (1 - accuracy[skill]) if skill in accuracy else 1.0
    return ({kind: weight * factor(kind) for kind, weight in corpus.MIXTURE.items()},
            {skill: weight * factor(skill) for skill, weight in corpus.CHAT_WEIGHTS.items()})


def rounded_length(length):
    """The length that a rectangle of sequences of `length` tokens gets. Few shapes are fast shapes: oneDNN compiles a kernel
    for each it meets and keeps them."""
    step = SHORTEST if length <= 16 * SHORTEST else 4 * SHORTEST
    return (length + step - 1) // step * step


class Pool:
    """An endless stream of rectangles: (ids [rows, length], learn mask [rows, length])."""

    def __init__(self, tokenizer, seed, chunk_tokens):
        self.tokenizer = tokenizer
        self.chunk_tokens = chunk_tokens
        self.rng = random.Random(seed)
        self.mixture, self.chat_weights = corpus.MIXTURE, corpus.CHAT_WEIGHTS
        self.needle_high = 150
        self.even = False
        self.chunks = []

    def sample(self):
        return corpus.even_sample(self.rng) if self.even else corpus.training_sample(self.rng, self.needle_high, self.mixture, self.chat_weights)

    def refill(self):
        samples = [self.sample() for _ in range(POOL_SAMPLES)]
        encoded = sorted(evaluate.encode(self.tokenizer, samples), key=lambda pair: len(pair[0]))
        while encoded:
            length = rounded_length(len(encoded[-1][0]))
            rows = max(1, self.chunk_tokens // length)
            self.chunks.append(evaluate.pad(encoded[-rows:], rows, length))
            del encoded[-rows:]
        self.rng.shuffle(self.chunks)

    def take(self, tokens):
        """Rectangles of at least `tokens` tokens together."""
        taken, total = [], 0
        while total < tokens:
            if not self.chunks:
                self.refill()
            taken.append(self.chunks.pop())
            total += taken[-1][0].numel()
        if missing := -total % STEP_MULTIPLE:
            taken.append(evaluate.pad([], missing // SHORTEST, SHORTEST))
        return taken


def token_loss(model, states, tokens, positions, ahead):
    """Cross entropy of the tokens `ahead` of positions, which are filled up to a multiple with position 0 and no target."""
    extra = -len(positions) % SHORTEST ** 2
    wanted = F.pad(tokens[positions + ahead], (0, extra), value=-100)
    return F.cross_entropy((states[F.pad(positions, (0, extra))] @ model.lm_head.T).float(), wanted)


def losses(model, guide, chunks, device, with_mtp):
    """Losses by name, over what the model must produce itself: those of LOSS_WEIGHTS that this step has."""
    batch, learn = evaluate.batch_of(model, chunks, device)
    hidden = model(batch)
    found = {"loss": token_loss(model, hidden, batch.tokens, evaluate.targets(chunks, learn, 1).to(device), 1)}
    if (guided := guide.loss(model, batch, chunks)) is not None:
        found["guide_loss"] = guided
    if with_mtp:
        found["mtp_loss"] = token_loss(model, model.next_hidden(hidden, batch), batch.tokens, evaluate.targets(chunks, learn, 2).to(device), 2)
    return found


def real_tokens(chunks):
    """Flat mask of what is no padding."""
    return torch.cat([ids.flatten() for ids, _ in chunks]) != evaluate.PAD_ID


class PrefixCache:
    """Tells which tokens a server would compute that keeps the blocks of earlier prompts: it finds the rest in its cache."""

    BLOCK = 32

    def __init__(self):
        self.seen = set()

    def computed(self, chunks):
        """Flat mask of the tokens in blocks whose whole prefix is met for the first time."""
        masks = []
        for ids, _ in chunks:
            mask = torch.ones_like(ids, dtype=torch.bool)
            for row, row_ids in enumerate(ids.tolist()):
                prefix = 0
                for start in range(0, len(row_ids) - self.BLOCK + 1, self.BLOCK):
                    prefix = hash((prefix, *row_ids[start:start + self.BLOCK]))
                    mask[row, start:start + self.BLOCK] = prefix not in self.seen
                    self.seen.add(prefix)
            masks.append(mask.flatten())
        return torch.cat(masks)


@torch.no_grad()
def balance(model, rate, real):
    """Move every expert's bias against its load by the tokens that are `real` (no padding); returns each layer's MaxVio in
    this step."""
    violations = []
    for _, mixture in model.mixtures():
        if mixture.chosen_of is None:
            continue
        load = mixture.chosen_of[real].flatten().bincount(minlength=mixture.experts).float()
        mixture.e_score_correction_bias += rate * torch.sign(load.mean() - load)
        violations.append((load.max() / load.mean() - 1).item())
        mixture.chosen_of = None
    return violations


class Trainer:
    def __init__(self, options):
        self.options = options
        self.stopping = False
        self.prefixes, self.settled = PrefixCache(), 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = self.open_tokenizer()
        self.guide = Guide(self.tokenizer)
        torch.manual_seed(options.seed)
        config = dict(CONFIG, vocab_size=self.tokenizer.get_vocab_size())
        self.model = Model(config)
        if self.device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
            evaluate.bfloat16(self.model)
        self.model.to(self.device).train()
        self.optimiser = Optimiser(self.model)
        self.checkpoint = os.path.join(options.run, "checkpoint.pt")
        self.seconds, self.tokens, self.accuracy = 0.0, 0, {}
        if os.path.exists(self.checkpoint):
            self.load()
        elif options.start:
            self.start_from(options.start)
            self.seconds = 60 * options.minutes * options.share
        self.pool = Pool(self.tokenizer, options.seed + self.tokens, max(SMALLEST_CHUNK, options.tokens // CHUNKS_A_STEP))
        self.pool.mixture, self.pool.chat_weights = mixture_for(self.accuracy, self.progress())

    def open_tokenizer(self):
        """The run's tokenizer; on the first start it is trained, or copied from the model to start from."""
        file = os.path.join(self.options.run, "tokenizer.json")
        if not os.path.exists(file):
            os.makedirs(self.options.run, exist_ok=True)
            if self.options.start:
                for name in ("tokenizer.json", "tokenizer_config.json"):
                    shutil.copy(os.path.join(self.options.start, name), self.options.run)
            else:
                make_tokenizer.write(self.options.run)
        return Tokenizer.from_file(file)

    def start_from(self, folder):
        """Take the weights and correction biases of an exported model."""
        exported = export.load(folder)
        for name, p in exported.named_parameters():
            self.optimiser.master[name].copy_(p.detach())
        for (_, mine), (_, theirs) in zip(self.model.mixtures(), exported.mixtures()):
            mine.e_score_correction_bias.copy_(theirs.e_score_correction_bias)
        self.optimiser.publish()

    def load(self):
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seconds, self.tokens, self.accuracy = state["seconds"], state["tokens"], state["accuracy"]

    def save(self):
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "seconds": self.seconds, "tokens": self.tokens,
                 "accuracy": self.accuracy, "config": self.model.config}
        torch.save(state, self.checkpoint + ".new")
        os.replace(self.checkpoint + ".new", self.checkpoint)

    def log(self, **entry):
        entry = {"minutes": round(self.seconds / 60, 2), "steps": self.optimiser.steps, "tokens": self.tokens, **entry}
        with open(os.path.join(self.options.run, "log.jsonl"), "a", encoding="utf-8") as f:
            f.write(json.dumps(entry) + "\n")
        print(json.dumps(entry), flush=True)

    def progress(self):
        return self.seconds / (60 * self.options.minutes)

    def evaluate(self):
        report = evaluate.report(self.model, self.tokenizer, seed=7, questions=24, long_needles=self.progress() > 0.5)
        for _, mixture in self.model.mixtures():
            mixture.chosen_of = None  # the next step may leave the extra-token module out, and balances by its own choices
        self.accuracy = report["accuracy"]
        self.pool.mixture, self.pool.chat_weights = mixture_for(self.accuracy, self.progress())
        self.log(**report)

    def step(self):
        progress = self.progress()
        self.pool.needle_high = needle_limit(progress)
        chunks = self.pool.take(self.options.tokens)
        for _, mixture in self.model.mixtures():
            mixture.shared_only = progress < EXPERTS_FROM
        with_mtp = progress > MTP_ALWAYS_FROM or self.optimiser.steps % 4 == 0
        found = losses(self.model, self.guide, chunks, self.device, with_mtp)
        sum(LOSS_WEIGHTS[name] * loss for name, loss in found.items()).backward()
        self.tokens += sum(ids.numel() for ids, _ in chunks)
        violations = balance(self.model, balance_rate(progress), real_tokens(chunks).to(self.device))
        found = {name: loss.item() for name, loss in found.items()}
        if not all(map(math.isfinite, found.values())):
            raise RuntimeError("the loss is not finite; go back to the last checkpoint with a lower learning rate")
        self.optimiser.step(self.options.peak * learning_rate(progress))
        self.optimiser.publish(rounded=progress > FP8_FROM)
        return found, violations

    @torch.no_grad()
    def settle(self):
        """A step that moves the biases only; by turns for all tokens and for those that a server computes, whose experts differ
        (what prompts have in common, tool declarations above all, it computes once)."""
        if not self.pool.even:
            self.pool.even, self.pool.chunks = True, []
        chunks = self.pool.take(2 * self.options.tokens)
        batch, _ = evaluate.batch_of(self.model, chunks, self.device)
        self.model.next_hidden(self.model(batch), batch)
        computed, counted = self.prefixes.computed(chunks), real_tokens(chunks)
        self.settled += 1
        if self.settled % 2:
            counted &= computed
        return balance(self.model, balance_rate(self.progress()), counted.to(self.device))

    def stop(self, *_):
        """Signal handler: finish the step, save and end; the same command goes on from there."""
        self.stopping = True

    def run(self):
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        last = {"evaluate": self.seconds, "save": self.seconds, "log": self.seconds}
        recent, violations = {}, []
        if self.options.start and not self.accuracy:
            self.evaluate()  # what the weights already do well needs less of the mixture from the first step on
        mark = time.monotonic()
        while self.progress() < 1 and not self.stopping:
            if self.progress() < SETTLE_FROM:
                found, violations = self.step()
                for name, loss in found.items():
                    recent.setdefault(name, []).append(loss)
            else:
                violations = self.settle()
            now = time.monotonic()
            self.seconds += now - mark
            mark = now
            if self.seconds - last["log"] > LOG_SECONDS:
                self.log(**{name: round(sum(values) / len(values), 4) for name, values in recent.items()}, max_vio=[round(v, 3) for v in violations])
                recent, last["log"] = {}, self.seconds
            if self.seconds - last["save"] > SAVE_SECONDS:
                self.save()
                last["save"] = self.seconds
            if self.seconds - last["evaluate"] > EVALUATE_SECONDS:
                self.evaluate()
                last["evaluate"] = self.seconds
        if not self.stopping:
            self.evaluate()
        self.save()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="tiny-run", help="folder of the run")
    parser.add_argument("--minutes", type=float, default=240, help="length of the whole training")
    parser.add_argument("--start", help="folder of an exported model to begin from")
    parser.add_argument("--share", type=float, default=0, help="with --start: share of the schedules taken as passed, 0 to below 1")
    parser.add_argument("--peak", type=float, default=1, help="factor on every learning rate; below 1 is gentler to weights that are good already")
    parser.add_argument("--tokens", type=int, default=3000, help="tokens a step")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    Trainer(options).run()


if __name__ == "__main__":
    main()
