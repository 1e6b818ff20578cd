#!/usr/bin/env python3
"""The exam: 500 held-out questions with exact answers, asked of a running latentd.

usage: exam.py [--url URL | --start COMMAND] [--questions FILE] [--overall P] [--skill P] [--json FILE]

Every question is asked at temperature 0 in four passes: at once in a body and streamed, one at a time and 32
at a time. A table by skill shows each pass's score. The exam fails if a score is below the bars, or if a
question gets different answers in two passes: batching, caching and streaming must not change an answer.
--start runs COMMAND (for example "build/latentd --model models/tiny --port 8090") for the time of the exam;
URL must then name the same port. Standard library only.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.parse

PASSES = (("body, 1", False, 1), ("stream, 1", True, 1), ("body, 32", False, 32), ("stream, 32", True, 32))
REQUEST_SECONDS = 300
START_SECONDS = 120
SHOWN_FAULTS = 10


class Client:
    """Asks one server; every request has its own connection and time limit."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80

    def connection(self, seconds=REQUEST_SECONDS):
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)

    def ready(self):
        """True when the server says that it has loaded the model."""
        connection = self.connection(2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def ask(self, path, request, stream):
        """The answer as the question's `expect` has it, or {"error": text}."""
        connection = self.connection()
        try:
            body = json.dumps({**request, "stream": stream})
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                return {"error": f"status {response.status}: {response.read(500).decode(errors='replace')}"}
            if stream:
                return assemble(events(response))
            return answer_of(json.loads(response.read())["choices"][0])
        except (OSError, ValueError, KeyError, IndexError, http.client.HTTPException) as fault:
            return {"error": f"{type(fault).__name__}: {fault}"}
        finally:
            connection.close()


def events(response):
    """The JSON objects of a server-sent event stream that must end with [DONE]."""
    for line in response:
        line = line.strip()
        if not line.startswith(b"data:"):
            continue
        data = line[len(b"data:"):].strip()
        if data == b"[DONE]":
            return
        yield json.loads(data)
    raise ValueError("the stream ended without [DONE]")


def answer_of(choice):
    """One finished choice, chat or completion, in the shape of `expect`."""
    if "text" in choice:
        return {"text": choice["text"]}
    message = choice["message"]
    answer = {"content": message.get("content") or ""}
    if message.get("reasoning_content"):
        answer["reasoning"] = message["reasoning_content"]
    if message.get("tool_calls"):
        answer["tool_calls"] = [{"name": call["function"]["name"], "arguments": call["function"]["arguments"]} for call in message["tool_calls"]]
    return answer


def assemble(chunks):
    """The same answer from a stream's deltas."""
    content, reasoning, text, calls = "", "", None, {}
    for chunk in chunks:
        if "error" in chunk:
            return {"error": json.dumps(chunk["error"])}
        for choice in chunk["choices"]:
            if "text" in choice:
                text = (text or "") + choice["text"]
                continue
            delta = choice["delta"]
            content += delta.get("content") or ""
            reasoning += delta.get("reasoning_content") or ""
            for part in delta.get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"name": "", "arguments": ""})
                call["name"] += part["function"].get("name") or ""
                call["arguments"] += part["function"].get("arguments") or ""
    if text is not None:
        return {"text": text}
    answer = {"content": content}
    if reasoning:
        answer["reasoning"] = reasoning
    if calls:
        answer["tool_calls"] = [calls[index] for index in sorted(calls)]
    return answer


def run_pass(client, questions, stream, concurrency):
    """Answers in the order of the questions."""
    with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(lambda q: client.ask(q["path"], q["request"], stream), questions))


def scores(questions, answers):
    """{skill: (right, asked)} in the order of the questions."""
    table = {}
    for question, answer in zip(questions, answers):
        right, asked = table.get(question["skill"], (0, 0))
        table[question["skill"]] = (right + (answer == question["expect"]), asked + 1)
    return table


def print_table(by_pass):
    """A row a skill, a column a pass, in percent."""
    names = list(by_pass)
    print(f"{'skill':<12}" + "".join(f"{name:>12}" for name in names))
    for skill in by_pass[names[0]]:
        print(f"{skill:<12}" + "".join(f"{100 * by_pass[name][skill][0] / by_pass[name][skill][1]:>11.1f}%" for name in names))
    print(f"{'overall':<12}" + "".join(f"{100 * overall(by_pass[name]):>11.1f}%" for name in names))


def overall(table):
    return sum(right for right, _ in table.values()) / sum(asked for _, asked in table.values())


def differences(questions, answers_by_pass):
    """Questions that did not get the same answer in every pass: (question, {pass: answer})."""
    found = []
    for i, question in enumerate(questions):
        answers = {name: answers[i] for name, answers in answers_by_pass.items()}
        if any(answer != answers[PASSES[0][0]] for answer in answers.values()):
            found.append((question, answers))
    return found


def show_faults(questions, answers):
    """The first wrong answers beside the right ones."""
    wrong = [(q, a) for q, a in zip(questions, answers) if a != q["expect"]]
    for question, answer in wrong[:SHOWN_FAULTS]:
        print(f"  {question['id']}: expected {json.dumps(question['expect'])}, got {json.dumps(answer)}")


def start(command, client):
    """A server process that has become ready."""
    process = subprocess.Popen(shlex.split(command))
    deadline = time.monotonic() + START_SECONDS
    while not client.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            sys.exit(f"exam: the server did not become ready: {command}")
        time.sleep(0.1)
    return process


def take(client, questions, options):
    """All passes; returns True if the exam is passed."""
    answers_by_pass, by_pass = {}, {}
    for name, stream, concurrency in PASSES:
        began = time.monotonic()
        answers_by_pass[name] = run_pass(client, questions, stream, concurrency)
        by_pass[name] = scores(questions, answers_by_pass[name])
        print(f"{name}: {100 * overall(by_pass[name]):.1f}% in {time.monotonic() - began:.1f} s", flush=True)
    print_table(by_pass)
    first = PASSES[0][0]
    show_faults(questions, answers_by_pass[first])
    differing = differences(questions, answers_by_pass)
    for question, answers in differing[:SHOWN_FAULTS]:
        print(f"  {question['id']} differs: {json.dumps(answers)}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"passes": by_pass, "answers": answers_by_pass}, f)
    low = [skill for skill, (right, asked) in by_pass[first].items() if 100 * right < options.skill * asked]
    passed = not differing and not low and 100 * overall(by_pass[first]) >= options.overall
    print(f"exam {'passed' if passed else 'FAILED'}: {100 * overall(by_pass[first]):.1f}% overall (bar {options.overall}%), "
          f"skills below {options.skill}%: {', '.join(low) or 'none'}, questions with differing answers: {len(differing)}")
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--start", help="command that starts the server")
    parser.add_argument("--questions", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "questions.jsonl"))
    parser.add_argument("--overall", type=float, default=95, help="lowest score overall, percent")
    parser.add_argument("--skill", type=float, default=85, help="lowest score of a skill, percent")
    parser.add_argument("--json", help="file for scores and answers")
    options = parser.parse_args()
    with open(options.questions, encoding="utf-8") as f:
        questions = [json.loads(line) for line in f]
    client = Client(options.url)
    process = start(options.start, client) if options.start else None
    try:
        passed = take(client, questions, options)
    finally:
        if process:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
