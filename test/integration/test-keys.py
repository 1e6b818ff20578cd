#!/usr/bin/env python3
# limit: 120
"""API keys: who gets in, by file and by credential, reload by SIGHUP, no sharing of cached prompts."""
import os
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
import daemon
from daemon import equal

KEYS = "# team\nalice:sk-alice-secret-1\nsk-bob-secret-22\n"
ALICE, BOB = "sk-alice-secret-1", "sk-bob-secret-22"


class Keys:
    """A key file for the time of a test."""

    def __init__(self, text=KEYS, mode=0o600):
        self.file = tempfile.NamedTemporaryFile("w", prefix="lt-keys-")
        self.write(text)
        os.chmod(self.file.name, mode)

    def write(self, text):
        with open(self.file.name, "w") as f:
            f.write(text)

    @property
    def name(self):
        return self.file.name


def test_access():
    keys = Keys()
    with daemon.Server(keys_file=keys.name) as s:
        for key in (ALICE, BOB):
            equal(s.chat(max_tokens=1, key=key).status, 200)
            equal(s.get("/v1/models", key=key).status, 200)
        for header in (None, "", "Bearer", "Bearer ", "Bearer wrong-key-000", "Bearer alice:" + ALICE, ALICE, "Basic " + ALICE,
                       "Bearer " + ALICE[:-1], "Bearer " + ALICE + "x", "Bearer " + "x" * 5000):
            for method, path, body in (("POST", "/v1/chat/completions", {"messages": []}), ("GET", "/v1/models", None),
                                       ("POST", "/v1/completions", b"not json")):
                r = s.request(method, path, body, {"Authorization": header})
                equal(r.status, 401, repr(header))
                equal(daemon.error_of(r)["code"], "invalid_api_key")
                equal(daemon.error_of(r)["type"], "authentication_error")
                equal(r.headers["WWW-Authenticate"], "Bearer")
                assert ALICE not in r.body.decode()
        # Probes need no key.
        for path in ("/health", "/ready", "/metrics"):
            equal(s.get(path).status, 200)
        equal(s.request("GET", "/v1/models", None, {"Authorization": "bearer   " + BOB}).status, 200)
        text = s.text()
        assert ALICE not in text and BOB not in text, "a key is in the log"
    return 40


def test_credential():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "api-keys"), "w") as f:
            f.write(KEYS)
        with daemon.Server(env={"CREDENTIALS_DIRECTORY": folder}) as s:
            equal(s.chat(max_tokens=1).status, 401)
            equal(s.chat(max_tokens=1, key=BOB).status, 200)
    return 2


def test_reload():
    keys = Keys()
    with daemon.Server(keys_file=keys.name) as s:
        keys.write("sk-carol-secret-3\n" + BOB + "\n")
        s.signal(signal.SIGHUP)
        s.wait_metric("latentd_reloads_total", lambda v: v == 1)
        equal(s.chat(max_tokens=1, key=ALICE).status, 401)
        equal(s.chat(max_tokens=1, key=BOB).status, 200)
        equal(s.chat(max_tokens=1, key="sk-carol-secret-3").status, 200)
        # A mistake in the file keeps the old keys.
        keys.write("short\n")
        s.signal(signal.SIGHUP)
        s.wait_log("the old keys stay")
        equal(s.chat(max_tokens=1, key=BOB).status, 200)
        equal(s.chat(max_tokens=1).status, 401)


def test_running_requests_survive_a_reload():
    keys = Keys()
    with daemon.Server(keys_file=keys.name, engine_null_rate=40) as s:
        stream = daemon.Stream(s, "/v1/completions", {"prompt": "a", "max_tokens": 40, "stream": True}, key=ALICE)
        events = iter(stream)
        next(events)
        keys.write(BOB + "\n")
        s.signal(signal.SIGHUP)
        s.wait_metric("latentd_reloads_total", lambda v: v == 1)
        equal(list(events)[-1], "[DONE]")
        stream.close()


def test_tenants_share_no_cache():
    keys = Keys()
    ids = [3 + i % 50 for i in range(200)]

    def cached(key):
        return s.complete(ids, max_tokens=1, key=key).json["usage"]["prompt_tokens_details"]["cached_tokens"]

    with daemon.Server(keys_file=keys.name) as s:
        equal(cached(ALICE), 0)
        assert cached(ALICE) > 0
        equal(cached(BOB), 0)
        assert cached(BOB) > 0


def test_warnings():
    keys = Keys(mode=0o644)
    with daemon.Server(keys_file=keys.name) as s:
        assert "chmod 600" in s.text()
    with daemon.Server(keys_file=None, server_listen="0.0.0.0") as s:
        assert "not a loopback address and no API keys" in s.text()
    with daemon.Server(keys_file=None) as s:
        assert "not a loopback" not in s.text()
    return 3


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
