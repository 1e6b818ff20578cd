#!/usr/bin/env python3
"""Load on an OpenAI-style server: clients that each send their next completion request when the last one has
ended. Prints tokens and requests a second, the time to the first token, the time between tokens, and errors.
Knows nothing of the server, so figures of different ones compare. Standard library only.

Prompts are random words, other ones for each request and seed, so that no prefix cache helps; with --shared all
begin with the same words. The same seed sends the same prompts again.

usage: load.py [OPTION...] URL     (http://HOST:PORT, or with the path of the route)
"""
import argparse
import http.client
import json
import queue
import random
import sys
import threading
import time
import urllib.parse

WORDS = """
acorn amber anchor apple arrow autumn bakery balcony bamboo barley barrel basket beacon bench berry bicycle blanket
blossom blue boat bottle branch bread brick bridge bright bronze brook brush bucket butter button cabin candle
canvas carpet castle cedar chalk cherry chimney circle clay cliff cloud clover coast copper coral corner cotton
cradle crane cream creek crystal curtain daisy dawn deep desert dinner dolphin donkey dragon drum dusty eagle early
east ember engine falcon farm feather fence fern ferry field finger flame flute forest fountain fox frost garden
gate ginger glass gold grain granite grape gravel green hammer harbor harvest hazel hedge hill hollow honey horse
island ivory jacket jungle kettle kitchen ladder lake lantern leaf lemon linen lion maple marble market meadow melon
mill mirror moss mountain music narrow needle night north oak ocean olive onion orange orchard otter owl paper
parrot path pearl pepper piano pillow pine planet plum pocket pond
""".split()


class Answer:
    """What one request gave. `pieces` are the times at which text came."""

    def __init__(self):
        self.error = None
        self.begin = self.end = time.perf_counter()
        self.pieces = []
        self.tokens = 0


class Refused(Exception):
    """The server answered, with an error."""


def arguments(argv=None):
    p = argparse.ArgumentParser(description="Load on an OpenAI-style server, each client one request at a time.")
    p.add_argument("url", metavar="URL", help="http://HOST:PORT; /v1/completions is added where there is no path, "
                   "and a path that ends in /chat/completions gets messages")
    p.add_argument("-c", "--clients", type=int, default=8, help="requests under way at once (default 8)")
    p.add_argument("-n", "--requests", type=int, default=32, help="requests in all (default 32)")
    p.add_argument("-w", "--words", type=int, default=96, help="words of a prompt (default 96)")
    p.add_argument("-t", "--tokens", type=int, default=48, help="tokens of an answer (default 48)")
    p.add_argument("--shared", type=int, default=0, metavar="WORDS",
                   help="words of each prompt that are the same in all, at its beginning (default 0)")
    p.add_argument("--seed", type=int, default=1, help="of the prompts (default 1)")
    p.add_argument("--temperature", type=float, default=0.0, help="default 0: greedy")
    p.add_argument("--no-stream", action="store_true", help="ask for whole answers; there is no time between tokens")
    p.add_argument("--model", help="the request's field; default: left out")
    p.add_argument("--key", help="API key")
    p.add_argument("--timeout", type=float, default=600, metavar="SECONDS",
                   help="longest silence of the server (default 600)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    a = p.parse_args(argv)
    for name in ("clients", "requests", "words", "tokens"):
        if getattr(a, name) < 1:
            p.error("--%s is less than 1" % name)
    if not 0 <= a.shared <= a.words:
        p.error("--shared is not within 0 and --words")
    a.target = urllib.parse.urlsplit(a.url)
    if a.target.scheme not in ("http", "https") or not a.target.hostname:
        p.error("URL %r is not http://HOST[:PORT][/PATH]" % a.url)
    return a


def prompt(a, index):
    shared = random.Random("shared %d" % a.seed)
    own = random.Random("prompt %d of %d" % (index, a.seed))
    return " ".join([shared.choice(WORDS) for _ in range(a.shared)] +
                    [own.choice(WORDS) for _ in range(a.words - a.shared)])


def request_body(a, index, chat):
    # Without ignore_eos answers end where the model likes, and servers would do different work.
    body = {"max_tokens": a.tokens, "temperature": a.temperature, "ignore_eos": True}
    if a.model:
        body["model"] = a.model
    if chat:
        body["messages"] = [{"role": "user", "content": prompt(a, index)}]
    else:
        body["prompt"] = prompt(a, index)
    if not a.no_stream:
        body.update(stream=True, stream_options={"include_usage": True})
    return json.dumps(body)


def has_text(event):
    for choice in event.get("choices") or []:
        part = choice.get("delta") or choice.get("message") or choice
        if part.get("text") or part.get("content") or part.get("reasoning_content"):
            return True
    return False


def read_stream(response, answer):
    for line in response:
        if not line.startswith(b"data:"):
            continue
        now = time.perf_counter()
        data = line[5:].strip()
        if data == b"[DONE]":
            # A frame may hold several tokens, or wait for the rest of a character: only usage has the count.
            answer.tokens = answer.tokens or len(answer.pieces)
            return
        event = json.loads(data)
        if "error" in event:
            raise Refused("error in the stream: %s" % json.dumps(event["error"]))
        if has_text(event):
            answer.pieces.append(now)
        if event.get("usage"):
            answer.tokens = event["usage"]["completion_tokens"]
    raise Refused("the stream ended without [DONE]")


def ask(a, index):
    answer = Answer()
    path = a.target.path.rstrip("/") or "/v1/completions"
    kind = http.client.HTTPSConnection if a.target.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if a.key:
        headers["Authorization"] = "Bearer " + a.key
    body = request_body(a, index, path.endswith("/chat/completions"))
    connection = kind(a.target.hostname, a.target.port, timeout=a.timeout)
    answer.begin = time.perf_counter()
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise Refused("status %d: %s" % (response.status, response.read(300).decode(errors="replace").strip()))
        if a.no_stream:
            whole = json.loads(response.read())
            answer.pieces.append(time.perf_counter())
            answer.tokens = whole["usage"]["completion_tokens"]
        else:
            read_stream(response, answer)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, http.client.HTTPException, Refused) as e:
        answer.error = str(e) if isinstance(e, Refused) else "%s: %s" % (type(e).__name__, e)
    finally:
        answer.end = time.perf_counter()
        connection.close()
    return answer


def quantile(values, share):
    """With linear interpolation; None of no values."""
    if not values:
        return None
    values = sorted(values)
    at = share * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def spread(seconds):
    """Milliseconds."""
    return {name: None if value is None else round(1e3 * value, 2)
            for name, value in (("p50", quantile(seconds, 0.5)), ("p95", quantile(seconds, 0.95)))}


def run(a):
    waiting = queue.SimpleQueue()
    answers = [None] * a.requests
    for i in range(a.requests):
        waiting.put(i)

    def client():
        while True:
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            answers[i] = ask(a, i)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(min(a.clients, a.requests))]
    begin = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    seconds = time.perf_counter() - begin
    good = [x for x in answers if not x.error]
    errors = [x.error for x in answers if x.error]
    tokens = sum(x.tokens for x in good)
    return {
        "clients": a.clients, "requests": a.requests, "words": a.words, "shared_words": a.shared,
        "tokens_asked": a.tokens, "streamed": not a.no_stream, "seed": a.seed,
        "seconds": round(seconds, 3), "tokens": tokens,
        "tokens_per_second": round(tokens / seconds, 2), "requests_per_second": round(len(good) / seconds, 3),
        "first_token_ms": spread([x.pieces[0] - x.begin for x in good if x.pieces and not a.no_stream]),
        "between_tokens_ms": spread([y - z for x in good for y, z in zip(x.pieces[1:], x.pieces)]),
        "answer_ms": spread([x.end - x.begin for x in good]),
        "short": sum(x.tokens < a.tokens for x in good),
        "errors": len(errors), "first_error": errors[0] if errors else None,
    }


def show(result):
    def both(name):
        return ", ".join("%s %s" % (p, "-" if v is None else "%.1f ms" % v) for p, v in result[name].items())

    print("%d clients, %d requests, %d words in, %d tokens out%s: %.2f s" % (
        result["clients"], result["requests"], result["words"], result["tokens_asked"],
        ", streamed" if result["streamed"] else "", result["seconds"]))
    print("tokens/s          %.1f" % result["tokens_per_second"])
    print("requests/s        %.2f" % result["requests_per_second"])
    print("first token       %s" % both("first_token_ms"))
    print("between tokens    %s" % both("between_tokens_ms"))
    print("whole answer      %s" % both("answer_ms"))
    print("errors            %d%s" % (result["errors"],
                                      ", the first: %s" % result["first_error"] if result["errors"] else ""))
    if result["short"]:
        print("short answers     %d" % result["short"])


def main():
    a = arguments()
    result = run(a)
    if a.json:
        print(json.dumps(result))
    else:
        show(result)
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
