#!/usr/bin/env python3
# limit: 240
"""HTTP itself: keep-alive, pipelining, HEAD and OPTIONS, chunked bodies, sockets of all kinds, limits
and deadlines against clients that are slow on purpose."""
import concurrent.futures
import json
import os
import select
import socket
import sys
import time

sys.dont_write_bytecode = True
import daemon
from daemon import equal

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
JSON = b"Content-Type: application/json\r\n"


def read_responses(c, n):
    """Reads n responses from a raw socket: (status, headers, body) each."""
    f = c.makefile("rb")
    out = []
    for _ in range(n):
        status = int(f.readline().split()[1])
        headers = {}
        while True:
            line = f.readline().strip()
            if not line:
                break
            k, v = line.decode().split(": ", 1)
            headers[k.lower()] = v
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(f.readline(), 16)
                body += f.read(size)
                f.read(2)
                if size == 0:
                    break
        else:
            body = f.read(int(headers.get("content-length", 0)))
        out.append((status, headers, body))
    return out


def closed_by_server(c, patience=daemon.PATIENCE):
    """Waits for the server to close; what it sent before."""
    c.settimeout(patience)
    data = b""
    try:
        while True:
            piece = c.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionResetError:
        return data


def post(path, body, more=b""):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%s%sContent-Length: %d\r\n\r\n" % (path.encode(), JSON, more, len(data)) + data


def test_keep_alive():
    with daemon.Server() as s:
        c = s.connection()
        for _ in range(20):
            equal(daemon.ask(c, "GET", "/health").json, {"status": "ok"})
            equal(daemon.ask(c, "POST", TEXT, {"prompt": "a", "max_tokens": 2}).status, 200)
            r = daemon.ask(c, "POST", TEXT, {"prompt": "a", "max_tokens": 2, "stream": True})
            assert r.body.endswith(b"data: [DONE]\n\n")
        c.close()
        equal(s.metric("latentd_connections_accepted_total"), 2)


def test_pipelining():
    with daemon.Server() as s:
        c = s.connect()
        asks = [b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", post(TEXT, {"prompt": "one", "max_tokens": 3}),
                b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", post(TEXT, {"prompt": "two", "max_tokens": 3, "stream": True}),
                post(CHAT, b"not json"), b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"]
        c.sendall(b"".join(asks * 10))
        got = read_responses(c, 60)
        equal([r[0] for r in got], [200, 200, 200, 200, 400, 200] * 10)
        whole = json.loads(got[1][2])["choices"][0]["text"]
        equal(json.loads(got[7][2])["choices"][0]["text"], whole)
        c.close()


def test_bytes_one_by_one():
    with daemon.Server() as s:
        c = s.connect()
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in post(TEXT, {"prompt": "h\u00e9llo", "max_tokens": 2}):
            c.sendall(bytes([b]))
        equal(read_responses(c, 1)[0][0], 200)
        c.close()


def test_head_and_options():
    with daemon.Server() as s:
        for path in ("/health", "/ready", "/metrics", "/v1/models"):
            r = s.request("HEAD", path)
            equal((r.status, r.body), (200, b""))
            assert int(r.headers["Content-Length"]) > 0
        equal(s.request("HEAD", CHAT).status, 405)
        r = s.request("OPTIONS", CHAT)
        equal((r.status, r.headers["Allow"]), (204, "POST, OPTIONS"))
        assert not [h for h in r.headers if h.lower().startswith("access-control")]
    with daemon.Server(server_cors_origin="https://example.org") as s:
        r = s.request("OPTIONS", CHAT, headers={"Origin": "https://example.org",
                                                "Access-Control-Request-Method": "POST"})
        equal(r.status, 204)
        equal(r.headers["Access-Control-Allow-Origin"], "https://example.org")
        assert "POST" in r.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in r.headers["Access-Control-Allow-Headers"]
        equal(s.get("/v1/models").headers["Access-Control-Allow-Origin"], "https://example.org")
        equal(s.chat(max_tokens=1).headers["Access-Control-Allow-Origin"], "https://example.org")
        equal(s.chat(n=0).headers["Access-Control-Allow-Origin"], "https://example.org")


def test_chunked_body():
    with daemon.Server() as s:
        data = json.dumps({"prompt": "Once upon a time", "max_tokens": 4}).encode()
        want = s.request("POST", TEXT, data).json["choices"]
        c = s.connection()
        c.request("POST", TEXT, iter([data[:10], data[10:11], data[11:]]), {"Content-Type": "application/json"},
                  encode_chunked=True)
        r = c.getresponse()
        equal((r.status, json.loads(r.read())["choices"]), (200, want))
        c.close()


def test_expect_continue():
    with daemon.Server(server_max_body="1K") as s:
        c = s.connect()
        body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
        c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                  % (TEXT.encode(), JSON, len(body)))
        f = c.makefile("rb")
        equal(f.readline().split()[1], b"100")
        f.readline()
        c.sendall(body)
        equal(f.readline().split()[1], b"200")
        c.close()
        # Too long: the answer comes instead of the invitation.
        c = s.connect()
        c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n%sExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n"
                  % (TEXT.encode(), JSON))
        equal(read_responses(c, 1)[0][0], 413)
        c.close()


def test_http_1_0():
    with daemon.Server() as s:
        c = s.connect()
        body = json.dumps({"prompt": "a", "max_tokens": 3, "stream": True}).encode()
        c.sendall(b"POST %s HTTP/1.0\r\n%sContent-Length: %d\r\n\r\n" % (TEXT.encode(), JSON, len(body)) + body)
        data = closed_by_server(c)
        assert b" 200 " in data.split(b"\r\n")[0] and data.endswith(b"data: [DONE]\n\n"), data
        assert b"chunked" not in data.lower()


def test_malformed_http():
    """libmicrohttpd refuses these by itself; the server must live on."""
    with daemon.Server() as s:
        for ask in (b"\r\n\r\n\r\n\x00\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                    b"GET /health HTTP/1.1\r\nHost x\r\n\r\n" * 3,
                    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
                    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
                    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 20000):
            c = s.connect()
            try:
                c.sendall(ask)
                c.shutdown(socket.SHUT_WR)
                closed_by_server(c)
            except OSError:
                pass
            c.close()
            equal(s.get("/health").status, 200)
        s.wait_metric("latentd_connections", lambda v: v == 1)
        equal(s.metric("latentd_requests_active"), 0)
    return 10


def test_ipv6_and_unix():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
            listen = "127.0.0.1,[::1]," + path
        except OSError:
            listen = "127.0.0.1," + path
        for _ in range(2):  # the second start finds no socket in its way
            with daemon.Server(server_listen=listen) as s:
                equal(s.get("/health").status, 200)
                c = socket.socket(socket.AF_UNIX)
                c.connect(path)
                c.sendall(post(TEXT, {"prompt": "a", "max_tokens": 2}))
                equal(read_responses(c, 1)[0][0], 200)
                c.close()
                if "[::1]" in listen:
                    text = s.text()
                    port = int(text.split("http://[::1]:")[1].split()[0])
                    c = socket.create_connection(("::1", port))
                    c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                    equal(read_responses(c, 1)[0][0], 200)
                    c.close()
            assert not os.path.exists(path)
        # One that a killed server left behind is taken over.
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.close()
        with daemon.Server(server_listen="127.0.0.1," + path):
            pass


# --- limits -------------------------------------------------------------------------------------------


def test_body_limit():
    with daemon.Server(server_max_body="4K") as s:
        fits = {"prompt": "a", "max_tokens": 1, "user": ""}
        fits["user"] = "x" * (4096 - len(json.dumps(fits)))
        equal(len(json.dumps(fits)), 4096)
        equal(s.request("POST", TEXT, fits).status, 200)
        fits["user"] += "x"
        r = s.request("POST", TEXT, fits)
        equal((r.status, daemon.error_of(r)["code"]), (413, "request_too_large"))
        # Chunked: nobody said how long it would be.
        c = s.connection()
        c.request("POST", TEXT, (b"x" * 1000 for _ in range(10)), {"Content-Type": "application/json"},
                  encode_chunked=True)
        r = c.getresponse()
        equal(r.status, 413)
        daemon.error_of(daemon.Response(r.status, r.headers, r.read()))
        c.close()
        # ... and without an end: the answer comes while it is still sending, then the connection goes.
        c = s.connect()
        c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n" % (TEXT.encode(), JSON))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            for _ in range(2000):
                c.sendall(chunk)
        except (ConnectionResetError, BrokenPipeError):
            pass
        data = closed_by_server(c)
        assert not data or b" 413 " in data.split(b"\r\n")[0], data
        s.wait_metric("latentd_requests_active", lambda v: v == 0)
        s.wait_metric("latentd_connections", lambda v: v == 1)
    return 4


def test_header_limit():
    with daemon.Server(server_max_header="2K") as s:
        equal(s.get("/health", headers={"X-A": "a" * 1500}).status, 200)
        r = s.get("/health", headers={"X-A": "a" * 2100})
        equal((r.status, daemon.error_of(r)["code"]), (431, "headers_too_large"))


def test_connection_limit():
    with daemon.Server(server_max_connections=5) as s:
        held = [s.connect() for _ in range(5)]
        for c in held:
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            equal(read_responses(c, 1)[0][0], 200)
        c = s.connect()
        equal(closed_by_server(c), b"")
        held.pop().close()
        # Once the server has seen the close there is room again.
        end = time.monotonic() + daemon.PATIENCE
        while True:
            try:
                equal(s.get("/health").status, 200)
                break
            except (ConnectionError, OSError):
                assert time.monotonic() < end
        assert s.metric("latentd_connections_refused_total") >= 1
        for c in held:
            c.close()


def test_connection_limit_per_address():
    with daemon.Server(server_max_connections_per_ip=3) as s:
        held = [s.connect() for _ in range(3)]
        for c in held:
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            equal(read_responses(c, 1)[0][0], 200)
        c = s.connect()
        equal(closed_by_server(c), b"")
        # Another address has a count of its own.
        c = socket.create_connection(("127.0.0.1", s.port), source_address=("127.0.0.2", 0))
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(read_responses(c, 1)[0][0], 200)
        c.close()
        for c in held:
            c.close()


def test_stream_limit():
    with daemon.Server(server_max_streams=2, engine_null_rate=20) as s:
        held = [daemon.Stream(s, TEXT, {"prompt": "a", "max_tokens": 4000, "stream": True}) for _ in range(2)]
        for h in held:
            next(iter(h))
        r = s.chat(max_tokens=1)
        equal((r.status, r.headers["Retry-After"]), (429, "1"))
        equal(daemon.error_of(r)["type"], "rate_limit_error")
        for h in held:
            h.close()
        s.wait_metric("latentd_requests_active", lambda v: v == 0)
        equal(s.chat(max_tokens=1).status, 200)


def test_queue_limit():
    with daemon.Server(scheduler_max_queued=2, scheduler_max_running=1, engine_null_rate=20) as s:
        first = daemon.Stream(s, TEXT, {"prompt": "a", "max_tokens": 4000, "stream": True})
        next(iter(first))
        waiting = []
        for i in range(2):
            waiting.append(s.connect())
            waiting[-1].sendall(post(TEXT, {"prompt": "a", "max_tokens": 1}))
            s.wait_metric("latentd_sequences_queued", lambda v: v == i + 1)
        r = s.complete("a", max_tokens=1)
        equal((r.status, r.headers["Retry-After"]), (429, "1"))
        equal(daemon.error_of(r)["code"], "rate_limit_exceeded")
        # All choices or none: this one would need three places.
        equal(s.complete("a", max_tokens=1, n=3).status, 429)
        first.close()
        for c in waiting:
            equal(read_responses(c, 1)[0][0], 200)
            c.close()


# --- deadlines ----------------------------------------------------------------------------------------


def dribble(c, data, gap):
    """Sends byte by byte with a gap until all is sent or the server closes: what came back."""
    for b in data:
        try:
            c.sendall(bytes([b]))
        except (BrokenPipeError, ConnectionResetError):
            break
        if select.select([c], [], [], gap)[0]:
            break
    return closed_by_server(c)


def test_slow_header():
    with daemon.Server(server_header_timeout="600ms") as s:
        start = time.monotonic()
        data = dribble(s.connect(), b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 10000, 0.05)
        assert time.monotonic() - start < 30
        # It had said what it wanted: it gets a 408.
        assert data == b"" or b" 408 " in data.split(b"\r\n")[0], data
        # A client that says nothing at all.
        equal(closed_by_server(s.connect()), b"")
        equal(s.metric('latentd_connections_expired_total{phase="header"}'), 2)
        # On a kept connection the next header has its own time.
        c = s.connect()
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(read_responses(c, 1)[0][0], 200)
        data = dribble(c, b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 10000, 0.05)
        assert b" 408 " in data.split(b"\r\n")[0], data
    return 3


def test_slow_body():
    with daemon.Server(server_body_timeout="600ms") as s:
        c = s.connect()
        head, body = post(CHAT, b"x" * 5000).split(b"\r\n\r\n")
        c.sendall(head + b"\r\n\r\n")
        data = dribble(c, body, 0.05)
        assert b" 408 " in data.split(b"\r\n")[0], data
        daemon.error_of(daemon.Response(408, {}, data.split(b"\r\n\r\n")[1]))
        page = s.metrics()
        equal(page['latentd_connections_expired_total{phase="body"}'], 1)
        equal(page['latentd_requests_total{route="chat",status="408"}'], 1)
        s.wait_metric("latentd_requests_active", lambda v: v == 0)


def test_idle():
    with daemon.Server(server_idle_timeout="300ms") as s:
        c = s.connect()
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(read_responses(c, 1)[0][0], 200)
        equal(closed_by_server(c), b"")
        # A dribbled second request line doesn't stretch it.
        c = s.connect()
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        equal(read_responses(c, 1)[0][0], 200)
        equal(dribble(c, b"GET /" + b"a" * 1000, 0.05), b"")
        equal(s.metric('latentd_connections_expired_total{phase="idle"}'), 2)


def test_waiting_is_not_idle():
    """A request at work outlives all these deadlines."""
    with daemon.Server(server_idle_timeout="200ms", server_body_timeout="200ms", server_header_timeout="200ms",
                       server_stall_timeout="1s", engine_null_rate=20) as s:
        r = s.complete("a", max_tokens=40)
        equal((r.status, r.json["usage"]["completion_tokens"]), (200, 40))
        events = s.stream(TEXT, {"prompt": "a", "max_tokens": 40})
        equal(events[-1], "[DONE]")


def test_many_connections():
    """512 connections that come and go while answers stream."""
    with daemon.Server(engine_null_rate=2000) as s:
        streams = [daemon.Stream(s, TEXT, {"prompt": "p%d" % i, "max_tokens": 200, "stream": True}) for i in range(8)]

        def one(i):
            c = s.connect()
            c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            status = read_responses(c, 1)[0][0]
            c.close()
            return status

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            equal(set(pool.map(one, range(512))), {200})
        for stream in streams:
            equal(list(stream)[-1], "[DONE]")
            stream.close()
        s.wait_metric("latentd_connections", lambda v: v == 1)


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
