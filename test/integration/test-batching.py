#!/usr/bin/env python3
"""A request's tokens are its own: 64 requests at once on the cpu engine, greedy and with seeds, short and over several
hundred tokens, streamed and not, each answered as by a server that has nothing else to do."""
import concurrent.futures
import random
import sys

import daemon
from daemon import equal

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"
WORDS = "the a of king river seven green owl says walks under and then because bell stone 12 4 tower".split()
REQUESTS = 64


def requests(seed):
    """(path, body, streamed?) of all requests: alike for the same seed."""
    rng = random.Random(seed)
    made = []
    for i in range(REQUESTS):
        # No two begin alike, so that no one finds another's prefix in the cache.
        length = rng.choice([1, 5, 20, 60, 150, 400])
        text = "%d %s" % (i, " ".join(rng.choice(WORDS) for _ in range(length)))
        body = {"max_tokens": rng.randint(4, 32), "ignore_eos": rng.random() < 0.7, "logprobs": i % 3 == 0}
        if rng.random() < 0.5:
            body["temperature"] = 0
        else:
            body.update(temperature=rng.choice([0.7, 1.0, 1.6]), seed=rng.randrange(1 << 30), top_p=rng.choice([0.9, 1]))
        if rng.random() < 0.5:
            path = CHAT
            body["messages"] = [{"role": "user", "content": text}]
        else:
            path = TEXT
            body["prompt"] = text
            body["logprobs"] = 1 if body["logprobs"] else None
        made.append((path, body, rng.random() < 0.5))
    return made


def answer(server, path, body, streamed):
    """(text, why it ended), put together from the frames where it is streamed."""
    if not streamed:
        r = server.request("POST", path, body)
        equal(r.status, 200)
        choice = r.json["choices"][0]
        return choice["text"] if path == TEXT else choice["message"]["content"], choice["finish_reason"]
    events = server.stream(path, body)
    ends = [e["choices"][0]["finish_reason"] for e in events[:-1] if e["choices"]]
    return daemon.texts(events)[0], next(end for end in ends if end)


def check(**params):
    seed = random.randrange(1 << 30)
    print("seed %d" % seed, flush=True)
    asked = requests(seed)
    with daemon.Server("cpu", **params) as s:
        want = [answer(s, *request) for request in asked]
    with daemon.Server("cpu", **params) as s, concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
        for request, alone, among in zip(asked, want, pool.map(lambda request: answer(s, *request), asked)):
            assert among == alone, "%r: %r among others, %r alone" % (request, among, alone)
        # Again, now that prompts and answers are in the prefix cache.
        for request, alone, among in zip(asked, want, pool.map(lambda request: answer(s, *request), asked)):
            assert among == alone, "%r: %r from the cache, %r alone" % (request, among, alone)
        # Where there is no room, nothing need be left of them.
        if "engine_cache_blocks" not in params:
            assert s.metrics()["latentd_cached_tokens_total"] > 0, "nothing came from the prefix cache"
        # Right behind itself and alone, a request finds its blocks however little room there is.
        i = max(range(REQUESTS), key=lambda i: len(str(asked[i][1].get("prompt") or asked[i][1]["messages"])))
        equal(answer(s, *asked[i]), want[i])
        before = s.metrics()["latentd_cached_tokens_total"]
        equal(answer(s, *asked[i]), want[i])
        assert s.metrics()["latentd_cached_tokens_total"] > before, "request %d did not find its own prompt in the cache" % i


def test_absorbed():
    check(engine_attention="absorbed")


def test_auto():
    check()


def test_few_blocks():
    """Cache for a few of them only: sequences wait, and are put off and computed again."""
    check(engine_cache_blocks=96, engine_attention="absorbed")


def test_q8_cache():
    check(engine_cache_type="q8", engine_attention="absorbed")


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
