#!/usr/bin/env python3
"""Write the exam's questions: 25 held-out samples of each of the 20 skills of tools/tiny/corpus.py.

usage: make_exam.py > questions.jsonl

A line: {"id", "skill", "path", "request", "expect"}; `expect` holds the exact answer: "text" for a completion;
"content", and "reasoning" or "tool_calls" where there are any, for a chat. Training never sees these
questions (corpus.held_out), and the file is made once, so that scores stay comparable.
"""
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "tiny"))
import corpus  # noqa: E402

SEED = 2026
QUESTIONS_A_SKILL = 25
MAX_TOKENS = 120


def api_message(turn):
    """A turn as a client sends it back."""
    message = {"role": turn["role"], "content": turn["content"]}
    if turn.get("tool_calls"):
        message["content"] = None
        message["tool_calls"] = [{"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                                 for i, (name, arguments) in enumerate(turn["tool_calls"])]
    return message


def with_call_ids(messages):
    """Gives each tool result the id of its call, as OpenAI's API wants it."""
    results = 0
    for message in messages:
        if message["role"] == "tool":
            message["tool_call_id"] = f"call_{results}"
            results += 1
    return messages


def chat_question(sample, last):
    """The request up to the assistant's turn `last`, and what that turn must be."""
    messages = [{"role": "system", "content": sample["system"]}] if sample["system"] else []
    messages += with_call_ids([api_message(turn) for turn in sample["turns"][:last]])
    request = {"messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
    if sample["tools"]:
        request["tools"] = [{"type": "function", "function": tool} for tool in sample["tools"]]
    if sample["thinking"]:
        request["chat_template_kwargs"] = {"thinking": True}
    answer = sample["turns"][last]
    expect = {"content": answer["content"]}
    if "reasoning" in answer:
        expect["reasoning"] = answer["reasoning"]
    if answer.get("tool_calls"):
        expect["tool_calls"] = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in answer["tool_calls"]]
    return request, expect


def question(rng, skill):
    """One held-out question of a skill: (sample cut after the asked turn, path, request, expect). Errands ask for
    the calls or for the answer."""
    sample = corpus.exam_sample(rng, skill)
    if "prompt" in sample:
        request = {"prompt": sample["prompt"], "temperature": 0, "max_tokens": MAX_TOKENS}
        return sample, "/v1/completions", request, {"text": sample["completion"]}
    answers = [i for i, turn in enumerate(sample["turns"]) if turn["role"] == "assistant"]
    last = rng.choice(answers) if sample["tools"] else answers[-1]
    return {**sample, "turns": sample["turns"][:last + 1]}, "/v1/chat/completions", *chat_question(sample, last)


def questions():
    """The exam: (line of the file, sample) of every question."""
    rng = random.Random(SEED)
    seen = set()
    for skill in corpus.SKILLS:
        number = 0
        while number < QUESTIONS_A_SKILL:
            sample, path, request, expect = question(rng, skill)
            text = json.dumps(request)
            if text in seen:
                continue
            seen.add(text)
            number += 1
            yield {"id": f"{skill}-{number}", "skill": skill, "path": path, "request": request, "expect": expect}, sample


def main():
    for line, _ in questions():
        print(json.dumps(line))


if __name__ == "__main__":
    main()
