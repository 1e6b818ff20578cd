"""Starts latentd for a test and talks to it. Standard library only.

Nothing here sleeps to wait for an event: readiness comes over NOTIFY_SOCKET, figures are read from
/metrics until they are as wanted or a deadline passes. The binary is $LT_BUILDDIR/latentd, the model
$LT_MODEL or models/tiny in $LT_SRCDIR.
"""
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

SRCDIR = os.environ.get("LT_SRCDIR") or os.path.join(os.path.dirname(__file__), "..", "..")
BUILDDIR = os.environ.get("LT_BUILDDIR") or os.path.join(SRCDIR, "build")
MODEL = os.environ.get("LT_MODEL") or os.path.join(SRCDIR, "models", "tiny")
BINARY = os.path.join(BUILDDIR, "latentd")
PATIENCE = 60  # seconds: for what must happen, on a machine that may be slow


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "<%d %r>" % (self.status, self.body[:300])


class Notify:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.seen = []

    def wait(self, field, patience=PATIENCE, process=None):
        """Waits for a message with this line (READY=1); returns the message's lines."""
        end = time.monotonic() + patience
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError("no %s in %r" % (field, self.seen))
            ready, _, _ = select.select([self.socket], [], [], min(left, 0.5))
            if ready:
                lines = self.socket.recv(4096).decode().split("\n")
                self.seen.append(lines)
                if field in lines:
                    return lines
            elif process and process.poll() is not None:
                raise RuntimeError("the server ended with status %d" % process.returncode)

    def drain(self):
        """Takes what has come; returns all messages since the last call."""
        while select.select([self.socket], [], [], 0)[0]:
            self.seen.append(self.socket.recv(4096).decode().split("\n"))
        seen, self.seen = self.seen, []
        return seen


class Server:
    """A running latentd; `with Server(backend="null") as s:`. Options as server_port=0 or, with
    dots, in `args`."""

    def __init__(self, backend="null", args=(), env=None, tls=None, wait=True, **params):
        self.dir = tempfile.mkdtemp(prefix="lt-it-")
        self.port_file = os.path.join(self.dir, "port")
        self.log_path = os.path.join(self.dir, "log")
        self.notify = Notify(os.path.join(self.dir, "notify"))
        self.tls = tls
        self.port = None
        values = {"model.path": MODEL, "engine.backend": backend, "server.port": 0,
                  "server.port-file": self.port_file, "log.level": "debug"}
        for name, value in params.items():
            values[name.replace("_", ".", 1).replace("_", "-")] = value
        self.command = [BINARY]
        for name, value in values.items():
            if value is not None:
                self.command.append("--%s=%s" % (name, value))
        self.command += list(args)
        # Of the caller's environment only what the dynamic loader and sanitizers read.
        keep = ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_PRELOAD")
        self.env = {k: os.environ[k] for k in keep if k in os.environ}
        self.env["NOTIFY_SOCKET"] = os.path.join(self.dir, "notify")
        self.env["OPENBLAS_NUM_THREADS"] = "1"
        self.env.update(env or {})
        self.wait = wait
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def start(self, pass_fds=(), preexec=None):
        self.log = open(self.log_path, "wb")
        self.process = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, pass_fds=pass_fds,
                                        preexec_fn=preexec)
        try:
            if self.wait:
                self.notify.wait("READY=1", process=self.process)
            self.read_port()
        except BaseException:
            self.process.kill()
            self.process.wait()
            print(self.text(), file=sys.stderr)
            raise

    def read_port(self):
        if os.path.exists(self.port_file):
            with open(self.port_file) as f:
                self.port = int(f.read())

    def __exit__(self, kind, value, tb):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                if kind is None:
                    raise AssertionError("the server did not end after SIGTERM:\n" + self.text())
        self.log.close()
        text = self.text()
        if kind is not None:
            print("--- log of the server, last lines\n" + "\n".join(text.split("\n")[-40:]), file=sys.stderr)
        self.notify.socket.close()
        shutil.rmtree(self.dir)
        if kind is None and ("ERROR: AddressSanitizer" in text or "runtime error:" in text
                             or "ERROR: LeakSanitizer" in text or "broken invariant" in text):
            raise AssertionError("the sanitizer or an assertion complained:\n" + text)

    def text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, patience=PATIENCE):
        return self.process.wait(patience)

    # --- requests ---------------------------------------------------------------------------------

    def connect(self, timeout=PATIENCE):
        """A plain (or TLS) socket to the server."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        if self.tls:
            s = self.tls.wrap_socket(s, server_hostname="localhost")
        return s

    def connection(self):
        if self.tls:
            return http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=self.tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def request(self, method, path, body=None, headers=None, key=None):
        """One request on a connection of its own. A body that is not bytes is sent as JSON."""
        c = self.connection()
        try:
            return ask(c, method, path, body, headers, key)
        finally:
            c.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def chat(self, text="What is 12 + 30?", key=None, **fields):
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return self.request("POST", "/v1/chat/completions", body, key=key)

    def complete(self, prompt="Once upon a time", key=None, **fields):
        return self.request("POST", "/v1/completions", {"prompt": prompt, **fields}, key=key)

    def stream(self, path, body, key=None):
        """Sends a streaming request and reads it to its end: the list of its events' data."""
        s = Stream(self, path, {**body, "stream": True}, key)
        with s:
            return list(s)

    # --- metrics ----------------------------------------------------------------------------------

    def metrics(self):
        r = self.get("/metrics")
        assert r.status == 200, r
        return parse_metrics(r.body.decode())

    def metric(self, name):
        return self.metrics().get(name, 0)

    def wait_metric(self, name, test, patience=PATIENCE):
        """Reads /metrics until test(value) holds; returns the page."""
        end = time.monotonic() + patience
        while True:
            page = self.metrics()
            if test(page.get(name, 0)):
                return page
            if time.monotonic() > end:
                raise TimeoutError("%s is %r" % (name, page.get(name, 0)))

    def wait_log(self, text, patience=PATIENCE):
        end = time.monotonic() + patience
        while text not in self.text():
            if time.monotonic() > end:
                raise TimeoutError("%r is not in the log" % text)


def parse_metrics(text):
    """name{labels} -> value; checks the grammar of each line on the way."""
    page = {}
    typed = set()
    for line in text.split("\n"):
        if not line:
            continue
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        if line.startswith("#"):
            continue
        m = re.fullmatch(r'([a-z_]+)(\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})? ([-+0-9.e]+|\+Inf|NaN)', line)
        assert m, "not a metric: %r" % line
        base = re.sub("_(bucket|sum|count)$", "", m.group(1))
        assert m.group(1) in typed or base in typed, "no TYPE for %r" % line
        key = m.group(1) + (m.group(2) or "")
        assert key not in page, "twice: %r" % key
        page[key] = float(m.group(3))
    return page


def ask(c, method, path, body=None, headers=None, key=None):
    """One request on connection c."""
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None and "Content-Type" not in headers:
        headers["Content-Type"] = "application/json"
    headers = {k: v for k, v in headers.items() if v is not None}
    if key:
        headers["Authorization"] = "Bearer " + key
    c.request(method, path, body, headers)
    r = c.getresponse()
    return Response(r.status, r.headers, r.read())


class Stream:
    """A streaming request whose events are read one by one; closing it early is a disconnect."""

    def __init__(self, server, path, body, key=None):
        self.connection = server.connection()
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = "Bearer " + key
        self.connection.request("POST", path, json.dumps(body), headers)
        self.response = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.connection.close()
        if self.response:
            self.response.close()

    def open(self):
        """Waits for the header."""
        if not self.response:
            self.response = self.connection.getresponse()
        return self.response

    def __iter__(self):
        r = self.open()
        if r.status != 200:
            raise AssertionError("status %d: %r" % (r.status, r.read()))
        assert r.headers["Content-Type"] == "text/event-stream", r.headers.items()
        while True:
            line = r.readline()
            if not line:
                return
            if line == b"\n" or line.startswith(b":"):
                continue
            assert line.startswith(b"data: ") and line.endswith(b"\n"), line
            assert r.readline() == b"\n"
            data = line[6:-1].decode()
            yield data if data == "[DONE]" else json.loads(data)


def texts(events):
    """The text of each choice of a stream's events."""
    out = {}
    for e in events:
        if e == "[DONE]":
            continue
        for c in e["choices"]:
            piece = c["delta"].get("content") if "delta" in c else c["text"]
            out[c["index"]] = out.get(c["index"], "") + (piece or "")
    return out


def error_of(r):
    """The error object of a response, checked for its shape."""
    e = r.json
    assert set(e) == {"error"}, r
    assert set(e["error"]) == {"message", "type", "param", "code"}, r
    assert isinstance(e["error"]["message"], str) and e["error"]["message"], r
    assert isinstance(e["error"]["type"], str), r
    for field in ("param", "code"):
        assert e["error"][field] is None or isinstance(e["error"][field], str), r
    return e["error"]


def equal(a, b, what=""):
    assert a == b, "%r is not %r %s" % (a, b, what)


def run(module):
    """Runs every test_* function of a module in order; one line each, a count at the end."""
    if not os.path.exists(BINARY):
        sys.exit("no %s: build first" % BINARY)
    passed = failed = 0
    only = sys.argv[1:]
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or not callable(test) or (only and name not in only):
            continue
        start = time.monotonic()
        try:
            count = test() or 1
            passed += count
            print("ok %s (%d, %.1f s)" % (name, count, time.monotonic() - start), flush=True)
        except Exception:
            failed += 1
            print("FAILED %s" % name, flush=True)
            traceback.print_exc()
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)
