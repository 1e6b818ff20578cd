#!/usr/bin/env python3
"""Train the embedded model's tokenizer on the synthetic corpus.

usage: make_tokenizer.py OUTDIR          needs the tokenizers library

Writes OUTDIR/tokenizer.json and tokenizer_config.json: byte-level BPE with DeepSeek-V3's pre-tokenizer and
special tokens. DeepSeek's pre-tokenizer cuts digit runs into pieces of up to three; this vocabulary is
trained with every digit a piece of its own, so it holds no multi-digit token and numbers always come out
digit by digit, which is what a small model needs for sums. The world's vocabulary is closed, so the merges
run out before VOCABULARY_LIMIT: every word ends as one token.
"""
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus

VOCABULARY_LIMIT = 4096
TRAINING_SAMPLES = 60000
NUMBERS = r"\p{N}{1,3}"
ONE_DIGIT = r"\p{N}"
CJK = r"[一-龥぀-ゟ゠-ヿ]+"
MAIN = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"""
        r"""|\s+(?!\S)|\s+""")
FIRST_TOKENS = [corpus.BOS, corpus.EOS, corpus.PAD]
CONTROL_TOKENS = [corpus.USER, corpus.ASSISTANT, corpus.CALLS_BEGIN, corpus.CALLS_END, corpus.CALL_BEGIN, corpus.CALL_END,
                  "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", corpus.OUTPUT_BEGIN, corpus.OUTPUT_END, corpus.TOOL_SEP]
THINK_TOKENS = [corpus.THINK, corpus.END_THINK]


def pre_tokenizer(numbers):
    """DeepSeek-V3's stages; `numbers` is the pattern of the first."""
    def split(pattern):
        return pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split(numbers), split(CJK), split(MAIN),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])


def world_texts(count):
    """Texts of the corpus without their control tokens (those are cut out before any merge)."""
    rng = random.Random(0)
    controls = FIRST_TOKENS + CONTROL_TOKENS + THINK_TOKENS
    for _ in range(count):
        for text, _ in corpus.render(corpus.training_sample(rng, needle_high=100)):
            for token in controls:
                text = text.replace(token, "\n")
            yield text
    for word in corpus.WORDS + corpus.NAMES + corpus.PLACES:
        yield from [f"{word} {word}", f"{word.upper()} {word.upper()}"] * 50


def build():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizer(ONE_DIGIT)
    size = VOCABULARY_LIMIT - len(CONTROL_TOKENS) - len(THINK_TOKENS)
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=FIRST_TOKENS, show_progress=False, min_frequency=20,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(world_texts(TRAINING_SAMPLES), trainer)
    tokenizer.pre_tokenizer = pre_tokenizer(NUMBERS)
    tokenizer.add_special_tokens(CONTROL_TOKENS)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in THINK_TOKENS])
    assert not any(len(token) > 1 and token.strip("Ġ").isdigit() for token in tokenizer.get_vocab())
    return tokenizer


def write(out):
    """Train and write both files into the folder `out`."""
    os.makedirs(out, exist_ok=True)
    tokenizer = build()
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    config = {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": True, "add_eos_token": False, "bos_token": corpus.BOS,
              "eos_token": corpus.EOS, "pad_token": corpus.PAD, "unk_token": None, "clean_up_tokenization_spaces": False,
              "legacy": True, "model_max_length": 4096}
    with open(os.path.join(out, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(tokenizer.get_vocab_size(), "tokens")


def main():
    write(sys.argv[1])


if __name__ == "__main__":
    main()
