#!/usr/bin/env python3
"""The tools of test/bench that ask a server: load.py against the daemon, whose own counters tell what came, and
compare.sh with programs that stand in for llama.cpp's. Figures are not judged. Standard library only.
"""
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import daemon
from daemon import equal

LOAD = os.path.join(daemon.SRCDIR, "test", "bench", "load.py")
COMPARE = os.path.join(daemon.SRCDIR, "test", "bench", "compare.sh")
ROWS = "prompt:32,decode:1@3,decode:2,server:2"


def run(*args, **env):
    return subprocess.run(list(args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **env})


def load(s, *options, path="", status=0):
    done = run(sys.executable, LOAD, "http://127.0.0.1:%d%s" % (s.port, path), "--json", *options)
    equal(done.returncode, status, done.stderr)
    return json.loads(done.stdout)


def check_spread(spread):
    assert 0 <= spread["p50"] <= spread["p95"], spread


def test_load():
    """Each route, streamed or not: all requests answered, tokens counted as the server does."""
    count = 0
    with daemon.Server() as s:
        for path in ("", "/v1/completions", "/v1/chat/completions"):
            for whole in ((), ("--no-stream",)):
                before = s.metric("latentd_generated_tokens_total")
                got = load(s, "-c", "3", "-n", "7", "-w", "10", "-t", "5", *whole, path=path)
                equal((got["requests"], got["errors"], got["short"], got["tokens"]), (7, 0, 0, 35))
                s.wait_metric("latentd_generated_tokens_total", lambda v: v == before + 35)
                assert got["tokens_per_second"] > 0 and got["requests_per_second"] > 0, got
                check_spread(got["answer_ms"])
                if whole:
                    equal((got["first_token_ms"]["p50"], got["between_tokens_ms"]["p50"]), (None, None))
                else:
                    check_spread(got["first_token_ms"])
                count += 1
    return count


def test_prompts():
    """No prefix in common unless asked for; a seed's prompts come again."""
    with daemon.Server() as s:
        options = ("-c", "2", "-n", "8", "-w", "96", "-t", "2")
        load(s, *options)
        load(s, *options, "--seed", "2")
        page = s.metrics()
        equal(page["latentd_cached_tokens_total"], 0)
        prompts = page["latentd_prompt_tokens_total"]
        load(s, *options, "--seed", "2")
        again = s.metric("latentd_cached_tokens_total")
        assert again > prompts / 4, (again, prompts)
        load(s, *options, "--seed", "3", "--shared", "48")
        shared = s.metric("latentd_cached_tokens_total") - again
        assert 0 < shared < prompts / 2, (shared, prompts)
    return 3


def test_load_errors():
    """Requests that fail are counted and make the exit status 1."""
    with daemon.Server() as s:
        got = load(s, "-n", "3", path="/v1/nothing", status=1)
        equal((got["errors"], got["tokens"]), (3, 0))
        assert "404" in got["first_error"], got
        got = load(s, "-n", "2", "--model", "another", status=1)
        equal(got["errors"], 2)
        done = run(sys.executable, LOAD, "ftp://127.0.0.1/")
        equal(done.returncode, 2)
    return 3


def stand_ins(folder, tensor_bytes):
    """llama.cpp's programs: fixed figures, and latentd in the place of the server."""
    programs = {
        "llama-bench": """echo '[{"avg_ts": 10.0, "model_size": %d}]'""" % tensor_bytes,
        "llama-batched-bench": """echo '{"pl": 2, "speed_tg": 20.0}'""",
        "llama-server": """
while [ $# -gt 0 ]; do
	case $1 in --help) exit ;; --port) port=$2 ;; esac
	shift
done
exec '%s' --backend null --model '%s' --port "$port" --log-level error""" % (daemon.BINARY, daemon.MODEL)}
    for name, text in programs.items():
        path = os.path.join(folder, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n%s\n" % text)
        os.chmod(path, 0o755)


def compare(llama, *options, rows=ROWS):
    return run(COMPARE, daemon.MODEL, "--build", daemon.BUILDDIR, "--llama", llama, "--rows", rows, "-r", "2",
               "-t", "2", "-n", "2", "--parallel", "2", "--context", "2048", "--requests", "3", "--words", "4", "--tokens", "3",
               *options)


def tensor_bytes():
    done = run(os.path.join(daemon.BUILDDIR, "latentctl"), "inspect", daemon.MODEL, "--json")
    return sum(t["bytes"] for t in json.loads(done.stdout)["types"].values())


def test_compare():
    """A row of the table for each work, as many figures of each side as rounds, ratios of the medians."""
    with tempfile.TemporaryDirectory() as folder:
        stand_ins(folder, tensor_bytes())
        figures = os.path.join(folder, "figures")
        done = compare(folder, "--json", figures)
        equal(done.returncode, 0, done.stderr)
        with open(figures) as f:
            all_figures = json.load(f)["figures"]
        table = {}
        for line in done.stdout.split("\n"):
            cells = [c.strip() for c in line.strip("|").split("|")]
            if len(cells) == 5:
                table[cells[0]] = cells[1:]
        for name, peer in (("prompt of 32, tokens/s", 10), ("decode, batch 1 at depth 3, tokens/s", 10),
                           ("decode, batch 2 at depth 1, tokens/s", 20)):
            sides = all_figures[name]
            equal(sides["llama.cpp"], [peer] * 2)
            equal(len(sides["latentd"]), 2)
            ratio = sum(sides["latentd"]) / 2 / peer
            assert abs(float(table[name][2]) - ratio) < 0.006, (table[name], sides)
        for name in ("tokens/s", "first token p50, ms", "first token p95, ms", "between tokens p50, ms",
                     "peak resident memory, MiB"):
            assert "server, 2 clients: " + name in table, done.stdout
        memory = all_figures["server, 2 clients: peak resident memory, MiB"]
        assert min(memory["latentd"] + memory["llama.cpp"]) > 1, memory
    return 1


def test_compare_refuses():
    """What is missing or does not fit is said, without a traceback."""
    with tempfile.TemporaryDirectory() as folder:
        cases = [(compare(folder), "llama-batched-bench does not start"),
                 (compare("no-such-command --option"), "no-such-command --option llama"),
                 (compare(folder, rows="prompt"), "prompt:N"),
                 (run(COMPARE, os.path.join(folder, "model.gguf")), "no model"),
                 (run(COMPARE, daemon.MODEL, "--build", folder), "build first")]
        stand_ins(folder, tensor_bytes() * 2)
        cases.append((compare(folder, rows="prompt:32"), "different models"))
        with open(os.path.join(folder, "llama-server"), "w") as f:
            f.write('#!/bin/sh\n[ "$1" = --help ] && exit\necho this is why >&2\nexit 3\n')
        cases.append((compare(folder, rows="server:1"), "this is why"))
    for done, said in cases:
        equal(done.returncode, 1, done.stderr)
        assert said in done.stderr and "Traceback" not in done.stderr, (said, done.stderr)
    return len(cases)


if __name__ == "__main__":
    daemon.run(sys.modules[__name__])
