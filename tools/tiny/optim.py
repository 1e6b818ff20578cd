"""Muon for the hidden matrices, Adam for everything else, on float32 masters of a bfloat16 or float32 model.

The master copy here is what the updates go to, and `publish` writes it back in the type the model computes in.
With `rounded` set the weights are rounded as the shipped file rounds them, so that the last part of the training
adapts to FP8 (straight-through: gradients at the rounded point move the master).
"""
import torch

import fp8

MUON_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
MUON_ITERATIONS = 5


def orthogonalise(update, dtype):
    """The nearest semi-orthogonal matrix of each matrix in update [n, rows, columns], by Newton-Schulz in `dtype`."""
    a, b, c = MUON_COEFFICIENTS
    x = update.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(MUON_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Optimiser:
    """Steps every parameter of `model` from its .grad; holds masters and moments."""

    MUON_RATE = 0.02
    MUON_MOMENTUM = 0.95
    WEIGHT_DECAY = 0.02
    ADAM_RATES = {"embed_tokens": 0.006, "lm_head": 0.003}
    ADAM_RATE = 0.003
    ADAM_BETAS = (0.9, 0.95)

    def __init__(self, model):
        self.params = dict(model.named_parameters())
        self.master = {name: p.detach().float().clone() for name, p in self.params.items()}
        self.first = {name: torch.zeros_like(m) for name, m in self.master.items()}
        self.second = {name: torch.zeros_like(m) for name, m in self.master.items() if not fp8.is_matrix(name)}
        self.steps = 0
        self.dtype = next(model.parameters()).dtype

    def state_dict(self):
        return {"master": self.master, "first": self.first, "second": self.second, "steps": self.steps}

    def load_state_dict(self, state):
        for key in ("master", "first", "second"):
            for name, value in state[key].items():
                getattr(self, key)[name].copy_(value)
        self.steps = state["steps"]

    @torch.no_grad()
    def step(self, rate):
        """One update; `rate` scales every learning rate. Parameters without a gradient are left alone."""
        self.steps += 1
        by_shape = {}
        for name, p in self.params.items():
            if p.grad is None:
                continue
            if fp8.is_matrix(name):
                by_shape.setdefault(self.pieces(name, p).shape[-2:], []).append(name)
            else:
                self.adam(name, p.grad.float(), rate)
        for names in by_shape.values():
            self.muon(names, rate)
        for p in self.params.values():
            p.grad = None

    @staticmethod
    def pieces(name, tensor):
        """The matrices [n, rows, columns] of a parameter: gate and up, kept in one, are two (and so a quarter of the work)."""
        halves = 2 if "gate_up" in name else 1
        return tensor.reshape(-1, tensor.shape[-2] // halves, tensor.shape[-1])

    def muon(self, names, rate):
        """All matrices of one shape at once."""
        updates = []
        for name in names:
            gradient, momentum = self.params[name].grad.float(), self.first[name]
            momentum.lerp_(gradient, 1 - self.MUON_MOMENTUM)
            updates.append(self.pieces(name, gradient.lerp(momentum, self.MUON_MOMENTUM)))
        directions = orthogonalise(torch.cat(updates), self.dtype).split([len(u) for u in updates])
        for name, direction in zip(names, directions):
            master = self.master[name]
            step = rate * self.MUON_RATE
            master.mul_(1 - step * self.WEIGHT_DECAY)
            master.add_(direction.reshape(master.shape).float(), alpha=-step * max(1, direction.shape[-2] / direction.shape[-1]) ** 0.5)

    def adam(self, name, gradient, rate):
        beta1, beta2 = self.ADAM_BETAS
        first, second = self.first[name], self.second[name]
        first.lerp_(gradient, 1 - beta1)
        second.lerp_(gradient.square(), 1 - beta2)
        correction = (1 - beta2 ** self.steps) ** 0.5 / (1 - beta1 ** self.steps)
        size = rate * self.ADAM_RATES.get(name, self.ADAM_RATE) * correction
        self.master[name].addcdiv_(first, second.sqrt() + 1e-10, value=-size)

    @torch.no_grad()
    def publish(self, rounded=False):
        """Write the masters into the computing model; if `rounded`, matrices through FP8 and the rest through bfloat16."""
        for name, p in self.params.items():
            master = self.master[name]
            if rounded:
                master = fp8.round_trip(master) if fp8.is_quantised(name) else master.bfloat16()
            p.copy_(master)
