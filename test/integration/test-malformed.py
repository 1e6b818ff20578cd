#!/usr/bin/env python3
# limit: 300
"""Malformed requests: each gets its status and an error object that names the field; then the server
still works. A row is (what, body or None, status, param, code, more)."""
import json
import sys

sys.dont_write_bytecode = True
import daemon

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
USER = [{"role": "user", "content": "hello"}]


def chat(**fields):
    return {"messages": USER, **fields}


def text(**fields):
    return {"prompt": "hello", **fields}


# (name, path, body, status, param, code); a body that is bytes is sent as it is.
ROWS = [
    # not JSON, or not an object
    ("empty body", CHAT, b"", 400, None, "invalid_json"),
    ("blank body", CHAT, b" \n ", 400, None, "invalid_json"),
    ("not json", CHAT, b"hello", 400, None, "invalid_json"),
    ("cut object", CHAT, b'{"messages":[', 400, None, "invalid_json"),
    ("cut string", CHAT, b'{"messages":"abc', 400, None, "invalid_json"),
    ("cut escape", CHAT, b'{"messages":"\\u12', 400, None, "invalid_json"),
    ("bad escape", CHAT, b'{"messages":"\\x41"}', 400, None, "invalid_json"),
    ("trailing comma", CHAT, b'{"messages":[],}', 400, None, "invalid_json"),
    ("single quotes", CHAT, b"{'messages':[]}", 400, None, "invalid_json"),
    ("comment", CHAT, b'{/*x*/"messages":[]}', 400, None, "invalid_json"),
    ("two documents", CHAT, b'{"messages":[]}{"a":1}', 400, None, "invalid_json"),
    ("trailing junk", CHAT, b'{"messages":[]} x', 400, None, "invalid_json"),
    ("raw control character", CHAT, b'{"messages":"a\x01b"}', 400, None, "invalid_json"),
    ("NaN", CHAT, b'{"messages":[],"temperature":NaN}', 400, None, "invalid_json"),
    ("Infinity", CHAT, b'{"messages":[],"temperature":-Infinity}', 400, None, "invalid_json"),
    ("hexadecimal", CHAT, b'{"messages":[],"n":0x1}', 400, None, "invalid_json"),
    ("leading zero", CHAT, b'{"messages":[],"n":01}', 400, None, "invalid_json"),
    ("leading plus", CHAT, b'{"messages":[],"n":+1}', 400, None, "invalid_json"),
    ("bare point", CHAT, b'{"messages":[],"n":1.}', 400, None, "invalid_json"),
    ("bad utf-8", CHAT, b'{"messages":[{"role":"user","content":"\xff\xfe"}]}', 400, None, "invalid_json"),
    ("overlong utf-8", CHAT, b'{"messages":[{"role":"user","content":"\xc0\xaf"}]}', 400, None, "invalid_json"),
    ("surrogate in utf-8", CHAT, b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}', 400, None, "invalid_json"),
    ("nul byte", CHAT, b'{"messages":[{"role":"user","content":"a\x00b"}]}', 400, None, "invalid_value"),
    ("deep arrays", CHAT, b'{"messages":' + b"[" * 100000 + b"]" * 100000 + b"}", 400, None, "invalid_json"),
    ("deep objects", TEXT, b'{"prompt":"x","a":' + b'{"a":' * 200 + b"1" + b"}" * 201, 400, None, "invalid_json"),
    ("array", CHAT, b"[]", 400, None, "invalid_type"),
    ("string", CHAT, b'"hello"', 400, None, "invalid_type"),
    ("null", CHAT, b"null", 400, None, "invalid_type"),
    ("number", TEXT, b"42", 400, None, "invalid_type"),
    # messages
    ("no messages", CHAT, {}, 400, "messages", "missing_required_parameter"),
    ("null messages", CHAT, {"messages": None}, 400, "messages", "missing_required_parameter"),
    ("messages a string", CHAT, {"messages": "hello"}, 400, "messages", "invalid_type"),
    ("messages an object", CHAT, {"messages": {}}, 400, "messages", "invalid_type"),
    ("no message", CHAT, {"messages": []}, 400, "messages", None),
    ("message a string", CHAT, {"messages": ["hello"]}, 400, "messages[0]", "invalid_type"),
    ("no role", CHAT, {"messages": [{"content": "x"}]}, 400, "messages[0].role", "missing_required_parameter"),
    ("role a number", CHAT, {"messages": [{"role": 1, "content": "x"}]}, 400, "messages[0].role", "invalid_type"),
    ("unknown role", CHAT, {"messages": [{"role": "owner", "content": "x"}]}, 400, "messages[0].role", "invalid_value"),
    ("no content", CHAT, {"messages": [{"role": "user"}]}, 400, "messages[0].content", None),
    ("content a number", CHAT, {"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content", "invalid_type"),
    ("content an object", CHAT, {"messages": [{"role": "user", "content": {}}]}, 400, "messages[0].content", "invalid_type"),
    ("part of no type", CHAT, {"messages": [{"role": "user", "content": [{"text": "x"}]}]}, 400,
     "messages[0].content[0].type", None),
    ("image part", CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
     400, "messages[0].content[0].type", None),
    ("second message bad", CHAT, {"messages": USER + [{"role": "user", "content": 5}]}, 400, "messages[1].content",
     "invalid_type"),
    ("messages twice", CHAT, b'{"messages":[],"messages":[]}', 400, "messages", "invalid_value"),
    # prompt
    ("no prompt", TEXT, {}, 400, "prompt", "missing_required_parameter"),
    ("prompt a number", TEXT, {"prompt": 5}, 400, "prompt", "invalid_type"),
    ("prompt an object", TEXT, {"prompt": {}}, 400, "prompt", "invalid_type"),
    ("prompt an empty list", TEXT, {"prompt": []}, 400, "prompt", None),
    ("prompt a mixed list", TEXT, {"prompt": ["a", 1]}, 400, "prompt[1]", None),
    ("prompt of booleans", TEXT, {"prompt": [True]}, 400, "prompt[0]", None),
    ("negative token id", TEXT, {"prompt": [-1]}, 400, "prompt[0]", None),
    ("huge token id", TEXT, {"prompt": [10 ** 30]}, 400, "prompt[0]", None),
    ("token id beyond the vocabulary", TEXT, {"prompt": [10 ** 9]}, 400, "prompt[0]", None),
    ("fractional token id", TEXT, {"prompt": [1.5]}, 400, "prompt[0]", None),
    ("too long in ids", TEXT, {"prompt": [5] * 100000}, 400, "prompt", "context_length_exceeded"),
    ("too long in text", TEXT, {"prompt": "word " * 100000}, 400, "prompt", "context_length_exceeded"),
    ("too long in chat", CHAT, {"messages": [{"role": "user", "content": "word " * 100000}]}, 400, "messages",
     "context_length_exceeded"),
    # the model
    ("unknown model", CHAT, chat(model="gpt-4o"), 404, "model", "model_not_found"),
    ("unknown model, completions", TEXT, text(model="x" * 5000), 404, "model", "model_not_found"),
    ("model a number", CHAT, chat(model=4), 400, "model", "invalid_type"),
    # numbers
    ("temperature a string", CHAT, chat(temperature="hot"), 400, "temperature", "invalid_type"),
    ("temperature negative", CHAT, chat(temperature=-0.1), 400, "temperature", "invalid_value"),
    ("temperature above 2", CHAT, chat(temperature=2.01), 400, "temperature", "invalid_value"),
    ("temperature huge", CHAT, b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}', 400, "temperature",
     "invalid_value"),
    ("top_p zero", CHAT, chat(top_p=0), 400, "top_p", "invalid_value"),
    ("top_p above 1", CHAT, chat(top_p=1.1), 400, "top_p", "invalid_value"),
    ("top_p a list", CHAT, chat(top_p=[1]), 400, "top_p", "invalid_type"),
    ("top_k negative", CHAT, chat(top_k=-7), 400, "top_k", "invalid_value"),
    ("min_p above 1", CHAT, chat(min_p=1.5), 400, "min_p", "invalid_value"),
    ("n zero", CHAT, chat(n=0), 400, "n", "invalid_value"),
    ("n negative", CHAT, chat(n=-1), 400, "n", "invalid_value"),
    ("n fractional", CHAT, chat(n=1.5), 400, "n", "invalid_value"),
    ("n huge", CHAT, chat(n=10 ** 40), 400, "n", "invalid_value"),
    ("n above the limit", CHAT, chat(n=1000), 400, "n", "invalid_value"),
    ("n a string", CHAT, chat(n="2"), 400, "n", "invalid_type"),
    ("max_tokens zero", CHAT, chat(max_tokens=0), 400, "max_tokens", "invalid_value"),
    ("max_tokens negative", TEXT, text(max_tokens=-5), 400, "max_tokens", "invalid_value"),
    ("max_tokens huge", TEXT, text(max_tokens=10 ** 18), 400, "max_tokens", "invalid_value"),
    ("max_completion_tokens a string", CHAT, chat(max_completion_tokens="5"), 400, "max_completion_tokens", "invalid_type"),
    ("presence_penalty", CHAT, chat(presence_penalty=3), 400, "presence_penalty", "invalid_value"),
    ("frequency_penalty", CHAT, chat(frequency_penalty=-2.5), 400, "frequency_penalty", "invalid_value"),
    ("repetition_penalty zero", CHAT, chat(repetition_penalty=0), 400, "repetition_penalty", "invalid_value"),
    ("seed a string", CHAT, chat(seed="x"), 400, "seed", "invalid_type"),
    ("seed beyond 64 bits", CHAT, chat(seed=2 ** 70), 400, "seed", "invalid_value"),
    ("logprobs a number in chat", CHAT, chat(logprobs=3), 400, "logprobs", "invalid_type"),
    ("top_logprobs above 20", CHAT, chat(logprobs=True, top_logprobs=21), 400, "top_logprobs", "invalid_value"),
    ("top_logprobs without logprobs", CHAT, chat(top_logprobs=2), 400, "top_logprobs", None),
    ("logprobs negative", TEXT, text(logprobs=-1), 400, "logprobs", "invalid_value"),
    # the rest
    ("stream a string", CHAT, chat(stream="yes"), 400, "stream", "invalid_type"),
    ("stream_options without stream", CHAT, chat(stream_options={"include_usage": True}), 400, "stream_options", None),
    ("stream_options a list", CHAT, chat(stream=True, stream_options=[]), 400, "stream_options", "invalid_type"),
    ("stop a number", CHAT, chat(stop=5), 400, "stop", "invalid_type"),
    ("stop of numbers", CHAT, chat(stop=[5]), 400, "stop[0]", "invalid_type"),
    ("stop too many", CHAT, chat(stop=["a"] * 100), 400, "stop", None),
    ("stop too long", CHAT, chat(stop="a" * 10000), 400, "stop", None),
    ("logit_bias a list", CHAT, chat(logit_bias=[1]), 400, "logit_bias", "invalid_type"),
    ("logit_bias beyond the vocabulary", CHAT, chat(logit_bias={"999999999": 1}), 400, None, None),
    ("logit_bias with a word", CHAT, chat(logit_bias={"cat": 1}), 400, None, None),
    ("logit_bias too strong", CHAT, chat(logit_bias={"5": 101}), 400, None, None),
    ("tools a string", CHAT, chat(tools="x"), 400, "tools", "invalid_type"),
    ("tool without a name", CHAT, chat(tools=[{"type": "function", "function": {}}]), 400, "tools[0].function.name", None),
    ("tool_choice of nothing", CHAT, chat(tool_choice="required"), 400, "tool_choice", None),
    ("response_format of a schema", CHAT, chat(response_format={"type": "json_schema", "json_schema": {}}), 400, None, None),
    ("user a number", CHAT, chat(user=5), 400, "user", "invalid_type"),
    ("template kwargs a string", CHAT, chat(chat_template_kwargs="x"), 400, "chat_template_kwargs", "invalid_type"),
    ("template kwargs take messages", CHAT, chat(chat_template_kwargs={"messages": []}), 400, None, None),
    ("best_of", TEXT, text(best_of=3), 400, "best_of", None),
    ("suffix", TEXT, text(suffix="end"), 400, "suffix", None),
]

# (name, method, path, headers, body, status, code)
HTTP_ROWS = [
    ("unknown route", "GET", "/", {}, None, 404, "unknown_url"),
    ("unknown route below v1", "POST", "/v1/embeddings", {}, {"input": "x"}, 404, "unknown_url"),
    ("a slash too many", "GET", "/v1/models/", {}, None, 404, "unknown_url"),
    ("escape of the root", "GET", "/../etc/passwd", {}, None, 404, "unknown_url"),
    ("unknown model", "GET", "/v1/models/gpt-4o", {}, None, 404, "model_not_found"),
    ("get of a completion", "GET", CHAT, {}, None, 405, "method_not_allowed"),
    ("put of a completion", "PUT", CHAT, {}, {"a": 1}, 405, "method_not_allowed"),
    ("post to health", "POST", "/health", {}, {"a": 1}, 405, "method_not_allowed"),
    ("delete of a model", "DELETE", "/v1/models", {}, None, 405, "method_not_allowed"),
    ("unknown method", "BREW", "/health", {}, None, 405, "method_not_allowed"),
    ("no content type", "POST", CHAT, {"Content-Type": None}, b"{}", 415, "unsupported_media_type"),
    ("form", "POST", CHAT, {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", 415, "unsupported_media_type"),
    ("text", "POST", TEXT, {"Content-Type": "text/plain; charset=utf-8"}, b"{}", 415, "unsupported_media_type"),
    ("almost json", "POST", TEXT, {"Content-Type": "application/jsonp"}, b"{}", 415, "unsupported_media_type"),
    ("no body", "POST", CHAT, {"Content-Type": "application/json"}, None, 400, "invalid_json"),
    ("long header", "GET", "/health", {"X-Long": "a" * 17000}, None, 431, "headers_too_large"),
    ("10 MB body", "POST", CHAT, {}, b'{"messages":"' + b"x" * 10_000_000 + b'"}', 413, "request_too_large"),
]

ALLOW = {CHAT: "POST, OPTIONS", "/health": "GET, HEAD, OPTIONS", "/v1/models": "GET, HEAD, OPTIONS"}


def check(name, r, status, param, code):
    if r.status != status:
        raise AssertionError("%s: status %d, not %d: %r" % (name, r.status, status, r.body[:200]))
    e = daemon.error_of(r)
    if param is not None:
        daemon.equal(e["param"], param, "param of " + name + ": " + e["message"])
    if code is not None:
        daemon.equal(e["code"], code, "code of " + name + ": " + e["message"])
    daemon.equal(r.headers["Content-Type"], "application/json", name)
    assert len(r.body) < 2000, "%s: the message shows too much: %d bytes" % (name, len(r.body))


def test_bodies():
    with daemon.Server() as s:
        wrong = []
        for name, path, body, status, param, code in ROWS:
            try:
                check(name, s.request("POST", path, body), status, param, code)
            except AssertionError as e:
                wrong.append(str(e))
        assert not wrong, "\n".join(wrong)
        page = s.metrics()
        daemon.equal(page["latentd_requests_active"], 0)
        daemon.equal(page['latentd_cache_blocks{state="used"}'], 0)
        daemon.equal(page["latentd_generated_tokens_total"], 0)
        daemon.equal(s.complete("hello", max_tokens=3).status, 200)
    return len(ROWS)


def test_bodies_streamed():
    """A request that asks for a stream gets its error as a status, not as an event."""
    rows = [r for r in ROWS if isinstance(r[2], dict) and "stream" not in r[2] and "stream_options" not in r[2]]
    with daemon.Server() as s:
        for name, path, body, status, param, code in rows:
            check(name, s.request("POST", path, {**body, "stream": True}), status, param, code)
    return len(rows)


def test_http():
    with daemon.Server() as s:
        for name, method, path, headers, body, status, code in HTTP_ROWS:
            r = s.request(method, path, body, headers)
            check(name, r, status, None, code)
            if status == 405:
                daemon.equal(r.headers["Allow"], ALLOW[path], name)
        daemon.equal(s.get("/health").status, 200)
    return len(HTTP_ROWS)


def test_kept_alive():
    """A faulty request costs its connection only where the rest of it was not read."""
    with daemon.Server() as s:
        c = s.connection()
        for name, method, path, headers, body, status, code in HTTP_ROWS:
            if status in (413, 431):
                continue
            check(name, daemon.ask(c, method, path, body, headers), status, None, code)
            assert c.sock is not None, "%s: the connection was closed" % name
        for name, path, body, status, param, code in ROWS[:20]:
            check(name, daemon.ask(c, "POST", path, body), status, param, code)
            assert c.sock is not None, "%s: the connection was closed" % name
        c.close()
        daemon.equal(s.metric("latentd_connections_accepted_total"), 2)


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
