"""FP8 E4M3 weights in blocks of 128x128, as DeepSeek-V3's checkpoints store them.

Scales are powers of two, so that a weight times its scale is exact in bfloat16 and every engine sees the
same numbers however it multiplies. Where a dimension is no multiple of 128 its blocks share one scale: the transformers library takes
the block size to be the dimension over the number of scales (80 for 160 rows), so it would put unequal scales on the wrong rows.
"""
import torch

BLOCK = 128
LARGEST = 448.0


def is_matrix(name):
    """True for the hidden matrices (which Muon trains): not for embeddings, head, norms and routers."""
    leaf = name.rsplit(".", 1)[-1]
    return leaf.endswith("proj") or leaf.endswith("_mqa") or leaf.endswith(("gate_up", "down"))


def is_quantised(name):
    """True for what the shipped file stores in FP8."""
    return is_matrix(name) and not name.endswith("eh_proj")


def blocks(weight):
    """weight [..., rows, columns], padded with zeros, as [..., row blocks, 128, column blocks, 128]."""
    rows, columns = weight.shape[-2:]
    padded = torch.nn.functional.pad(weight, (0, -columns % BLOCK, 0, -rows % BLOCK))
    return padded.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))


def quantise(weight):
    """(FP8 weight, scale [row blocks, column blocks]) of a float32 matrix; weight = fp8 * scale."""
    cut = blocks(weight)
    largest = cut.abs().amax((-3, -1), keepdim=True).clamp(min=1e-12)
    if weight.shape[-2] % BLOCK:
        largest = largest.amax(-4, keepdim=True).expand_as(largest)
    if weight.shape[-1] % BLOCK:
        largest = largest.amax(-2, keepdim=True).expand_as(largest)
    scale = torch.exp2(torch.ceil(torch.log2(largest / LARGEST)))
    quantised = (cut / scale).flatten(-2).flatten(-3, -2)[..., :weight.shape[-2], :weight.shape[-1]]
    return quantised.to(torch.float8_e4m3fn), scale[..., 0, :, 0]


def dequantise(quantised, scale):
    """The float32 matrix that (quantised, scale) stands for."""
    spread = scale.repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1)
    return quantised.float() * spread[..., :quantised.shape[-2], :quantised.shape[-1]]


def round_trip(weight):
    return dequantise(*quantise(weight))
