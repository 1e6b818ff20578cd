#!/usr/bin/env python3
"""Write a training checkpoint as a published DeepSeek-V3 checkpoint is laid out.

usage: export.py [--run DIR] OUTDIR

OUTDIR gets config.json, generation_config.json, model.safetensors (matrices FP8 E4M3 with weight_scale_inv,
the rest BF16, correction biases F32), tokenizer.json, tokenizer_config.json and chat_template.jinja. It is
written beside and renamed, so that a reader never sees half of it; a README.md there stays. Takes the float32 masters, not the
bfloat16 copies.
"""
import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

import fp8
from model import CONFIG, Model

GENERATION = {"bos_token_id": CONFIG["bos_token_id"], "eos_token_id": CONFIG["eos_token_id"], "pad_token_id": CONFIG["pad_token_id"],
              "do_sample": False}
NAMES_IN_MTP = {"enorm": "enorm", "hnorm": "hnorm", "eh_proj": "eh_proj", "norm": "shared_head.norm"}


def published_names(name, tensor, config):
    """(published name, tensor) pairs of one parameter: stacks are cut, fused gate/up parts separated."""
    extra = config["num_hidden_layers"]
    if name.startswith("mtp."):
        rest = name[len("mtp."):]
        rest = rest[len("block."):] if rest.startswith("block.") else NAMES_IN_MTP[rest]
        name = f"layers.{extra}.{rest}"
    if name != "lm_head":
        name = "model." + name
    stem, leaf = name.rsplit(".", 1) if "." in name else ("", name)
    if leaf == "e_score_correction_bias":
        return [(f"{stem}.gate.{leaf}", tensor)]
    if leaf == "experts_gate_up":
        return [(f"{stem}.experts.{e}.{part}_proj.weight", half) for e, expert in enumerate(tensor)
                for part, half in zip(("gate", "up"), expert.chunk(2))]
    if leaf == "experts_down":
        return [(f"{stem}.experts.{e}.down_proj.weight", expert) for e, expert in enumerate(tensor)]
    if leaf == "shared_gate_up":
        return [(f"{stem}.shared_experts.{part}_proj.weight", half) for part, half in zip(("gate", "up"), tensor.chunk(2))]
    if leaf == "shared_down":
        return [(f"{stem}.shared_experts.down_proj.weight", tensor)]
    if leaf == "gate_up_proj":
        return [(f"{stem}.{part}_proj.weight", half) for part, half in zip(("gate", "up"), tensor.chunk(2))]
    return [(name + ".weight", tensor)]


def published_tensors(state):
    """All tensors of the file, from a checkpoint of train.py."""
    config, tensors = state["config"], {}
    parameters = dict(state["optimiser"]["master"])
    parameters.update({name: value for name, value in state["model"].items() if name.endswith("e_score_correction_bias")})
    for name, value in parameters.items():
        for published, tensor in published_names(name, value.float().cpu(), config):
            if fp8.is_quantised(name):
                quantised, scale = fp8.quantise(tensor)
                tensors[published] = quantised.contiguous()
                tensors[published + "_scale_inv"] = scale.contiguous()
            elif name.endswith("e_score_correction_bias"):
                tensors[published] = tensor
            else:
                tensors[published] = tensor.bfloat16().contiguous()
    extra = f"model.layers.{config['num_hidden_layers']}"
    tensors[extra + ".embed_tokens.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors[extra + ".shared_head.head.weight"] = tensors["lm_head.weight"].clone()
    return tensors


def load(folder):
    """The model that a published folder holds, in float32: what an engine computes from the shipped file."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    model = Model(config)
    state = model.state_dict()
    for name, value in state.items():
        parts = []
        for published, _ in published_names(name, value, config):
            tensor = tensors[published]
            parts.append(fp8.dequantise(tensor, tensors[published + "_scale_inv"]) if published + "_scale_inv" in tensors else tensor.float())
        if name.endswith("experts_gate_up"):
            parts = [torch.cat(parts[i:i + 2]) for i in range(0, len(parts), 2)]
        stack = name.endswith(("experts_gate_up", "experts_down"))
        state[name] = torch.stack(parts) if stack else torch.cat(parts)
    model.load_state_dict(state)
    return model


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def export(run, out):
    state = torch.load(os.path.join(run, "checkpoint.pt"), map_location="cpu", weights_only=True)
    fresh = out.rstrip("/") + ".new"
    os.makedirs(fresh)
    config = dict(state["config"])
    config["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [fp8.BLOCK, fp8.BLOCK]}
    write_json(fresh, "config.json", config)
    write_json(fresh, "generation_config.json", GENERATION)
    save_file(published_tensors(state), os.path.join(fresh, "model.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(fresh, "model.safetensors"), 0o644)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(run, name), fresh)
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_template.jinja"), fresh)
    if os.path.isdir(out):
        if os.path.exists(os.path.join(out, "README.md")):
            shutil.copy(os.path.join(out, "README.md"), fresh)
        os.rename(out, out.rstrip("/") + ".old")
    os.rename(fresh, out)
    shutil.rmtree(out.rstrip("/") + ".old", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="tiny-run", help="folder of the run")
    parser.add_argument("out")
    options = parser.parse_args()
    export(options.run, options.out)
    size = sum(os.path.getsize(os.path.join(options.out, name)) for name in os.listdir(options.out))
    print(f"{options.out}: {size} bytes")


if __name__ == "__main__":
    main()
