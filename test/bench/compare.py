#!/usr/bin/env python3
"""latentd beside llama.cpp on one GGUF file: the same work, threads, context and number of sequences, taking turns
(latentd, llama.cpp, latentd, ...), so that what else the machine does falls on both. Prints a table of medians and
ratios. Entry: compare.sh. Standard library only.

Rows (--rows, separated by commas):
  prompt:N         a prompt of N tokens: `latentctl bench`, `llama-bench`
  decode:B[@D]     one token of each of B sequences a step, D tokens in the cache beforehand: `latentctl bench`;
                   `llama-bench` for one sequence, `llama-batched-bench` for several (D at least 1)
  server:C         C clients of load.py on latentd and on `llama-server`, with the servers' peak resident memory;
                   all such rows of a round share one start of each server
"""
import argparse
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = "prompt:512,prompt:2048,decode:1,decode:1@4096,decode:8@128,decode:32@128,server:8,server:32"
BLOCK_TOKENS = 32  # of latentd's cache
OURS, PEER = "latentd", "llama.cpp"


class Failure(Exception):
    """Said to the user without a traceback."""


class Ended(Failure):
    """A program ended that should not have, or not so."""

    def __init__(self, code, command, said):
        self.peer = any(os.path.basename(word).startswith("llama-") for word in command)
        super().__init__("status %d of %s\n%s" % (code, shlex.join(command), tail(said)))


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- what to run --------------------------------------------------------------------------------------


def parse_row(text):
    """(kind, number, depth)"""
    kind, _, rest = text.partition(":")
    count, at, depth = rest.partition("@")
    try:
        row = (kind, int(count), int(depth) if at else 0)
    except ValueError:
        row = (None, 0, 0)
    if kind not in ("prompt", "decode", "server") or row[0] is None or row[1] < 1 or row[2] < 0 or \
            (at and kind != "decode"):
        raise Failure("row %r is not prompt:N, decode:BATCH, decode:BATCH@DEPTH or server:CLIENTS" % text)
    # llama-batched-bench knows no empty prompt.
    return ("decode", row[1], max(row[2], 1)) if kind == "decode" and row[1] > 1 else row


def arguments():
    p = argparse.ArgumentParser(
        prog="compare.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__, epilog="LLAMA in the environment is the default of --llama.")
    p.add_argument("model", metavar="MODEL.gguf")
    p.add_argument("--peer-model", metavar="PATH", help="the same file as llama.cpp sees it, within a chroot for "
                   "example (default: MODEL.gguf)")
    p.add_argument("--llama", default=os.environ.get("LLAMA", ""), metavar="WHERE",
                   help="folder with llama.cpp's programs, or a command to put before their names, like "
                   "'chroot /some/folder' (default: they are in PATH)")
    p.add_argument("--build", default=os.environ.get("LT_BUILDDIR", "build"), metavar="DIR",
                   help="folder with latentd and latentctl (default build)")
    p.add_argument("--rows", default=ROWS, metavar="ROW,...", help="default %s" % ROWS)
    p.add_argument("-r", "--rounds", type=int, default=5, help="runs of each row by each side (default 5)")
    p.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)),
                   help="of both (default: the processors)")
    p.add_argument("-n", "--generate", type=int, default=0, metavar="N",
                   help="tokens that a decode row generates (default: 64 for one sequence, 32 for several)")
    p.add_argument("--chunk", type=int, default=512, metavar="N",
                   help="most tokens of a step of a prompt, both sides (default 512)")
    p.add_argument("--context", type=int, default=16384, metavar="N",
                   help="tokens of a server's cache, all sequences together (default 16384)")
    p.add_argument("--parallel", type=int, default=32, metavar="N",
                   help="sequences that a server runs at once; each has its part of --context (default 32)")
    p.add_argument("--requests", type=int, default=0, metavar="N",
                   help="requests of a server row (default: 2 for each client, at least 32)")
    p.add_argument("--words", type=int, default=96, help="words of a request's prompt (default 96)")
    p.add_argument("--tokens", type=int, default=48, help="tokens of an answer (default 48)")
    p.add_argument("--peer-options", default="", metavar="TEXT",
                   help="more options for all of llama.cpp's programs, like '-fa off'")
    p.add_argument("--json", metavar="FILE", help="write every single figure too")
    a = p.parse_args()
    for name in ("rounds", "threads", "chunk", "context", "parallel", "words", "tokens"):
        if getattr(a, name) < 1:
            p.error("--%s is less than 1" % name)
    if a.context % (a.parallel * BLOCK_TOKENS) != 0:
        p.error("--context is not a multiple of %d times --parallel" % BLOCK_TOKENS)
    a.peer_model = a.peer_model or os.path.abspath(a.model)
    a.rows = [parse_row(r) for r in a.rows.split(",")]
    a.peer_options = shlex.split(a.peer_options)
    return a


class Programs:
    """Command lines of both sides' programs; refuses to begin without one that a row needs."""

    def __init__(self, a):
        self.a = a
        kinds = {r[0] for r in a.rows}
        if not os.path.exists(a.model):
            raise Failure("no model %s" % a.model)
        for name in ["latentctl"] + ["latentd"] * ("server" in kinds):
            if not os.access(self.ours(name), os.X_OK):
                raise Failure("no %s: build first, or name the folder with --build" % self.ours(name))
        needed = {self.decode_program(r) if r[0] == "decode" else
                  "llama-server" if r[0] == "server" else "llama-bench" for r in a.rows}
        for name in sorted(needed):
            try:
                done = subprocess.run(self.peer(name) + ["--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
                missing, said = done.returncode != 0, done.stdout.decode(errors="replace")
            except OSError as e:
                missing, said = True, str(e)
            if missing:
                raise Failure("%s does not start (%s): say where llama.cpp is with --llama or LLAMA"
                              % (shlex.join(self.peer(name)), said.strip().split("\n")[-1]))
        self.versions = {OURS: self.version([self.ours("latentctl")], [self.ours("latentd")]),
                         PEER: self.version(*[self.peer(n) for n in sorted(needed)])}

    @staticmethod
    def decode_program(row):
        return "llama-bench" if row[1] == 1 else "llama-batched-bench"

    def ours(self, name):
        return os.path.join(self.a.build, name)

    def peer(self, name):
        if self.a.llama and os.path.isdir(self.a.llama):
            return [os.path.join(self.a.llama, name)]
        return shlex.split(self.a.llama) + [name]

    @staticmethod
    def version(*commands):
        for command in commands:
            try:
                done = subprocess.run(command + ["--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
            except OSError:
                continue
            for line in done.stdout.decode(errors="replace").split("\n"):
                if done.returncode == 0 and ("version" in line or line.startswith("latentd ")):
                    return line.strip()
        return "version not told"


def output_of(command):
    """Standard output of a program that must succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Ended(done.returncode, command, done.stderr)
    return done.stdout.decode(errors="replace")


def tail(data, lines=12):
    return "\n".join("    " + l for l in data.decode(errors="replace").strip().split("\n")[-lines:])


def json_of(command, text):
    try:
        return json.loads(text)
    except ValueError:
        raise Failure("no JSON from %s\n%s" % (shlex.join(command), tail(text.encode()))) from None


# --- rows without a server ----------------------------------------------------------------------------


def generated(a, row):
    return a.generate or (64 if row[1] == 1 else 32)


def ours_bench(a, programs, row):
    command = [programs.ours("latentctl"), "bench", a.model, "--json", "-r", "1", "--threads", str(a.threads),
               "--chunk", str(a.chunk)]
    if row[0] == "prompt":
        command += ["-p", str(row[1]), "-n", "0"]
    else:
        command += ["-p", "0", "-n", str(generated(a, row)), "-b", str(row[1]), "-d", str(row[2])]
    return json_of(command, output_of(command))[0]["tokens_per_second"]


def llama_bench(a, programs, row):
    command = programs.peer("llama-bench") + ["-m", a.peer_model, "-t", str(a.threads), "-ub", str(a.chunk), "-r", "1",
                                              "-o", "json"]
    if row[0] == "prompt":
        command += ["-p", str(row[1]), "-n", "0"]
    else:
        command += ["-p", "0", "-n", str(generated(a, row)), "-d", str(row[2])]
    got = json_of(command, output_of(command + a.peer_options))[0]
    same_file(a, programs, got.get("model_size"))
    return got["avg_ts"]


def llama_batched_bench(a, programs, row):
    # The cache is cut into equal parts for the sequences, whose length llama.cpp rounds up to 256 tokens.
    n = generated(a, row)
    context = row[1] * -(-(row[2] + n) // 256) * 256
    command = programs.peer("llama-batched-bench") + [
        "-m", a.peer_model, "-t", str(a.threads), "-ub", str(a.chunk), "-c", str(context), "-npp", str(row[2]),
        "-ntg", str(n), "-npl", str(row[1]), "--output-format", "jsonl"] + a.peer_options
    lines = [l for l in output_of(command).split("\n") if l.startswith("{")]
    if not lines:
        raise Failure("no figure from %s" % shlex.join(command))
    return json_of(command, lines[-1])["speed_tg"]


def same_file(a, programs, peer_bytes):
    """A comparison of two files would look just as good: what llama.cpp says of its file must fit ours."""
    if not peer_bytes:
        return
    if not hasattr(programs, "bytes"):
        command = [programs.ours("latentctl"), "inspect", a.model, "--json"]
        programs.bytes = sum(t["bytes"] for t in json_of(command, output_of(command))["types"].values())
    if abs(peer_bytes - programs.bytes) > 0.001 * programs.bytes:
        raise Failure("%s and %s are different models: %d and %d bytes of tensors"
                      % (a.model, a.peer_model, programs.bytes, peer_bytes))


# --- rows with servers --------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path):
    """(status, body); (0, ...) while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as e:
        return 0, str(e).encode()
    finally:
        connection.close()


def process_tree(pid):
    """The process and what it started: a command put before the server's may have stayed its parent."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(name))
    found = [pid]
    for p in found:
        found += children.get(p, [])
    return found


class Server:
    """A server of either side, from its start to its end."""

    def __init__(self, command, port, ready):
        self.command, self.port = command, port
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self.wait_ready(ready)
        except BaseException:
            self.stop()
            raise

    def wait_ready(self, ready, patience=900):
        end = time.monotonic() + patience
        while True:
            status, body = get(self.port, ready)
            if status == 200:
                return
            try:
                # No event says that another's server is ready: ask it again, unless it ends meanwhile.
                code = self.process.wait(0.2)
                self.log.seek(0)
                raise Ended(code, self.command, self.log.read())
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() > end:
                raise Failure("%s is not ready after %d s: %s" % (shlex.join(self.command), patience, body[:200]))

    def said(self):
        self.log.seek(0)
        return tail(self.log.read())

    def memory(self):
        """MiB: peak resident (VmHWM), and what of the resident memory now is anonymous."""
        best = (0, 0)
        for pid in process_tree(self.process.pid):
            try:
                with open("/proc/%d/status" % pid) as f:
                    fields = dict(l.split(":", 1) for l in f)
                best = max(best, tuple(int(fields[k].split()[0]) / 1024 for k in ("VmHWM", "RssAnon")))
            except (OSError, KeyError):
                continue
        return best

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def start_ours(a, programs):
    port = free_port()
    command = [programs.ours("latentd"), "--model", a.model, "--port", str(port), "--threads", str(a.threads),
               "--scheduler.step-tokens", str(max(a.chunk, 256)), "--scheduler.max-running", str(a.parallel),
               "--max-context", str(a.context // a.parallel),
               "--engine.cache-blocks", str(a.context // BLOCK_TOKENS), "--log-level", "warn"]
    return Server(command, port, "/ready")


def start_peer(a, programs):
    port = free_port()
    command = programs.peer("llama-server") + [
        "-m", a.peer_model, "-t", str(a.threads), "-ub", str(a.chunk), "-c", str(a.context), "-np", str(a.parallel),
        "--host", "127.0.0.1", "--port", str(port)] + a.peer_options
    server = Server(command, port, "/health")
    try:
        same_file(a, programs, json.loads(get(port, "/v1/models")[1])["data"][0]["meta"]["size"])
    except (ValueError, LookupError, TypeError):
        pass  # this version doesn't tell
    except BaseException:
        server.stop()
        raise
    return server


def load(a, port, clients, requests, seed, tokens):
    command = [sys.executable, os.path.join(HERE, "load.py"), "http://127.0.0.1:%d" % port, "--json",
               "-c", str(clients), "-n", str(requests), "-w", str(a.words), "-t", str(tokens), "--seed", str(seed)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if not done.stdout:
        raise Failure("status %d of %s\n%s" % (done.returncode, shlex.join(command), tail(done.stderr)))
    got = json.loads(done.stdout)
    if got["errors"]:
        raise Failure("%d of %d requests failed, the first: %s" % (got["errors"], requests, got["first_error"]))
    if got["short"]:
        raise Failure("%d of %d answers are shorter than %d tokens: the servers would not do the same work"
                      % (got["short"], requests, tokens))
    return got


SERVER_METRICS = (  # of a row: name, unit, whether more is better
    ("tokens/s", lambda g: g["tokens_per_second"], True),
    ("first token p50, ms", lambda g: g["first_token_ms"]["p50"], False),
    ("first token p95, ms", lambda g: g["first_token_ms"]["p95"], False),
    ("between tokens p50, ms", lambda g: g["between_tokens_ms"]["p50"], False),
    ("between tokens p95, ms", lambda g: g["between_tokens_ms"]["p95"], False))


def serve(a, server, rows, number):
    """{name: value} of the server rows. Seeds differ from row to row and from round to round."""
    figures = {}
    try:
        # Both have touched their weights before it counts.
        load(a, server.port, 2, 2, 1000 * number, min(a.tokens, 8))
        for _, clients, _ in sorted(rows, key=lambda r: r[1]):
            got = load(a, server.port, clients, a.requests or max(32, 2 * clients), 1000 * number + clients, a.tokens)
            for name, value, _ in SERVER_METRICS:
                figures["server, %d clients: %s" % (clients, name)] = value(got)
        peak, anonymous = server.memory()
        figures["server, %d clients: peak resident memory, MiB" % clients] = peak
        figures["of it anonymous, at the end, MiB"] = anonymous
    except Failure as e:
        raise Failure("%s\n  with %s\n%s" % (e, shlex.join(server.command), server.said())) from None
    finally:
        server.stop()
    return figures


# --- rounds and the table -----------------------------------------------------------------------------


def row_name(row):
    if row[0] == "prompt":
        return "prompt of %d, tokens/s" % row[1]
    return "decode, batch %d%s, tokens/s" % (row[1], " at depth %d" % row[2] if row[2] else "")


def one_round(a, programs, number, note):
    """Each row by us, then by the peer; note(name, side, value) takes the figures."""
    for row in a.rows:
        if row[0] == "server":
            continue
        name = row_name(row)
        note(name, OURS, ours_bench(a, programs, row))
        theirs = llama_bench if row[0] == "prompt" or row[1] == 1 else llama_batched_bench
        note(name, PEER, theirs(a, programs, row))
    rows = [r for r in a.rows if r[0] == "server"]
    if rows:
        for side, start in ((OURS, start_ours), (PEER, start_peer)):
            for name, value in serve(a, start(a, programs), rows, number).items():
                note(name, side, value)


def median(values):
    values = sorted(values)
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def number_text(v):
    return "%.0f" % v if v >= 1000 else "%.1f" % v if v >= 10 else "%.2f" % v


def table(figures):
    lines = ["| work | %s | %s | ratio | rounds' ratios |" % (OURS, PEER), "|---|---|---|---|---|"]
    for name, sides in figures.items():
        pairs = [p for p in zip(sides[OURS], sides[PEER]) if p[0] is not None and p[1]]
        if not pairs:
            lines.append("| %s | - | - | - | - |" % name)
            continue
        ours, peer = (median(column) for column in zip(*pairs))
        ratios = [x / y for x, y in pairs]
        lines.append("| %s | %s | %s | %.2f | %.2f to %.2f |" % (
            name, number_text(ours), number_text(peer), ours / peer, min(ratios), max(ratios)))
    return "\n".join(lines)


def processor():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return "unknown processor"


def main():
    a = arguments()
    programs = Programs(a)
    load1 = os.getloadavg()[0]
    head = ["%s (%.2f GB), %s, %d threads; %s; %s" % (
        os.path.basename(a.model.rstrip("/")), os.path.getsize(a.model) / 1e9, processor(), a.threads,
        programs.versions[OURS], "llama.cpp " + programs.versions[PEER])]
    if any(r[0] == "server" for r in a.rows):
        head.append("Servers: %d tokens of context for %d sequences; requests of %d words in, %d tokens out."
                    % (a.context, a.parallel, a.words, a.tokens))
    if load1 > 0.5:
        say("compare: the load average is %.1f: other work is going on, the figures will suffer" % load1)
    figures, failure, rounds = {}, None, 0
    begin = time.monotonic()

    def note(name, side, value):
        figures.setdefault(name, {OURS: [], PEER: []})[side].append(value)
        say("%6.0f s  round %d of %d  %-10s %-52s %s" % (time.monotonic() - begin, rounds + 1, a.rounds, side, name,
                                                        "-" if value is None else number_text(value)))

    try:
        while rounds < a.rounds:
            one_round(a, programs, rounds + 1, note)
            rounds += 1
    except Failure as e:
        failure = str(e)
        if isinstance(e, Ended) and e.peer:
            failure += "\n  (it was given the model as %s; --peer-model if it is elsewhere for it)" % a.peer_model
    except KeyboardInterrupt:
        failure = "interrupted"
    if any(sides[PEER] for sides in figures.values()):
        print("\n".join(head))
        print("Medians of %d rounds that took turns%s.\n" % (rounds, ", and part of another" if failure else ""))
        print(table(figures))
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"model": a.model, "processor": processor(), "threads": a.threads, "load_average": load1,
                       "versions": programs.versions, "rounds": rounds, "figures": figures}, f, indent=1)
            f.write("\n")
    if failure:
        raise Failure(failure)


def stop(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except Failure as e:
        say("compare: %s" % e)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
