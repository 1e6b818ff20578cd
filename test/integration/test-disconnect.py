#!/usr/bin/env python3
# limit: 240
"""A client that goes away, in whatever phase, stops costing within two steps: seen in /metrics. The
null engine at a fixed rate makes each step long enough to look between two of them."""
import json
import socket
import struct
import sys

sys.dont_write_bytecode = True
import daemon
from daemon import equal

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
USED = 'latentd_cache_blocks{state="used"}'
GONE = "latentd_client_disconnects_total"
LONG = {"prompt": "hello", "max_tokens": 4000}


def raw_request(path, body):
    data = json.dumps(body).encode()
    return (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (path.encode(), len(data))) + data


def freed_in_two_steps(s, before, gone):
    """After `gone` disconnects were counted, the blocks are back at `before` within two steps."""
    first = s.wait_metric(GONE, lambda v: v == gone)
    then = first if first[USED] == before else s.wait_metric(USED, lambda v: v == before)
    steps = then["latentd_steps_total"] - first["latentd_steps_total"]
    assert steps <= 2, "%d steps passed before the blocks came home" % steps
    s.wait_metric("latentd_requests_active", lambda v: v == (1 if before else 0))


def slow_server(**more):
    return daemon.Server(engine_null_rate=20, scheduler_step_tokens=256, scheduler_prefix_cache="no", **more)


def test_streaming():
    with slow_server() as s:
        stream = daemon.Stream(s, TEXT, {**LONG, "stream": True})
        events = iter(stream)
        for _ in range(3):
            next(events)
        assert s.metric(USED) > 0
        stream.close()
        freed_in_two_steps(s, 0, 1)
        equal(s.metrics()['latentd_requests_total{route="completions",status="499"}'], 1)


def test_whole():
    with slow_server() as s:
        c = s.connect()
        c.sendall(raw_request(TEXT, LONG))
        s.wait_metric("latentd_generated_tokens_total", lambda v: v >= 2)
        c.close()
        freed_in_two_steps(s, 0, 1)


def test_reset():
    """A client that resets the connection instead of closing it."""
    for stream in (False, True):
        with slow_server() as s:
            c = s.connect()
            c.sendall(raw_request(TEXT, {**LONG, "stream": stream}))
            s.wait_metric("latentd_generated_tokens_total", lambda v: v >= 2)
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
            freed_in_two_steps(s, 0, 1)
    return 2


def test_half_closed():
    """Closing the sending half counts as going away (see latentd(8))."""
    with slow_server() as s:
        c = s.connect()
        c.sendall(raw_request(TEXT, LONG))
        s.wait_metric("latentd_generated_tokens_total", lambda v: v >= 2)
        c.shutdown(socket.SHUT_WR)
        freed_in_two_steps(s, 0, 1)
        equal(c.recv(100), b"")
        c.close()


def test_queued():
    with slow_server(scheduler_max_running=1) as s:
        keeper = daemon.Stream(s, TEXT, {**LONG, "stream": True})
        next(iter(keeper))
        for stream in (False, True):
            c = s.connect()
            c.sendall(raw_request(TEXT, {**LONG, "stream": stream}))
            s.wait_metric("latentd_sequences_queued", lambda v: v == 1)
            gone = s.metric(GONE)
            c.close()
            first = s.wait_metric(GONE, lambda v: v == gone + 1)
            then = s.wait_metric("latentd_sequences_queued", lambda v: v == 0)
            assert then["latentd_steps_total"] - first["latentd_steps_total"] <= 2
            equal(then["latentd_sequences_running"], 1)
        keeper.close()
        freed_in_two_steps(s, 0, 3)
    return 2


def test_prefill():
    """A long prompt is cut into steps of 256 tokens; each takes 50 ms beside a running stream."""
    for stream in (False, True):
        with slow_server() as s:
            keeper = daemon.Stream(s, TEXT, {**LONG, "stream": True})
            next(iter(keeper))
            page = s.metrics()
            before, rows = page[USED], page["latentd_step_rows_total"]
            c = s.connect()
            c.sendall(raw_request(TEXT, {"prompt": [5] * 4000, "max_tokens": 50, "stream": stream}))
            page = s.wait_metric("latentd_step_rows_total", lambda v: v > rows + 250)
            assert page["latentd_step_rows_total"] < rows + 3500, "the prompt was complete already"
            assert page[USED] > before + 8
            c.close()
            first = s.wait_metric(GONE, lambda v: v == 1)
            # The stream beside it may have begun a block of its own meanwhile.
            then = s.wait_metric(USED, lambda v: v <= before + 1)
            assert then["latentd_steps_total"] - first["latentd_steps_total"] <= 2
            keeper.close()
            s.wait_metric(USED, lambda v: v == 0)
    return 2


def test_body():
    """Gone while its body comes: nothing ever reaches the scheduler."""
    with daemon.Server() as s:
        c = s.connect()
        c.sendall(raw_request(CHAT, {"messages": [{"role": "user", "content": "x" * 5000}]})[:-2000])
        s.wait_metric("latentd_requests_active", lambda v: v == 1)
        c.close()
        page = s.wait_metric("latentd_requests_active", lambda v: v == 0)
        equal(page["latentd_prompt_tokens_total"], 0)
        s.wait_metric("latentd_connections", lambda v: v == 1)


def test_all_choices():
    with slow_server() as s:
        c = s.connect()
        c.sendall(raw_request(TEXT, {"prompt": ["a", "b", "c"], "n": 4, "max_tokens": 4000}))
        s.wait_metric("latentd_sequences_running", lambda v: v == 12)
        c.close()
        freed_in_two_steps(s, 0, 1)


def test_many_at_once():
    with slow_server() as s:
        clients = [s.connect() for _ in range(48)]
        for i, c in enumerate(clients):
            c.sendall(raw_request(TEXT, {**LONG, "stream": i % 2 == 0}))
        s.wait_metric("latentd_sequences_running", lambda v: v == 48)
        for c in clients:
            c.close()
        freed_in_two_steps(s, 0, 48)
        s.wait_metric("latentd_connections", lambda v: v == 1)


def test_slow_reader():
    """A client that stops reading its stream is cancelled once it has left too much unread."""
    with daemon.Server(server_stream_buffer=4096) as s:
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", s.port))
        # A stop string has every token sent as an event of its own: more bytes.
        c.sendall(raw_request(TEXT, {"prompt": ["x"] * 4, "n": 4, "max_tokens": 4000, "stream": True, "stop": "\x01",
                                     "ignore_eos": True}))
        s.wait_metric("latentd_stream_overflows_total", lambda v: v == 1)
        s.wait_metric(USED, lambda v: v == 0)
        s.wait_metric("latentd_requests_active", lambda v: v == 0)
        c.close()


def test_stalled_answer():
    """A client that takes none of its answers is shut out after server.stall-timeout."""
    with daemon.Server(server_stall_timeout="1s") as s:
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", s.port))
        c.setblocking(False)
        asks = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 3000
        try:
            while asks:
                asks = asks[c.send(asks):]
        except BlockingIOError:
            pass
        s.wait_metric('latentd_connections_expired_total{phase="reply"}', lambda v: v == 1)
        s.wait_metric("latentd_connections", lambda v: v == 1)
        c.close()


def test_timeout_of_a_request():
    """server.request-timeout ends whole answers with 408 and streams with an error event."""
    with slow_server(server_request_timeout="500ms") as s:
        r = s.complete("hello", max_tokens=4000)
        equal(r.status, 408)
        equal(daemon.error_of(r)["type"], "timeout_error")
        events = s.stream(TEXT, LONG)
        assert "error" in events[-1], events[-1]
        equal(events[-1]["error"]["type"], "timeout_error")
        s.wait_metric(USED, lambda v: v == 0)
        # The request's own, shorter one.
    with slow_server() as s:
        r = s.complete("hello", max_tokens=4000, timeout=0.3)
        equal(r.status, 408)
    return 3


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
