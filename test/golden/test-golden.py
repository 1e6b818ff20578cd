#!/usr/bin/env python3
"""Logits, greedy tokens and expert choices against the fixtures' goldens, for each backend of the build.

A golden is what the transformers library (checkpoints) or a float32 forward pass over a GGUF's own
dequantised weights gave (test/fixtures/README.md). Fixtures are taken from $LT_FIXTURES, ../shared/fixtures
or test/fixtures, the first that has one. Standard library only; a case is one checkpoint and property.
"""
import array
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import traceback

SRCDIR = os.environ.get("LT_SRCDIR") or os.path.join(os.path.dirname(__file__), "..", "..")
BUILDDIR = os.environ.get("LT_BUILDDIR") or os.path.join(SRCDIR, "build")
LATENTCTL = os.path.join(BUILDDIR, "latentctl")
PLACES = [p for p in (os.environ.get("LT_FIXTURES"), os.path.join(SRCDIR, "..", "shared", "fixtures"),
                      os.path.join(SRCDIR, "test", "fixtures")) if p]
CHECKPOINTS = ["v3", "v3-norope-scaling", "v3-mtp", "v3-fp8", "kimi-k2", "moonlight", "v2-lite", "v2", "glm4-moe-lite"]
GGUFS = ["BF16", "IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K_M", "Q4_0", "Q4_1", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_M", "Q6_K", "Q8_0",
         "legacy-kvb"]
FLOAT_GGUFS = ["BF16"]
BY_ISA = ["v3", "v3-fp8", "BF16", "Q8_0", "Q4_K_M", "IQ4_XS"]  # on every instruction set of the processor, not the best alone
CHUNKS = [1, 7, 32, 256]

# What each backend promises of relative errors (norm of the difference over norm). `exact`: float32 throughout.
# Otherwise activations are rounded, and a near tie in a router may move single positions by much more than the
# arithmetic does, so the median over positions is what counts.
BLAS = {"exact": True, "overall": 1e-4, "bf16_median": 5e-3, "q8_median": 0.035, "chunks": 1e-5}
CPU = {"exact": False, "overall": 0.14, "median_int": 0.023, "median_float_gguf": 0.007, "median_checkpoint": 0.01,
       "q8_median": 0.035, "chunks": 0.0}
BACKENDS = {"blas": BLAS, "cpu": CPU}

passed = failed = 0


def find(*names):
    for place in PLACES:
        path = os.path.join(place, *names)
        if os.path.exists(path):
            return path
    return None


def safetensors(path):
    """name -> (shape, array)"""
    with open(path, "rb") as f:
        data = f.read()
    size, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    result = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        values = array.array({"F32": "f", "I32": "i"}[t["dtype"]])
        values.frombytes(data[8 + size + begin:8 + size + end])
        result[name] = (t["shape"], values)
    return result


def run(*args):
    done = subprocess.run([LATENTCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise AssertionError("latentctl %s: exit status %d: %s" % (" ".join(args), done.returncode, done.stderr))
    return done.stdout


def read(path, kind):
    values = array.array(kind)
    with open(path, "rb") as f:
        values.frombytes(f.read())
    return values


def squares(a):
    return sum(x * x for x in a)


def errors(got, want, width):
    """(overall, median over positions) of the relative error."""
    assert len(got) == len(want), "%d values, %d wanted" % (len(got), len(want))
    off = size = 0.0
    rows = []
    for i in range(0, len(want), width):
        a, b = got[i:i + width], want[i:i + width]
        o, s = squares(x - y for x, y in zip(a, b)), squares(b)
        off, size = off + o, size + s
        rows.append((o / s) ** 0.5)
    overall = (off / size) ** 0.5
    assert overall == overall, "not a number"
    return overall, sorted(rows)[len(rows) // 2]


def at_most(value, bound, what):
    if not value <= bound:
        raise AssertionError("%s: %.3g, at most %.3g is allowed" % (what, value, bound))


class Case:
    """One fixture: model path, golden tensors, prompt file."""

    def __init__(self, name, model, golden, scratch):
        self.name, self.model, self.golden = name, model, safetensors(golden)
        self.vocab = self.golden["logits"][0][1]
        self.ids = os.path.join(scratch, "ids")
        self.out = os.path.join(scratch, "out")
        self.experts = os.path.join(scratch, "experts")
        with open(self.ids, "wb") as f:
            f.write(self.golden["input_ids"][1].tobytes())

    def logits(self, *options):
        run("logits", self.model, "--ids", self.ids, "--out", self.out, *options)
        return read(self.out, "f")

    def error(self, *options):
        return errors(self.logits(*options), self.golden["logits"][1], self.vocab)

    def greedy(self, *options):
        out = run("generate", self.model, "--ids", self.ids, "-n", str(len(self.golden["greedy"][1])), *options)
        return [int(word) for word in out.split()]


def attempt(what, fn):
    global passed, failed
    try:
        said = fn()
        passed += 1
        print("ok %s%s" % (what, ": " + said if said else ""), flush=True)
    except Exception:
        failed += 1
        print("FAILED %s" % what, flush=True)
        traceback.print_exc(limit=1)


def check_logits(case, backend, promise, kind):
    def f32():
        overall, median = case.error("--backend", backend, "--cache-type", "f32")
        at_most(overall, promise["overall"], "overall error")
        if not promise["exact"]:
            at_most(median, promise[kind], "median error")
        return "error %.2g, median %.2g" % (overall, median)

    def bf16():
        _, median = case.error("--backend", backend, "--cache-type", "bf16")
        bound = promise["bf16_median"] if promise["exact"] else promise[kind] + BLAS["bf16_median"]
        at_most(median, bound, "median error")
        return "median %.2g" % median

    def q8():
        _, median = case.error("--backend", backend, "--cache-type", "q8")
        bound = promise["q8_median"] + (0 if promise["exact"] else promise[kind])
        at_most(median, bound, "median error")
        return "median %.2g" % median

    attempt("%s %s logits, F32 cache" % (backend, case.name), f32)
    attempt("%s %s logits, BF16 cache" % (backend, case.name), bf16)
    attempt("%s %s logits, Q8 cache" % (backend, case.name), q8)


def check_greedy(case, backend):
    want = list(case.golden["greedy"][1])

    def whole():
        got = case.greedy("--backend", backend)
        assert got == want, "%r, wanted %r" % (got, want)
        return "%d tokens" % len(want)

    attempt("%s %s greedy tokens" % (backend, case.name), whole)


def check_experts(case, backend):
    def same():
        case.logits("--backend", backend, "--experts", case.experts)
        assert read(case.experts, "i") == case.golden["router_ids"][1], "other experts than the golden's"

    attempt("%s %s expert sets" % (backend, case.name), same)


def check_chunks(case, backend, promise):
    def agree():
        options = ["--backend", backend, "--attention", "absorbed"]
        whole, worst = case.logits(*options), 0.0
        want = list(case.golden["greedy"][1]) if "greedy" in case.golden else []
        for chunk in CHUNKS:
            part = case.logits(*options, "--chunk", str(chunk))
            if part != whole:
                worst = max(worst, errors(part, whole, case.vocab)[0])
            at_most(worst, promise["chunks"], "chunks of %d against the whole" % chunk)
            if promise["exact"] and want:
                got = case.greedy(*options, "--chunk", str(chunk))
                assert got == want, "chunks of %d: %r, wanted %r" % (chunk, got, want)
        return "%.2g" % worst if worst else "same bits"

    attempt("%s %s chunks of %s and whole" % (backend, case.name, ", ".join(map(str, CHUNKS))), agree)


def check_isa(case, isa, promise, kind):
    def f32():
        overall, median = case.error("--isa", isa, "--cache-type", "f32")
        at_most(overall, promise["overall"], "overall error")
        at_most(median, promise[kind], "median error")
        return "error %.2g, median %.2g" % (overall, median)

    attempt("cpu %s logits, F32 cache, %s" % (case.name, isa), f32)


def check(case, backend, promise, kind):
    check_logits(case, backend, promise, kind)
    if promise["exact"]:
        if "greedy" in case.golden:
            check_greedy(case, backend)
        if "router_ids" in case.golden:
            check_experts(case, backend)
    check_chunks(case, backend, promise)


def check_refused():
    path = find("checkpoints", "v3.2")
    if not path:
        print("not here: checkpoint v3.2, which must be refused")
        return

    def refused():
        done = subprocess.run([LATENTCTL, "inspect", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1, "exit status %d" % done.returncode
        assert "deepseek_v32" in done.stderr, done.stderr

    attempt("v3.2 is refused by name", refused)


def backends_of_build():
    done = subprocess.run([LATENTCTL, "logits", "x", "--ids", "/dev/null", "--out", "/dev/null", "--backend", "?"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = done.stderr.split("allowed", 1)[-1]
    return [name for name in BACKENDS if re.search(r"\b%s\b" % name, said)]


def isas_of_processor(case):
    """Instruction sets of backend cpu that this processor has."""
    done = subprocess.run([LATENTCTL, "logits", case.model, "--ids", case.ids, "--out", case.out, "--isa", "?"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    names = re.search(r"can run auto, (.*)", done.stderr).group(1).split(", ")
    for name in ("avx512bf16", "avx512", "avx2", "plain"):
        if name not in names:
            print("not checked: %s, which this processor does not have" % name)
    return names


def main():
    if not os.path.exists(LATENTCTL):
        sys.exit("no %s: build first" % LATENTCTL)
    names = backends_of_build()
    for name in BACKENDS:
        if name not in names:
            print("backend %s isn't in this build" % name)
    assert names, "no backend to check"
    only, isas = sys.argv[1:], None
    with tempfile.TemporaryDirectory() as scratch:
        fixtures = [(n, find("checkpoints", n), find("checkpoints", n, "golden.safetensors"), "median_checkpoint")
                    for n in CHECKPOINTS]
        fixtures += [(n, find("gguf", n + ".gguf"), find("gguf", n + ".golden.safetensors"),
                      "median_float_gguf" if n in FLOAT_GGUFS else "median_int") for n in GGUFS]
        for name, model, golden, kind in fixtures:
            if only and name not in only:
                continue
            if not model or not golden:
                print("not here: fixture %s" % name)
                continue
            case = Case(name, model, golden, scratch)
            for backend in names:
                check(case, backend, BACKENDS[backend], kind)
            if "cpu" in names and name in BY_ISA:
                isas = isas or isas_of_processor(case)
                for isa in isas:
                    check_isa(case, isa, CPU, kind)
        check_refused()
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
