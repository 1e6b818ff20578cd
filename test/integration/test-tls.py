#!/usr/bin/env python3
# limit: 120
"""HTTPS through libmicrohttpd, with a certificate made on the spot."""
import os
import shutil
import ssl
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import daemon
from daemon import equal

folder = tempfile.mkdtemp(prefix="lt-tls-")
CERT, KEY = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")


def make_certificate():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", KEY, "-out", CERT, "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)


def server(**more):
    context = ssl.create_default_context(cafile=CERT)
    return daemon.Server(tls=context, tls_cert=CERT, tls_key=KEY, **more)


def test_requests():
    with server() as s:
        assert "https://127.0.0.1" in s.text()
        equal(s.get("/health").status, 200)
        r = s.chat(max_tokens=30)
        equal(r.json["usage"]["completion_tokens"], 30)
        events = s.stream("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 30})
        equal(events[-1], "[DONE]")
        equal(s.chat(n=0).status, 400)
        c = s.connection()
        for _ in range(10):
            equal(daemon.ask(c, "GET", "/health").status, 200)
        c.close()


def test_disconnect():
    with server(engine_null_rate=20) as s:
        stream = daemon.Stream(s, "/v1/completions", {"prompt": "a", "max_tokens": 4000, "stream": True})
        next(iter(stream))
        stream.close()
        s.wait_metric("latentd_client_disconnects_total", lambda v: v == 1)
        s.wait_metric('latentd_cache_blocks{state="used"}', lambda v: v == 0)


def test_too_large():
    with server() as s:
        r = s.request("POST", "/v1/completions", b'{"prompt":"' + b"x" * 9_000_000 + b'"}')
        equal((r.status, daemon.error_of(r)["code"]), (413, "request_too_large"))


def test_not_tls():
    """Plain HTTP on the TLS port, and a client that never finishes its handshake."""
    import socket
    with server(server_header_timeout="500ms") as s:
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        c.settimeout(daemon.PATIENCE)
        try:
            while c.recv(4096):
                pass
        except ConnectionResetError:
            pass
        c.close()
        c = socket.create_connection(("127.0.0.1", s.port))
        c.settimeout(daemon.PATIENCE)
        try:
            equal(c.recv(10), b"")
        except ConnectionResetError:
            pass
        c.close()
        equal(s.get("/health").status, 200)


def test_stuck_handshakes_cost_nothing():
    """Clients that stop in the middle of a handshake must not keep the processor busy."""
    import select
    import socket
    import time

    def cpu():
        with open("/proc/%d/stat" % s.process.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with server(server_header_timeout="1500ms") as s:
        context = ssl.create_default_context(cafile=CERT)
        hello, _ = ssl.MemoryBIO(), None
        tls = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = hello.read()
        begun, start = cpu(), time.monotonic()
        stuck = []
        for part in (0, 1, 5, len(hello) // 2, len(hello)):
            c = socket.create_connection(("127.0.0.1", s.port))
            c.sendall(hello[:part])
            stuck.append(c)
        equal(s.get("/health").status, 200)
        # All are closed when their time is over; until then they cost next to nothing.
        open_ones = set(stuck)
        while open_ones:
            for c in select.select(list(open_ones), [], [], daemon.PATIENCE)[0]:
                try:
                    if not c.recv(65536):
                        open_ones.discard(c)
                except ConnectionResetError:
                    open_ones.discard(c)
        share = (cpu() - begun) / (time.monotonic() - start)
        assert share < 0.4, "%.0f%% of a core" % (100 * share)


def test_bad_files():
    for cert, key in ((KEY, CERT), (CERT, os.path.join(folder, "none"))):
        s = daemon.Server(tls_cert=cert, tls_key=key, wait=False)
        s.start()
        equal(s.wait_exit(), 1)
        assert "tls" in s.text().lower(), s.text()
        s.__exit__(None, None, None)
    return 2


if __name__ == "__main__":
    if not shutil.which("openssl"):
        print("openssl is not installed: skipped")
        sys.exit(77)
    try:
        make_certificate()
        daemon.run(sys.modules[__name__])
    finally:
        shutil.rmtree(folder)
