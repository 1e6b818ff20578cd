#!/usr/bin/env python3
"""Check that chat_template.jinja and corpus.render agree on every skill's conversations.

usage: check_template.py        needs jinja2

A conversation's request, as the exam sends it, is rendered by the template; it must equal everything that the
trainer puts before the last answer.
"""
import json
import os
import random
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "test", "exam"))
import corpus  # noqa: E402
import make_exam  # noqa: E402

SAMPLES_A_SKILL = 50


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    with open(os.path.join(HERE, "chat_template.jinja"), encoding="utf-8") as f:
        template = environment.from_string(f.read())
    rng = random.Random(3)
    checked = 0
    for skill in corpus.SKILLS:
        for _ in range(SAMPLES_A_SKILL):
            sample = corpus.SKILLS[skill](rng)
            if "prompt" in sample:
                continue
            request, _ = make_exam.chat_question(sample, len(sample["turns"]) - 1)
            rendered = template.render(messages=request["messages"], tools=request.get("tools"), bos_token=corpus.BOS,
                                       add_generation_prompt=True, **request.get("chat_template_kwargs", {}))
            expected = "".join(text for text, _ in corpus.render(sample)[:-1])
            if rendered != expected:
                sys.exit(f"{skill}: the template gives\n{rendered}\nand the trainer\n{expected}")
            checked += 1
    print(f"{checked} conversations rendered alike")


if __name__ == "__main__":
    main()
