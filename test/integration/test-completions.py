#!/usr/bin/env python3
# limit: 300
"""Answers in OpenAI's shapes, whole and streamed: roles, deltas, finish reasons, usage, n, stop, echo,
several prompts, token ids, logprobs. Mostly on the null engine; what needs probabilities on blas."""
import concurrent.futures
import json
import math
import os
import re
import sys

sys.dont_write_bytecode = True
import daemon
from daemon import equal

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
USER = [{"role": "user", "content": "What is 12 + 30?"}]
CHUNK = {"id", "object", "created", "model", "system_fingerprint", "choices"}


def check_usage(u, prompt=None, completion=None, cached=None):
    equal(u["total_tokens"], u["prompt_tokens"] + u["completion_tokens"])
    assert u["prompt_tokens"] > 0
    assert 0 <= u["prompt_tokens_details"]["cached_tokens"] <= u["prompt_tokens"]
    for want, have in ((prompt, u["prompt_tokens"]), (completion, u["completion_tokens"]),
                       (cached, u["prompt_tokens_details"]["cached_tokens"])):
        if want is not None:
            equal(have, want)


def test_chat_whole():
    with daemon.Server() as s:
        r = s.chat(max_tokens=12)
        equal(r.status, 200)
        equal(r.headers["Content-Type"], "application/json")
        a = r.json
        equal(set(a), CHUNK | {"usage"})
        equal(a["object"], "chat.completion")
        assert re.fullmatch("chatcmpl-[0-9a-f]{24}", a["id"]), a["id"]
        equal(r.headers["X-Request-Id"], a["id"])
        equal(a["model"], s.get("/v1/models").json["data"][0]["id"])
        choice = a["choices"][0]
        equal(len(a["choices"]), 1)
        equal(choice["index"], 0)
        equal(choice["finish_reason"], "length")
        equal(choice["message"]["role"], "assistant")
        assert isinstance(choice["message"]["content"], str)
        check_usage(a["usage"], completion=12)


def check_chat_stream(events, n=1, usage=False):
    """The exact order of chunks: roles, deltas, finish reasons, usage, [DONE]."""
    equal(events[-1], "[DONE]")
    chunks = events[:-1]
    if usage:
        last = chunks.pop()
        equal(last["choices"], [])
        check_usage(last["usage"])
    seen = {}
    for c in chunks:
        want = CHUNK | ({"usage"} if usage else set())
        equal(set(c), want)
        equal(c["object"], "chat.completion.chunk")
        equal(c["id"], chunks[0]["id"])
        equal(c["created"], chunks[0]["created"])
        if usage:
            equal(c["usage"], None)
        equal(len(c["choices"]), 1)
        choice = c["choices"][0]
        i, delta = choice["index"], choice["delta"]
        if i not in seen:
            equal(delta.get("role"), "assistant")
            equal(choice["finish_reason"], None)
            seen[i] = "open"
        elif choice["finish_reason"] is not None:
            equal(seen[i], "open")
            equal(delta, {})
            seen[i] = choice["finish_reason"]
        else:
            equal(seen[i], "open")
            assert "role" not in delta
            assert isinstance(delta.get("content", delta.get("reasoning_content")), str), c
    equal(set(seen), set(range(n)))
    return seen


def test_chat_stream():
    with daemon.Server() as s:
        events = s.stream(CHAT, {"messages": USER, "max_tokens": 20})
        equal(check_chat_stream(events), {0: "length"})
        events = s.stream(CHAT, {"messages": USER, "max_tokens": 20, "stream_options": {"include_usage": True}})
        check_chat_stream(events, usage=True)
        equal(events[-2]["usage"]["completion_tokens"], 20)


def test_stream_equals_whole():
    """The null engine draws from the context alone, so both ways must give the same text."""
    with daemon.Server() as s:
        for n_tokens in (1, 2, 17, 300):
            whole = s.complete("Once upon", max_tokens=n_tokens).json["choices"][0]["text"]
            events = s.stream(TEXT, {"prompt": "Once upon", "max_tokens": n_tokens})
            equal(daemon.texts(events)[0], whole)


def test_completions_whole():
    with daemon.Server() as s:
        a = s.complete("Once upon a time", max_tokens=5).json
        equal(set(a), CHUNK | {"usage"})
        equal(a["object"], "text_completion")
        assert a["id"].startswith("cmpl-")
        equal(set(a["choices"][0]), {"index", "text", "logprobs", "finish_reason"})
        check_usage(a["usage"], completion=5)
        # OpenAI's default for this endpoint.
        equal(s.complete("Once upon a time").json["usage"]["completion_tokens"], 16)


def test_completions_stream():
    with daemon.Server() as s:
        events = s.stream(TEXT, {"prompt": "Once", "max_tokens": 9, "stream_options": {"include_usage": True}})
        equal(events[-1], "[DONE]")
        check_usage(events[-2]["usage"], completion=9)
        for e in events[:-2]:
            equal(e["object"], "text_completion")
            equal(set(e["choices"][0]), {"index", "text", "logprobs", "finish_reason"})
        equal(events[-3]["choices"][0]["finish_reason"], "length")


def test_choices():
    with daemon.Server() as s:
        a = s.chat(n=3, max_tokens=6).json
        equal([c["index"] for c in a["choices"]], [0, 1, 2])
        check_usage(a["usage"], completion=18)
        one = s.chat(max_tokens=6).json
        equal(a["usage"]["prompt_tokens"], one["usage"]["prompt_tokens"])
        events = s.stream(CHAT, {"messages": USER, "n": 3, "max_tokens": 6})
        check_chat_stream(events, n=3)


def test_prompts():
    """A list of prompts: choice prompt * n + i; usage summed up."""
    with daemon.Server() as s:
        prompts = ["alpha", "beta and more", "gamma"]
        a = s.complete(prompts, n=2, max_tokens=4).json
        equal([c["index"] for c in a["choices"]], list(range(6)))
        single = [s.complete(p, max_tokens=4).json for p in prompts]
        for p in range(3):
            equal(a["choices"][2 * p]["text"], single[p]["choices"][0]["text"])
        check_usage(a["usage"], prompt=sum(x["usage"]["prompt_tokens"] for x in single), completion=24)
        events = s.stream(TEXT, {"prompt": prompts, "max_tokens": 4})
        out = daemon.texts(events)
        equal([out[i] for i in range(3)], [x["choices"][0]["text"] for x in single])


def test_token_ids():
    with daemon.Server() as s:
        a = s.complete([5, 6, 7, 8], max_tokens=4).json
        check_usage(a["usage"], prompt=4, completion=4)
        both = s.complete([[5, 6, 7, 8], [9, 10]], max_tokens=4).json
        equal(both["choices"][0]["text"], a["choices"][0]["text"])
        equal(both["usage"]["prompt_tokens"], 6)


def test_echo():
    with daemon.Server() as s:
        plain = s.complete("Once upon a time", max_tokens=4).json["choices"][0]["text"]
        a = s.complete("Once upon a time", max_tokens=4, echo=True).json
        equal(a["choices"][0]["text"], "Once upon a time" + plain)
        events = s.stream(TEXT, {"prompt": "Once upon a time", "max_tokens": 4, "echo": True})
        equal(daemon.texts(events)[0], "Once upon a time" + plain)


def test_stop():
    """Whatever piece of the answer is made the stop string: the answer ends just before its first
    occurrence, whole and streamed, and nothing of it leaks."""
    with daemon.Server() as s:
        full = s.complete("Tell me", max_tokens=60).json["choices"][0]["text"]
        assert len(full) > 20
        count = 0
        for start in range(3, len(full) - 8, 5):
            for n in (1, 2, 5):
                stop = full[start:start + n]
                want = full[:full.index(stop)]
                a = s.complete("Tell me", max_tokens=60, stop=stop).json
                equal((a["choices"][0]["text"], a["choices"][0]["finish_reason"]), (want, "stop"), repr(stop))
                events = s.stream(TEXT, {"prompt": "Tell me", "max_tokens": 60, "stop": [stop, "\x01\x02"]})
                equal(daemon.texts(events)[0], want, repr(stop))
                equal(events[-2]["choices"][0]["finish_reason"], "stop")
                count += 2
        # The same count of tokens each time, however the events came together.
        used = {s.complete("Tell me", max_tokens=60, stop=full[20:23]).json["usage"]["completion_tokens"]
                for _ in range(10)}
        equal(len(used), 1)
        s.wait_metric('latentd_cache_blocks{state="used"}', lambda v: v == 0)
    return count


def test_stop_of_one_choice():
    """A choice that stops early doesn't end the others."""
    with daemon.Server() as s:
        two = s.complete(["Tell me", "Another one"], max_tokens=60).json["choices"]
        stop = next(two[0]["text"][i:i + 3] for i in range(5, 50)
                    if two[0]["text"][i:i + 3] not in two[1]["text"])
        a = s.complete(["Tell me", "Another one"], max_tokens=60, stop=stop).json["choices"]
        equal([c["finish_reason"] for c in a], ["stop", "length"])
        equal(a[1]["text"], two[1]["text"])


def test_context_end():
    """The answer ends where the context does."""
    with daemon.Server(scheduler_max_context=300) as s:
        a = s.chat("hello", max_tokens=300).json
        equal(a["choices"][0]["finish_reason"], "length")
        equal(a["usage"]["total_tokens"], 300)
        r = s.complete([5] * 300)
        equal(r.status, 400)
        equal(daemon.error_of(r)["code"], "context_length_exceeded")
        equal(s.complete([5] * 299).json["usage"]["completion_tokens"], 1)


def test_cached_tokens():
    with daemon.Server() as s:
        ids = [3 + i % 50 for i in range(200)]
        first = s.complete(ids, max_tokens=2).json
        second = s.complete(ids, max_tokens=2).json
        equal(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert 160 <= cached < 200 and cached % 32 == 0, cached
        equal(second["choices"], first["choices"])
        events = s.stream(TEXT, {"prompt": ids, "max_tokens": 2, "stream_options": {"include_usage": True}})
        equal(events[-2]["usage"]["prompt_tokens_details"]["cached_tokens"], cached)
        none = s.complete(ids, max_tokens=2, cache_prompt=False).json
        equal(none["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        equal(s.metric("latentd_cached_tokens_total"), 2 * cached)


def test_models():
    with daemon.Server(model_name="my/model") as s:
        listed = s.get("/v1/models").json
        equal(listed["object"], "list")
        equal([m["id"] for m in listed["data"]], ["my/model"])
        equal(s.get("/v1/models/my/model").json, listed["data"][0])
        equal(s.get("/v1/models/my%2Fmodel").json, listed["data"][0])
        equal(s.chat(model="my/model", max_tokens=1).json["model"], "my/model")


def test_no_template(tmp=None):
    """A model without a chat template still completes, and says why it doesn't chat."""
    import shutil
    import tempfile
    folder = tempfile.mkdtemp(prefix="lt-it-")
    try:
        for name in os.listdir(daemon.MODEL):
            if name == "chat_template.jinja" or os.path.isdir(os.path.join(daemon.MODEL, name)):
                continue
            if name == "tokenizer_config.json":
                with open(os.path.join(daemon.MODEL, name)) as f:
                    config = json.load(f)
                config.pop("chat_template", None)
                with open(os.path.join(folder, name), "w") as f:
                    json.dump(config, f)
            else:
                os.symlink(os.path.abspath(os.path.join(daemon.MODEL, name)), os.path.join(folder, name))
        with daemon.Server(model_path=folder) as s:
            r = s.chat()
            equal(r.status, 501)
            equal(daemon.error_of(r)["code"], "no_chat_template")
            equal(s.complete("hello", max_tokens=2).status, 200)
        with open(os.path.join(folder, "t.jinja"), "w") as f:
            f.write("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
        with daemon.Server(model_path=folder, args=["--chat-template-file", folder + "/t.jinja"]) as s:
            equal(s.chat(max_tokens=2).status, 200)
    finally:
        shutil.rmtree(folder)


def test_template_fault():
    """The template's own complaint reaches the client."""
    import tempfile
    with tempfile.NamedTemporaryFile("w", suffix=".jinja") as f:
        f.write("{{ raise_exception('roles must alternate') }}")
        f.flush()
        with daemon.Server(args=["--chat-template-file", f.name]) as s:
            r = s.chat()
            equal(r.status, 400)
            assert "roles must alternate" in daemon.error_of(r)["message"], r


def test_concurrent():
    """64 streams at once, each gets its own tokens."""
    with daemon.Server() as s:
        want = {i: s.complete("prompt number %d" % i, max_tokens=100).json["choices"][0]["text"] for i in range(64)}

        def one(i):
            return i, daemon.texts(s.stream(TEXT, {"prompt": "prompt number %d" % i, "max_tokens": 100}))[0]

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            for i, text in pool.map(one, list(range(64)) * 2):
                equal(text, want[i])
        page = s.wait_metric("latentd_requests_active", lambda v: v == 0)
        equal(page["latentd_client_disconnects_total"], 0)


def test_null_has_no_probabilities():
    with daemon.Server() as s:
        r = s.chat(logprobs=True)
        equal(r.status, 501)
        equal(daemon.error_of(r)["param"], "logprobs")


def test_blas_chat():
    with daemon.Server("blas") as s:
        a = s.chat(temperature=0, max_tokens=24).json
        b = s.chat(temperature=0, max_tokens=24).json
        equal(a["choices"], b["choices"])
        events = s.stream(CHAT, {"messages": USER, "temperature": 0, "max_tokens": 24})
        check_chat_stream(events)
        equal(daemon.texts(events)[0], a["choices"][0]["message"]["content"])
        seeds = [s.chat(temperature=1.5, seed=7, max_tokens=16).json["choices"] for _ in range(2)]
        equal(seeds[0], seeds[1])
        page = s.metrics()
        counts = [v for k, v in page.items() if k.startswith("latentd_expert_tokens_total")]
        assert sum(counts) > 0
        assert [v for k, v in page.items() if k.startswith("latentd_expert_max_violation")]


def test_blas_logprobs():
    with daemon.Server("blas") as s:
        a = s.chat(temperature=0, max_tokens=8, logprobs=True, top_logprobs=4).json["choices"][0]
        entries = a["logprobs"]["content"]
        assert entries
        for e in entries:
            equal(set(e), {"token", "logprob", "bytes", "top_logprobs"})
            assert e["logprob"] <= 0
            equal(len(e["top_logprobs"]), 4)
            values = [t["logprob"] for t in e["top_logprobs"]]
            equal(values, sorted(values, reverse=True))
            assert sum(math.exp(v) for v in values) <= 1.0001
            # Greedy: the token is the most probable one.
            equal((e["token"], e["logprob"]), (e["top_logprobs"][0]["token"], values[0]))
        events = s.stream(CHAT, {"messages": USER, "temperature": 0, "max_tokens": 8, "logprobs": True,
                                 "top_logprobs": 4})
        streamed = []
        for e in events[:-1]:
            if e["choices"][0].get("logprobs"):
                streamed += e["choices"][0]["logprobs"]["content"] or []
        equal(streamed, entries)
        old = s.complete("Once upon", temperature=0, max_tokens=6, logprobs=2).json["choices"][0]["logprobs"]
        equal(len(old["tokens"]), len(old["token_logprobs"]))
        equal(len(old["tokens"]), len(old["top_logprobs"]))


def test_blas_bias_and_min_tokens():
    with daemon.Server("blas") as s:
        forced = s.complete("Once", temperature=0, max_tokens=4, logit_bias={"100": 100}, logprobs=1).json
        tokens = forced["choices"][0]["logprobs"]["tokens"]
        equal(len(set(tokens)), 1)
        a = s.chat(temperature=0, max_tokens=40, ignore_eos=True).json
        equal(a["usage"]["completion_tokens"], 40)


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
