"""The embedded model in PyTorch: DeepSeek-V3's architecture, small.

Multi-head latent attention with low-rank queries and keys/values and a decoupled rotary part (YaRN), a dense
first layer, then mixtures of experts with sigmoid gating, expert groups and a correction bias, and one
multi-token-prediction module. Weights are [out, in]; parameter names follow the published checkpoints, with
an expert stack as one tensor [experts, out, in] (export.py cuts it).

A batch is a flat run of tokens [T] cut into rectangles: (rows, length) pairs, each a set of sequences padded
to one length and starting at position 0. Everything but attention works on the flat run, so sequences of
very different lengths share a step without padding to the longest.
"""
import math
import os

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "torch_dtype": "bfloat16",
    "hidden_act": "silu",
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 128,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "intermediate_size": 512,
    "moe_intermediate_size": 128,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.0,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 1,
    "max_position_embeddings": 4096,
    "rope_theta": 10000.0,
    "rope_interleave": True,
    "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024, "beta_fast": 32, "beta_slow": 1,
                     "mscale": 1.0, "mscale_all_dim": 1.0},
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "tie_word_embeddings": False,
    "initializer_range": 0.02,
    "use_cache": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def yarn_frequencies(config):
    """Rotation angle a position for each pair of rotary dimensions: [qk_rope_head_dim / 2]."""
    dim, base, scaling = config["qk_rope_head_dim"], config["rope_theta"], config["rope_scaling"]
    frequencies = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)

    def correction(rotations):
        return dim * math.log(scaling["original_max_position_embeddings"] / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(correction(scaling["beta_fast"])), 0)
    high = min(math.ceil(correction(scaling["beta_slow"])), dim - 1)
    ramp = ((torch.arange(dim // 2) - low) / max(high - low, 0.001)).clamp(0, 1)
    return frequencies * (1 - ramp) + frequencies / scaling["factor"] * ramp


def softmax_scale(config):
    """Attention scale with YaRN's correction on the whole logit."""
    scaling = config["rope_scaling"]
    correction = 0.1 * scaling["mscale_all_dim"] * math.log(scaling["factor"]) + 1
    return (config["qk_nope_head_dim"] + config["qk_rope_head_dim"]) ** -0.5 * correction ** 2


PRIMED_LAYERS, PRIMED_PAIRS, PRIMED_CONSTANT, PRIMED_STRENGTH = 2, 4, 2.0, 1.8
EXPERT_ROWS = 64  # an expert's rows are filled up to a multiple: oneDNN compiles a kernel for each new shape (5 to 10 ms)
SHORT = 256  # up to this length plain matrix products beat the fused attention kernel on a CPU


def matrix(*shape, gain=1.0):
    return nn.Parameter(torch.randn(*shape) * gain * shape[-1] ** -0.5)


def fused(function):
    """Compile a chain of elementwise operations into one kernel (several times faster on a CPU); TINY_EAGER=1 leaves it as it is."""
    return function if os.environ.get("TINY_EAGER") else torch.compile(function, dynamic=True)


@fused
def rms_norm(x, weight):
    return F.rms_norm(x, weight.shape, weight, 1e-6)


@fused
def rotate_pairs(x, cos, sin):
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


@fused
def gated(hidden):
    """silu(gate) * up of hidden = [gate | up]."""
    gate, up = hidden.chunk(2, -1)
    return F.silu(gate) * up


@fused
def gated_backward(hidden, grad):
    """The activation again, and the gradient of `hidden`."""
    gate, up = hidden.chunk(2, -1)
    sigmoid = torch.sigmoid(gate)
    silu = gate * sigmoid
    return silu * up, torch.cat([grad * up * (sigmoid + silu * (1 - sigmoid)), grad * silu], -1)


class Batch:
    """Tokens [T] in rectangles, with the rotary tables of their positions."""

    def __init__(self, tokens, rectangles, frequencies, dtype):
        self.tokens = tokens
        self.rectangles = rectangles
        device = tokens.device
        positions = torch.cat([torch.arange(length, device=device).repeat(rows) for rows, length in rectangles])
        angles = positions[:, None].double() * frequencies.to(device)
        self.cos = angles.cos().to(dtype)[:, None]  # [T, 1, rope / 2]
        self.sin = angles.sin().to(dtype)[:, None]

    def rotate(self, x):
        """Rotate adjacent pairs of x [T, heads, rope] by their position."""
        return rotate_pairs(x, self.cos, self.sin)


class Attention(nn.Module):
    """Multi-head latent attention. `seen` keeps the last call's queries and keys [T, heads, dim], for the guide."""

    def __init__(self, config):
        super().__init__()
        self.heads = config["num_attention_heads"]
        self.nope, self.rope, self.value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
        self.latent = config["kv_lora_rank"]
        hidden, query = config["hidden_size"], config["q_lora_rank"]
        self.scale = softmax_scale(config)
        self.q_a_proj = matrix(query, hidden)
        self.q_a_layernorm = nn.Parameter(torch.ones(query))
        self.q_b_proj = matrix(self.heads * (self.nope + self.rope), query)
        self.kv_a_proj_with_mqa = matrix(self.latent + self.rope, hidden)
        self.kv_a_layernorm = nn.Parameter(torch.ones(self.latent))
        self.kv_b_proj = matrix(self.heads * (self.nope + self.value), self.latent)
        self.o_proj = matrix(hidden, self.heads * self.value, gain=0.3)
        self.seen = None

    def forward(self, x, batch):
        tokens = len(x)
        q = (rms_norm(x @ self.q_a_proj.T, self.q_a_layernorm) @ self.q_b_proj.T).view(tokens, self.heads, -1)
        latent, key_rope = (x @ self.kv_a_proj_with_mqa.T).split([self.latent, self.rope], -1)
        kv = (rms_norm(latent, self.kv_a_layernorm) @ self.kv_b_proj.T).view(tokens, self.heads, -1)
        key_rope = batch.rotate(key_rope[:, None]).expand(-1, self.heads, -1)
        q = torch.cat([q[..., :self.nope], batch.rotate(q[..., self.nope:])], -1)
        k = torch.cat([kv[..., :self.nope], key_rope], -1)
        v = kv[..., self.nope:]
        self.seen = q, k
        sizes = [rows * length for rows, length in batch.rectangles]
        parts = []
        for (rows, length), *qkv in zip(batch.rectangles, q.split(sizes), k.split(sizes), v.split(sizes)):
            parts.append(self.attend(*(t.view(rows, length, self.heads, -1).transpose(1, 2) for t in qkv)))
        return torch.cat(parts) @ self.o_proj.T

    def shares(self, rectangles, pairs):
        """Share of its attention that each head gave to a source in the last call: [pairs, heads]. `pairs` has for each
        rectangle three lists: rows, positions that looked, sources."""
        shares, start = [], 0
        q, k = self.seen
        for (rows, length), (row, position, source) in zip(rectangles, pairs):
            if row:
                mine = slice(start, start + rows * length)
                row, position, source = (torch.tensor(x, device=q.device) for x in (row, position, source))
                queries = q[mine].view(rows, length, self.heads, -1)[row, position].float()
                keys = k[mine].view(rows, length, self.heads, -1)[row].float()
                scores = torch.einsum("nhd,nlhd->nhl", queries, keys) * self.scale
                future = torch.arange(length, device=q.device) > position[:, None]
                weights = scores.masked_fill(future[:, None], -math.inf).softmax(-1)
                shares.append(weights.gather(-1, source[:, None, None].expand(-1, self.heads, 1))[..., 0])
            start += rows * length
        return torch.cat(shares)

    def attend(self, q, k, v):
        """Causal attention of one rectangle [rows, heads, length, dim] -> [rows * length, heads * value]."""
        if q.shape[2] <= SHORT and self.training and q.device.type == "cpu":
            future = torch.full((q.shape[2],) * 2, -1e4, dtype=q.dtype, device=q.device).triu(1)
            scores = torch.baddbmm(future.expand(q.shape[0] * self.heads, -1, -1), q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=self.scale)
            out = torch.bmm(scores.softmax(-1), v.flatten(0, 1)).view_as(v)
        else:
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
        return out.transpose(1, 2).reshape(-1, self.heads * self.value)


def swiglu(x, gate_up, down):
    return gated(x @ gate_up.T) @ down.T


def expert_spans(counts):
    """(expert, its rows) of the experts that have any, rows being sorted by expert."""
    spans, start = [], 0
    for expert, count in enumerate(counts):
        if count:
            spans.append((expert, slice(start, start + count)))
        start += count
    return spans


class GroupedExperts(torch.autograd.Function):
    """Rows sorted by expert through their experts' SwiGLU, one product an expert, gradient by hand.
    xs [N, hidden], gate_up [E, 2*width, hidden], down [E, hidden, width], counts: rows of each expert."""

    @staticmethod
    def forward(ctx, xs, gate_up, down, counts):
        hidden, out = xs.new_empty(len(xs), gate_up.shape[1]), torch.empty_like(xs)
        spans = expert_spans(counts)
        for expert, rows in spans:
            torch.mm(xs[rows], gate_up[expert].T, out=hidden[rows])
        active = gated(hidden)
        for expert, rows in spans:
            torch.mm(active[rows], down[expert].T, out=out[rows])
        ctx.save_for_backward(xs, hidden, gate_up, down)
        ctx.counts = counts
        return out

    @staticmethod
    def backward(ctx, grad_out):
        xs, hidden, gate_up, down = ctx.saved_tensors
        grad_xs, grad_gate_up, grad_down = torch.empty_like(xs), torch.zeros_like(gate_up), torch.zeros_like(down)
        grad_active = hidden.new_empty(len(xs), down.shape[2])
        spans = expert_spans(ctx.counts)
        for expert, rows in spans:
            torch.mm(grad_out[rows], down[expert], out=grad_active[rows])
        active, grad_hidden = gated_backward(hidden, grad_active)
        for expert, rows in spans:
            torch.mm(grad_out[rows].T, active[rows], out=grad_down[expert])
            torch.mm(grad_hidden[rows].T, xs[rows], out=grad_gate_up[expert])
            torch.mm(grad_hidden[rows], gate_up[expert], out=grad_xs[rows])
        return grad_xs, grad_gate_up, grad_down, None


class Dense(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_up_proj = matrix(2 * config["intermediate_size"], config["hidden_size"])
        self.down_proj = matrix(config["hidden_size"], config["intermediate_size"], gain=0.3)

    def forward(self, x):
        return swiglu(x, self.gate_up_proj, self.down_proj)


class MixtureOfExperts(nn.Module):
    """Routed experts chosen by biased sigmoid scores, and a shared one. `chosen_of` keeps the last call's
    choices [T, k]. While `shared_only` is set, training leaves the routed ones out."""

    def __init__(self, config):
        super().__init__()
        hidden, width, experts = config["hidden_size"], config["moe_intermediate_size"], config["n_routed_experts"]
        self.experts, self.chosen = experts, config["num_experts_per_tok"]
        self.groups, self.kept_groups = config["n_group"], config["topk_group"]
        self.scaling = config["routed_scaling_factor"]
        self.gate = matrix(experts, hidden)
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))
        self.experts_gate_up = matrix(experts, 2 * width, hidden)
        self.experts_down = matrix(experts, hidden, width, gain=0.0)  # experts join without disturbing what is there
        self.shared_gate_up = matrix(2 * width, hidden)
        self.shared_down = matrix(hidden, width, gain=0.3)
        self.shared_only = False
        self.chosen_of = None

    def route(self, x):
        """Chosen experts [T, k] and their weights. The bias decides the choice and never enters the weights."""
        scores = torch.sigmoid(x.float() @ self.gate.float().T)
        biased = (scores + self.e_score_correction_bias).detach().unflatten(-1, (self.groups, -1))
        best = biased.topk(2, -1)[0].sum(-1).topk(self.kept_groups, -1)[1]
        kept = torch.zeros_like(biased[..., 0], dtype=torch.bool).scatter_(-1, best, True)
        chosen = biased.masked_fill(~kept[..., None], -math.inf).flatten(-2).topk(self.chosen, -1)[1]
        weights = scores.gather(-1, chosen)
        return chosen, weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scaling

    def slots(self, flat):
        """Where each choice of flat [T * k] stands when rows are sorted by expert, and each expert's rows, filled up."""
        counts = flat.bincount(minlength=self.experts)
        filled = (counts + EXPERT_ROWS - 1) // EXPERT_ROWS * EXPERT_ROWS
        order = flat.argsort()
        moved = (filled.cumsum(0) - filled) - (counts.cumsum(0) - counts)
        slots = torch.empty_like(order)
        slots[order] = torch.arange(len(order), device=order.device) + moved[flat[order]]
        return slots, filled.tolist()

    def forward(self, x):
        shared = swiglu(x, self.shared_gate_up, self.shared_down)
        if self.shared_only and self.training:
            return shared
        chosen, weights = self.route(x)
        self.chosen_of = chosen
        slots, counts = self.slots(chosen.flatten())
        source = slots.new_zeros(sum(counts))
        source[slots] = torch.arange(len(slots), device=slots.device) // self.chosen
        rows = Spread.apply(x, source, slots, self.chosen)
        ys = GroupedExperts.apply(rows, self.experts_gate_up, self.experts_down, counts)
        ys = Gather.apply(ys, slots).view(len(x), self.chosen, -1)
        routed = torch.bmm(weights.to(x.dtype)[:, None], ys)[:, 0]
        return routed + shared


class Spread(torch.autograd.Function):
    """x[source], each row of x taken `copies` times (at `slots`; what fills up is any row); the gradient sums copies without
    atomic adds."""

    @staticmethod
    def forward(ctx, x, source, slots, copies):
        ctx.save_for_backward(slots)
        ctx.copies = copies
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx, grad):
        slots, = ctx.saved_tensors
        return grad.index_select(0, slots).view(-1, ctx.copies, grad.shape[-1]).sum(1), None, None, None


class Gather(torch.autograd.Function):
    """x[slots], no slot twice; the rows that only fill up get a gradient of zero."""

    @staticmethod
    def forward(ctx, x, slots):
        ctx.save_for_backward(slots)
        ctx.rows = len(x)
        return x.index_select(0, slots)

    @staticmethod
    def backward(ctx, grad):
        slots, = ctx.saved_tensors
        return grad.new_zeros(ctx.rows, grad.shape[-1]).index_copy_(0, slots, grad), None


class Block(nn.Module):
    def __init__(self, config, dense):
        super().__init__()
        hidden = config["hidden_size"]
        self.input_layernorm = nn.Parameter(torch.ones(hidden))
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.Parameter(torch.ones(hidden))
        self.mlp = Dense(config) if dense else MixtureOfExperts(config)

    def forward(self, x, batch):
        x = x + self.self_attn(rms_norm(x, self.input_layernorm), batch)
        return x + self.mlp(rms_norm(x, self.post_attention_layernorm))


class NextTokenModule(nn.Module):
    """Predicts token t+2 from the main model's hidden state at t and token t+1 (multi-token prediction)."""

    def __init__(self, config):
        super().__init__()
        hidden = config["hidden_size"]
        self.enorm, self.hnorm = nn.Parameter(torch.ones(hidden)), nn.Parameter(torch.ones(hidden))
        self.eh_proj = matrix(hidden, 2 * hidden)
        self.block = Block(config, dense=False)
        self.norm = nn.Parameter(torch.ones(hidden))

    def forward(self, embedded_next, hidden, batch):
        """Hidden states [T, hidden], to be multiplied by the main head."""
        x = torch.cat([rms_norm(embedded_next, self.enorm), rms_norm(hidden, self.hnorm)], -1) @ self.eh_proj.T
        return rms_norm(self.block(x, batch), self.norm)


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        hidden, vocabulary = config["hidden_size"], config["vocab_size"]
        self.embed_tokens = nn.Parameter(torch.randn(vocabulary, hidden) * 0.5)
        self.layers = nn.ModuleList(Block(config, i < config["first_k_dense_replace"]) for i in range(config["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(hidden))
        self.lm_head = nn.Parameter(self.embed_tokens.detach() * 0.15)  # so that copying is one map for all words
        self.mtp = NextTokenModule(config)
        self.frequencies = yarn_frequencies(config)
        self.prime()

    @torch.no_grad()
    def prime(self):
        """Let three heads of each of the first layers start out looking 1, 2 and 3 tokens back.
        Copying needs such heads and gradient descent takes long to find them. Dimension 0 of every embedding
        starts as a constant; the heads' rotary queries and keys grow out of it, with the query's phase set
        back by the distance."""
        self.embed_tokens[:, 0] = PRIMED_CONSTANT
        for layer in self.layers[:PRIMED_LAYERS]:
            attention = layer.self_attn
            size = attention.nope + attention.rope
            attention.q_a_proj[0] = 0
            attention.q_a_proj[0, 0] = 1
            key = attention.kv_a_proj_with_mqa[attention.latent:].view(-1, 2, attention.kv_a_proj_with_mqa.shape[1])
            key[:PRIMED_PAIRS] = 0
            key[:PRIMED_PAIRS, 0, 0] = PRIMED_STRENGTH
            for head, distance in enumerate((1, 2, 3)):
                rows = attention.q_b_proj[head * size + attention.nope:(head + 1) * size].view(-1, 2, attention.q_b_proj.shape[1])
                phase = -distance * self.frequencies[:PRIMED_PAIRS].float()
                rows[:PRIMED_PAIRS] = 0
                rows[:PRIMED_PAIRS, 0, 0] = PRIMED_STRENGTH * phase.cos()
                rows[:PRIMED_PAIRS, 1, 0] = PRIMED_STRENGTH * phase.sin()

    def batch(self, tokens, rectangles):
        return Batch(tokens, rectangles, self.frequencies, self.norm.dtype)

    def forward(self, batch):
        """Normed hidden states [T, hidden] of the last layer."""
        x = F.embedding(batch.tokens, self.embed_tokens)
        for layer in self.layers:
            x = layer(x, batch)
        return rms_norm(x, self.norm)

    def next_hidden(self, hidden, batch):
        """The multi-token module's states: row t, given token t+1 (the last row of a sequence sees its own)."""
        following = torch.cat([batch.tokens[1:], batch.tokens[-1:]])
        return self.mtp(F.embedding(following, self.embed_tokens), hidden, batch)

    def mixtures(self):
        """(name, module) of every mixture of experts, the multi-token module's last."""
        found = [(f"layer {i}", layer.mlp) for i, layer in enumerate(self.layers) if isinstance(layer.mlp, MixtureOfExperts)]
        return found + [("mtp", self.mtp.block.mlp)]
