#!/usr/bin/env python3
"""Write an exported model as a GGUF file with its matrices in one of GGML's block types.

usage: requantise.py MODELDIR TYPE OUT.gguf       (TYPE: F32, BF16, F16, Q8_0, Q5_1, Q5_0, Q4_1, Q4_0)

For exams: the same model in other formats. Needs the package `gguf`. Embeddings and head are quantised too,
norms, routers and biases stay float32. The extra-token module is left out.
"""
import json
import os
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

import export

TOKEN_NORMAL, TOKEN_CONTROL, TOKEN_USER = 1, 3, 4


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


def add_config(writer, c):
    rope = c["rope_scaling"]
    writer.add_name("latentd-tiny")
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_vocab_size(c["vocab_size"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(1)
    writer.add_q_lora_rank(c["q_lora_rank"])
    writer.add_kv_lora_rank(c["kv_lora_rank"])
    writer.add_key_length(c["kv_lora_rank"] + c["qk_rope_head_dim"])
    writer.add_value_length(c["kv_lora_rank"])
    writer.add_key_length_mla(c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    writer.add_value_length_mla(c["v_head_dim"])
    writer.add_leading_dense_block_count(c["first_k_dense_replace"])
    writer.add_expert_feed_forward_length(c["moe_intermediate_size"])
    writer.add_expert_count(c["n_routed_experts"])
    writer.add_expert_used_count(c["num_experts_per_tok"])
    writer.add_expert_shared_count(c["n_shared_experts"])
    writer.add_expert_group_count(c["n_group"])
    writer.add_expert_group_used_count(c["topk_group"])
    writer.add_expert_weights_scale(c["routed_scaling_factor"])
    writer.add_expert_weights_norm(c["norm_topk_prob"])
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_rope_dimension_count(c["qk_rope_head_dim"])
    writer.add_rope_freq_base(c["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def add_tokenizer(writer, folder, config):
    tokenizer = read_json(folder, "tokenizer.json")
    tokens = {number: text for text, number in tokenizer["model"]["vocab"].items()}
    kinds = {}
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = TOKEN_CONTROL if added["special"] else TOKEN_USER
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    count = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3")
    writer.add_token_list([tokens[i] for i in range(count)])
    writer.add_token_types([kinds.get(i, TOKEN_NORMAL) for i in range(count)])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    with open(os.path.join(folder, "chat_template.jinja"), encoding="utf-8") as f:
        writer.add_chat_template(f.read())


def named_tensors(model, c):
    """(GGUF name, array, quantised?) of everything but the extra-token module."""
    heads, nope, value, width = c["num_attention_heads"], c["qk_nope_head_dim"], c["v_head_dim"], c["moe_intermediate_size"]
    state = {name: tensor.detach().float().numpy() for name, tensor in model.state_dict().items()}
    yield "token_embd.weight", state["embed_tokens"], True
    yield "output_norm.weight", state["norm"], False
    yield "output.weight", state["lm_head"], True
    for i in range(c["num_hidden_layers"]):
        at, to = f"layers.{i}.", f"blk.{i}."
        for ours, theirs in (("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"), ("self_attn.q_a_layernorm", "attn_q_a_norm"),
                             ("self_attn.kv_a_layernorm", "attn_kv_a_norm")):
            yield f"{to}{theirs}.weight", state[at + ours], False
        for ours, theirs in (("q_a_proj", "attn_q_a"), ("q_b_proj", "attn_q_b"), ("kv_a_proj_with_mqa", "attn_kv_a_mqa"), ("o_proj", "attn_output")):
            yield f"{to}{theirs}.weight", state[f"{at}self_attn.{ours}"], True
        both = state[f"{at}self_attn.kv_b_proj"].reshape(heads, nope + value, -1)
        yield to + "attn_k_b.weight", both[:, :nope].transpose(0, 2, 1), True
        yield to + "attn_v_b.weight", both[:, nope:], True
        if i < c["first_k_dense_replace"]:
            gate, up = np.split(state[at + "mlp.gate_up_proj"], 2)
            yield to + "ffn_gate.weight", gate, True
            yield to + "ffn_up.weight", up, True
            yield to + "ffn_down.weight", state[at + "mlp.down_proj"], True
            continue
        yield to + "ffn_gate_inp.weight", state[at + "mlp.gate"], False
        yield to + "exp_probs_b.bias", state[at + "mlp.e_score_correction_bias"], False
        experts, shared = state[at + "mlp.experts_gate_up"], state[at + "mlp.shared_gate_up"]
        yield to + "ffn_gate_exps.weight", experts[:, :width], True
        yield to + "ffn_up_exps.weight", experts[:, width:], True
        yield to + "ffn_down_exps.weight", state[at + "mlp.experts_down"], True
        gate, up = np.split(shared, 2)
        yield to + "ffn_gate_shexp.weight", gate, True
        yield to + "ffn_up_shexp.weight", up, True
        yield to + "ffn_down_shexp.weight", state[at + "mlp.shared_down"], True


def main():
    if len(sys.argv) != 4 or sys.argv[2] not in Type.__members__:
        sys.exit(__doc__)
    folder, kind, out = sys.argv[1], Type[sys.argv[2]], sys.argv[3]
    config = read_json(folder, "config.json")
    writer = gguf.GGUFWriter(out, "deepseek2")
    add_config(writer, config)
    add_tokenizer(writer, folder, config)
    for name, array, quantised in named_tensors(export.load(folder), config):
        array = np.ascontiguousarray(array, dtype=np.float32)
        if not quantised or kind == Type.F32:
            writer.add_tensor(name, array)
            continue
        data = gguf.quants.quantize(array, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {os.path.getsize(out)} bytes")


if __name__ == "__main__":
    main()
