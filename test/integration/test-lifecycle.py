#!/usr/bin/env python3
# limit: 240
"""From start to end: loading, readiness, the watchdog, reload, drain, second signal, socket activation,
and starts that fail."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import daemon
from daemon import equal

TEXT = "/v1/completions"
LONG = {"prompt": "hello", "max_tokens": 4000, "stream": True}


def slow_stream(s, n_tokens=4000):
    stream = daemon.Stream(s, TEXT, {**LONG, "max_tokens": n_tokens})
    events = iter(stream)
    next(events)
    return stream, events


def test_notify():
    with daemon.Server() as s:
        seen = [line for lines in s.notify.seen for line in lines]
        assert any(line.startswith("STATUS=Loading") for line in seen), seen
        assert any(line.startswith("STATUS=Serving") for line in seen), seen
        s.signal(signal.SIGTERM)
        lines = s.notify.wait("STOPPING=1")
        assert any(line.startswith("STATUS=Draining") for line in lines), lines
        equal(s.wait_exit(), 0)


def test_drain():
    for number in (signal.SIGTERM, signal.SIGINT):
        with daemon.Server(engine_null_rate=40) as s:
            stream, events = slow_stream(s, 60)
            whole = daemon.Stream(s, TEXT, {"prompt": "x", "max_tokens": 30})
            s.wait_metric("latentd_sequences_running", lambda v: v == 2)
            s.signal(number)
            s.notify.wait("STOPPING=1")
            r = s.get("/ready")
            equal((r.status, r.headers["Retry-After"]), (503, "5"))
            equal(daemon.error_of(r)["code"], "service_unavailable")
            equal(s.get("/health").status, 200)
            equal(s.chat(max_tokens=1).status, 503)
            equal(s.metric("latentd_ready"), 0)
            equal(json.loads(whole.open().read())["usage"]["completion_tokens"], 30)
            whole.close()
            rest = list(events)
            equal(rest[-1], "[DONE]")
            equal(rest[-2]["choices"][0]["finish_reason"], "length")
            stream.close()
            equal(s.wait_exit(), 0)
    return 2


def test_drain_of_a_queue():
    """What waits was taken on and is finished too."""
    with daemon.Server(engine_null_rate=200, scheduler_max_running=1) as s:
        results = []
        threads = [threading.Thread(target=lambda: results.append(s.complete("x", max_tokens=30))) for _ in range(4)]
        for t in threads:
            t.start()
        s.wait_metric("latentd_requests_active", lambda v: v == 4)
        s.signal(signal.SIGTERM)
        for t in threads:
            t.join()
        equal([r.status for r in results], [200] * 4)
        equal(s.wait_exit(), 0)


def test_drain_timeout():
    with daemon.Server(engine_null_rate=20, server_drain_timeout="300ms") as s:
        stream, events = slow_stream(s)
        whole = daemon.Stream(s, TEXT, {"prompt": "x", "max_tokens": 4000})
        s.wait_metric("latentd_sequences_running", lambda v: v == 2)
        s.signal(signal.SIGTERM)
        last = list(events)[-1]
        equal(last["error"]["code"], "service_unavailable")
        r = whole.open()
        equal(r.status, 503)
        daemon.error_of(daemon.Response(r.status, r.headers, r.read()))
        stream.close()
        whole.close()
        equal(s.wait_exit(), 0)


def test_drain_with_a_deaf_client():
    """A client that takes nothing must not hold the end up."""
    with daemon.Server(server_drain_timeout="200ms", engine_null_rate=1000, server_stream_buffer="64M") as s:
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", s.port))
        body = json.dumps({**LONG, "stop": "\x01"}).encode()
        c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % (TEXT.encode(), len(body)) + body)
        s.wait_metric("latentd_generated_tokens_total", lambda v: v > 100)
        s.signal(signal.SIGTERM)
        equal(s.wait_exit(), 0)
        c.close()


def test_second_signal():
    for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)):
        with daemon.Server(engine_null_rate=20) as s:
            stream, events = slow_stream(s)
            s.signal(first)
            s.notify.wait("STOPPING=1")
            s.signal(second)
            equal(s.wait_exit(), 1)
            try:
                for event in events:
                    assert event != "[DONE]"
            except OSError:
                pass
            except Exception as e:  # http.client: IncompleteRead
                assert "Incomplete" in type(e).__name__, e
            stream.close()
    return 2


def test_idle_exit():
    """Nothing at work, connections open: ends at once."""
    with daemon.Server() as s:
        c = s.connection()
        equal(daemon.ask(c, "GET", "/health").status, 200)
        s.signal(signal.SIGTERM)
        equal(s.wait_exit(), 0)
        c.close()


def test_loading():
    """/health answers while the model is loaded, /ready and completions say 503. The requests are on
    their way before the daemon starts, on a socket handed to it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    asks = [b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n"
            b"Connection: close\r\n\r\n" + b'{"prompt":"a"}',
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]
    clients = []
    for ask in asks:
        c = socket.create_connection(listener.getsockname())
        c.sendall(ask)
        clients.append(c)
    with activated(listener, backend="blas") as s:
        got = []
        for c in clients:
            data = b""
            while True:
                piece = c.recv(65536)
                if not piece:
                    break
                data += piece
            c.close()
            got.append(data)
        equal([d.split(b" ")[1] for d in got], [b"200", b"503", b"503", b"200"])
        for d in got[1:3]:
            assert b"\r\nRetry-After: 5\r\n" in d, d
            assert b"being loaded" in d, d
        assert b"\nlatentd_ready 0\n" in got[3]
        s.port = listener.getsockname()[1]
        equal(s.get("/ready").status, 200)
    listener.close()
    return 4


class activated(daemon.Server):
    """A server that gets listening sockets as systemd hands them over."""

    def __init__(self, *listeners, **more):
        super().__init__(**more)
        self.listeners = listeners
        # LISTEN_PID must be the daemon's own.
        self.command = ["/bin/sh", "-c", 'LISTEN_PID=$$; export LISTEN_PID; exec "$0" "$@"'] + self.command
        self.env["LISTEN_FDS"] = str(len(listeners))

    def start(self):
        fds = [x.fileno() for x in self.listeners]
        base = 3

        def put():
            # Out of the way first, so that none is overwritten.
            high = []
            for fd in fds:
                high.append(os.dup2(fd, 200 + len(high)))
            for i, fd in enumerate(high):
                os.dup2(fd, base + i)

        super().start(pass_fds=tuple(range(base, base + len(fds))), preexec=put)


def test_activation():
    with tempfile.TemporaryDirectory() as folder:
        tcp = socket.create_server(("127.0.0.1", 0))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(folder + "/s")
        unix.listen()
        # server.listen is not looked at: it would fail.
        with activated(tcp, unix, args=["--server.listen", "192.0.2.1"]) as s:
            equal(s.port, tcp.getsockname()[1])
            equal(s.chat(max_tokens=2).status, 200)
            c = socket.socket(socket.AF_UNIX)
            c.connect(folder + "/s")
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert c.recv(4096).startswith(b"HTTP/1.1 200")
            c.close()
        # systemd's socket stays: it is not ours to remove.
        assert os.path.exists(folder + "/s")
        tcp.close()
        unix.close()
        # Not a listening socket.
        a, b = socket.socketpair()
        s = activated(a, wait=False)
        s.start()
        equal(s.wait_exit(), 1)
        assert "socket activation" in s.text(), s.text()
        s.__exit__(None, None, None)
        a.close()
        b.close()


def test_watchdog():
    """Fed while idle and while the engine makes steps; not while a step hangs."""
    with daemon.Server(env={"WATCHDOG_USEC": "300000"}, engine_null_rate=200) as s:
        for _ in range(3):
            s.notify.wait("WATCHDOG=1")
        stream, events = slow_stream(s)
        s.notify.drain()
        for _ in range(4):
            s.notify.wait("WATCHDOG=1")
        stream.close()
    # One token in four seconds: to the watchdog, which looks every 150 ms, that is a hang.
    with daemon.Server(env={"WATCHDOG_USEC": "300000"}, engine_null_rate=0.25) as s:
        s.notify.wait("WATCHDOG=1")
        c = s.connect()
        body = b'{"prompt":"a","max_tokens":2}'
        c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body) + body)
        s.wait_log("watchdog not fed")
        s.notify.drain()
        s.wait_log("watchdog not fed\n")
        before = s.text().count("watchdog not fed")
        end = time.monotonic() + daemon.PATIENCE
        while s.text().count("watchdog not fed") < before + 5:
            assert time.monotonic() < end
        assert not [x for x in s.notify.drain() if "WATCHDOG=1" in x]
        equal(s.get("/health").status, 200)
        c.close()
        # It comes back when the engine does.
        s.notify.wait("WATCHDOG=1")
    return 2


def test_reload_of_the_log_level():
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as f:
        f.write("log.level = warn\n")
        f.flush()
        # The level on the command line would win over the file.
        with daemon.Server(log_level=None, args=["--config", f.name]) as s:
            s.chat(max_tokens=1)
            assert "access chat" not in s.text()
            f.seek(0)
            f.truncate()
            f.write("log.level = debug\n")
            f.flush()
            s.notify.drain()
            s.signal(signal.SIGHUP)
            lines = s.notify.wait("RELOADING=1")
            assert any(x.startswith("MONOTONIC_USEC=") for x in lines)
            s.notify.wait("READY=1")
            s.chat("a secret of mine", max_tokens=1)
            s.wait_log("access chat 200")
            assert "a secret of mine" not in s.text(), "a prompt is in the log"
            f.write("log.levle = debug\n")
            f.flush()
            s.signal(signal.SIGHUP)
            s.wait_log("nothing was changed")
            equal(s.get("/health").status, 200)


def run(*args, env=None):
    return subprocess.run([daemon.BINARY, *args], capture_output=True, text=True, timeout=daemon.PATIENCE,
                          env={"PATH": os.environ["PATH"], **(env or {})}, stdin=subprocess.DEVNULL)


def test_failing_starts():
    busy = socket.create_server(("127.0.0.1", 0))
    port = str(busy.getsockname()[1])
    rows = [
        (["--port", "99999"], 2, "server.port cannot be \"99999\"; allowed: 0 to 65535"),
        (["--nonsense"], 2, "no parameter \"nonsense\""),
        (["nonsense"], 2, "is not an option"),
        (["--backend", "abacus"], 2, "this build has: auto, "),
        (["--server.listen", "127.0.0.1:99999"], 2, "the port must be 0 to 65535"),
        (["--server.listen", "127.0.0.1,,::1"], 2, "server.listen"),
        (["--config", "/nonexistent"], 2, "/nonexistent"),
        (["--model", "/nonexistent", "--port", "0"], 1, "/nonexistent"),
        (["--model", daemon.MODEL, "--port", "0", "--chat-template-file", "/nonexistent"], 1, "/nonexistent"),
        (["--model", daemon.MODEL, "--port", port, "--backend", "null"], 1, "cannot listen on 127.0.0.1 port " + port),
        (["--model", daemon.MODEL, "--port", "0", "--max-context", "1000000", "--backend", "null"], 1, "max-context"),
        (["--model", daemon.MODEL, "--port", "0", "--api-key-file", "/nonexistent"], 1, "/nonexistent"),
    ]
    for args, status, text in rows:
        r = run(*args)
        equal(r.returncode, status, " ".join(args) + ": " + r.stderr)
        assert text in r.stderr, "%r is not in %r" % (text, r.stderr)
    busy.close()
    return len(rows)


def test_no_tokenizer():
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir(daemon.MODEL):
            if not name.startswith("tokenizer") and os.path.isfile(os.path.join(daemon.MODEL, name)):
                os.symlink(os.path.abspath(os.path.join(daemon.MODEL, name)), os.path.join(folder, name))
        r = run("--model", folder, "--port", "0", "--backend", "null")
        equal(r.returncode, 1)
        assert "has no tokenizer" in r.stderr and "--tokenizer" in r.stderr, r.stderr
        with daemon.Server(model_path=folder, args=["--tokenizer", daemon.MODEL]) as s:
            equal(s.complete("a", max_tokens=2).status, 200)
    return 2


def test_actions():
    r = run("--help")
    equal(r.returncode, 0)
    assert "--server.port, --port  [8080]" in r.stdout, r.stdout
    assert run("--version").stdout.startswith("latentd ")
    r = run("--check-config", "--port", "1")
    equal((r.returncode, r.stdout.split(":")[0].strip()), (0, "parameters are good"))
    equal(run("--check-config", "--port", "x").returncode, 2)
    equal(run("--check-config", env={"LATENTD_SERVER_PORT": "x"}).returncode, 2)
    # Its own sample file is a valid configuration.
    with tempfile.NamedTemporaryFile("w") as f:
        sample = run("--dump-config").stdout
        f.write("".join(line[1:] if line.startswith("#") and " =" in line and line[1] != " " else line
                        for line in sample.splitlines(keepends=True)))
        f.flush()
        equal(run("--check-config", "--config", f.name).returncode, 0)
    return 5


def test_committed_texts():
    """etc/latentd.conf and the manual pages agree with the table of parameters."""
    r = subprocess.run(["sh", os.path.join(daemon.SRCDIR, "doc", "update"), daemon.BINARY, daemon.SRCDIR, "--check"],
                       capture_output=True, text=True)
    equal(r.returncode, 0, r.stderr)


def test_unit_file():
    import shutil
    unit = os.path.join(daemon.BUILDDIR, "systemd", "latentd.service")
    if not shutil.which("systemd-analyze") or not os.path.exists(unit):
        return
    r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
                       capture_output=True, text=True)
    equal(r.returncode, 0, r.stdout[-300:] + r.stderr)


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
