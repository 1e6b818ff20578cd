#!/usr/bin/env python3
"""latentctl bench: the machine's limits with each instruction set forced, and the bytes and operations that it
says a step costs, against those that `latentctl inspect` gives. Standard library only; times are not judged.
"""
import json
import os
import subprocess
import sys
import traceback

SRCDIR = os.environ.get("LT_SRCDIR") or os.path.join(os.path.dirname(__file__), "..", "..")
BUILDDIR = os.environ.get("LT_BUILDDIR") or os.path.join(SRCDIR, "build")
LATENTCTL = os.path.join(BUILDDIR, "latentctl")
TINY = os.path.join(SRCDIR, "models", "tiny")
ISAS = ["plain", "avx2", "avx512", "avx512bf16", "auto"]

passed = failed = 0


def attempt(name, function, *args):
    global passed, failed
    try:
        function(*args)
        passed += 1
        print("ok: %s" % name)
    except Exception:
        failed += 1
        print("FAILED: %s" % name)
        traceback.print_exc(file=sys.stdout)


def run(*args):
    return subprocess.run([LATENTCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def parsed(*args):
    done = run(*args, "--json")
    assert done.returncode == 0, "exit status %d: %s" % (done.returncode, done.stderr)
    return json.loads(done.stdout)


def machine(isa):
    got = parsed("bench", "--machine", "--isa", isa, "--threads", "2", "-r", "1")
    assert got["threads"] == 2, got
    limits = got["limits"]
    names = [l["limit"] for l in limits]
    assert names[0] == "read" and "float32" in names, names
    for l in limits:
        assert l["unit"] == ("GB/s" if l["limit"] == "read" else "Gop/s"), l
        assert l["one_thread"] > 0 and l["all_threads"] > 0, l
    said = " ".join(l["instruction"] for l in limits)
    if isa == "plain":
        assert "plain C" in said and names == ["read", "float32"], limits
    else:
        assert isa == "auto" or "tiles" not in said, limits
    if isa == "avx2":
        assert "512" not in said and "vpmaddubsw" in said, limits
    if isa == "avx512":
        assert "vfmadd, 512" in said and "bf16" not in names, limits


def machine_refuses():
    done = run("bench", "--machine", "--isa", "abacus")
    assert done.returncode == 2 and "abacus" in done.stderr, (done.returncode, done.stderr)


def near(value, want, share, what):
    assert abs(value - want) <= share * want, "%s: %g, not %g" % (what, value, want)


def step_cost(*options):
    """(bytes, operations) of the only step of a decode."""
    row, = parsed("bench", TINY, "-p", "0", "-n", "1", "-r", "1", *options)
    seconds = row["step_ms"] / 1e3
    return row["gb_per_second"] * 1e9 * seconds, row["gop_per_second"] * 1e9 * seconds


def costs():
    """A decode step of one row against the model's own numbers."""
    m = parsed("inspect", TINY)
    cache = m["cache_bytes_per_token_bf16"]
    width = 2 * m["kv_rank"] + m["qk_rope"]
    attention = 2 * m["heads"] * m["layers"] * width  # for each position that a row sees
    total = sum(t["bytes"] for t in m["types"].values())
    # Both tables are BF16 and only the head is read; experts are FP8, and one row leaves most of them alone.
    table = 2 * m["vocab"] * m["hidden"]
    expert = 3 * m["expert_ff"] * m["hidden"]
    idle = m["moe_layers"] * (m["experts"] - m["experts_used"]) * expert
    assert "F8_E4M3" in m["types"] and "BF16" in m["types"], m["types"]
    read, ops = step_cost("-b", "1", "-d", "0")
    near(ops, 2 * m["active_params"] + attention, 0.01, "operations")
    near(read, total - table - idle + 2 * cache, 0.01, "bytes")
    deep_read, deep_ops = step_cost("-b", "1", "-d", "300")
    near(deep_ops - ops, 300 * attention, 0.01, "operations of 300 positions")
    near(deep_read - read, 300 * cache, 0.01, "bytes of 300 positions")
    # More rows: their operations add up, matrices are read once, experts as far as they are chosen.
    many_read, many_ops = step_cost("-b", "64", "-d", "0")
    near(many_ops, 64 * ops, 0.01, "operations of 64 rows")
    near(many_read, total - table + 64 * 2 * cache, 0.05, "bytes of 64 rows, which touch nearly all experts")


def limits_below():
    """Without --json the machine's limits stand below the figures, for as many threads."""
    done = run("bench", TINY, "-p", "8", "-n", "1", "-b", "1", "-r", "1", "--threads", "2")
    assert done.returncode == 0, done.stderr
    figures, limits = done.stdout.split("\n\n")
    assert "decode" in figures and "Gop/s" in figures, figures
    assert "2 threads" in limits.splitlines()[0] and limits.splitlines()[1].startswith("read"), limits
    done = run("bench", TINY, "-p", "8", "-n", "0", "-r", "1", "--backend", "null")
    assert "limit" not in done.stdout, done.stdout


def null_has_none():
    for row in parsed("bench", TINY, "-p", "32", "-n", "2", "-b", "1", "-r", "1", "--backend", "null"):
        assert row["gb_per_second"] is None and row["gop_per_second"] is None, row


def main():
    if not os.path.exists(LATENTCTL):
        sys.exit("no %s: build first" % LATENTCTL)
    for isa in ISAS:
        said = run("bench", TINY, "-p", "1", "-n", "0", "-r", "1", "--isa", isa)
        if said.returncode != 0:
            print("not on this CPU: --isa %s: %s" % (isa, said.stderr.strip()))
            continue
        attempt("machine --isa %s" % isa, machine, isa)
    attempt("machine refuses an unknown instruction set", machine_refuses)
    attempt("what a step reads and computes", costs)
    attempt("limits stand below the figures", limits_below)
    attempt("backend null has no bytes or operations", null_has_none)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
