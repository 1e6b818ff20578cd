#!/usr/bin/env python3
# limit: 120
"""latentctl chat: the daemon's own answers, turn after turn, and clear errors."""
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import daemon
from daemon import equal

LATENTCTL = os.path.join(daemon.BUILDDIR, "latentctl")
TURNS = ["What is 12 + 30?", "and plus 5?", "My name is Kira.", "Who did I say I was?", "Repeat after me: äöü \"quoted\" \\ end"]


def chat(text, *options, model=daemon.MODEL):
    if isinstance(text, str):
        text = text.encode()
    done = subprocess.run([LATENTCTL, "chat", model, *options], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_same_answers_as_the_daemon():
    messages, wanted = [{"role": "system", "content": "Answer in one word."}], []
    with daemon.Server(backend="blas") as s:
        for line in TURNS:
            messages.append({"role": "user", "content": line})
            r = s.chat(messages=messages, temperature=0, max_tokens=40)
            equal(r.status, 200)
            answer = r.json["choices"][0]["message"]["content"]
            messages.append({"role": "assistant", "content": answer})
            wanted.append(answer)
    rc, out, err = chat("\n".join(TURNS) + "\n", "--temperature", "0", "--max-tokens", "40", "--system", "Answer in one word.")
    equal((rc, out, err), (0, "\n".join(wanted) + "\n", ""))
    return len(TURNS)


def test_seed():
    text = "Tell me a story.\n"
    first = chat(text, "--seed", "5", "--temperature", "1.5")
    equal(first[0], 0)
    assert first[1].strip(), first
    equal(chat(text, "--seed", "5", "--temperature", "1.5"), first)
    assert any(chat(text, "--seed", str(seed), "--temperature", "1.5") != first for seed in range(6, 12))


def test_cache_between_turns():
    """What the conversation so far left in the cache is not computed again."""
    rc, out, err = chat("\n".join(TURNS) + "\n", "--temp", "0", "-n", "40", "--stats")
    equal(rc, 0, err)
    turns = [tuple(map(int, t)) for t in re.findall(r"prompt: (\d+) tokens, (\d+) of them cached, .* answer: (\d+) tokens", err)]
    equal(len(turns), len(TURNS), err)
    equal(turns[0][1], 0, err)
    for (prompt, _, _), (_, cached, _) in zip(turns, turns[1:]):
        assert cached >= prompt, err
    # The same words, whatever the steps they were computed in.
    small = chat("\n".join(TURNS) + "\n", "--temp", "0", "-n", "40", "--chunk", "3", "--attention", "absorbed")
    equal((small[0], small[1]), (0, out))
    return len(TURNS)


class Terminal:
    """latentctl chat at a pseudo-terminal."""

    def __init__(self, model, *options):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.execv(LATENTCTL, [LATENTCTL, "chat", model, *options])
            finally:
                os._exit(127)
        self.seen = ""

    def wait(self, pattern):
        """Reads on until `pattern` matches what has not been matched yet; returns the match's text. None: to the end."""
        end = time.monotonic() + daemon.PATIENCE
        while True:
            m = re.search(pattern, self.seen) if pattern else None
            if m:
                self.seen = self.seen[m.end():]
                return m.group()
            left = end - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], "no %r in %r" % (pattern, self.seen)
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # Linux: the other side is closed
                data = b""
            if not data:
                assert pattern is None, "ended without %r: %r" % (pattern, self.seen)
                return self.seen
            self.seen += data.decode(errors="replace")

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        """The exit status; what came last is in `seen`."""
        self.wait(None)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def endless_model(folder):
    """The model without an end: its end-of-sequence ids name tokens that it never draws."""
    for name in os.listdir(daemon.MODEL):
        os.symlink(os.path.abspath(os.path.join(daemon.MODEL, name)), os.path.join(folder, name))
    for name, changes in (("config.json", {"eos_token_id": 2}), ("generation_config.json", {"eos_token_id": 2}),
                          ("tokenizer_config.json", {"eos_token": "<｜▁pad▁｜>"})):
        path = os.path.join(folder, name)
        with open(path, encoding="utf-8") as f:
            values = json.load(f)
        os.unlink(path)
        with open(path, "w") as f:
            json.dump({**values, **changes}, f)
    return folder


def test_terminal():
    with tempfile.TemporaryDirectory(prefix="lt-it-") as folder:
        t = Terminal(endless_model(folder), "--temperature", "1", "--seed", "1", "--stats")
        for cached in ("0", "[1-9]\\d*"):  # after the first Ctrl-C the talk goes on
            t.wait("> ")
            t.type("What is 12 + 30?\n")
            t.wait("30\\?\r\n.+")  # it has begun to answer
            t.type("\x03")
            stats = t.wait(r"prompt: \d+ tokens, %s of them cached, .* answer: \d+ tokens" % cached)
            assert int(stats.split()[-2]) < 4000, stats
        t.wait("> ")
        t.type("\x03")
        equal(t.end(), 0)
    return 3


def test_terminal_end_of_file():
    t = Terminal(daemon.MODEL, "--temperature", "0")
    t.wait("^> ")
    t.type("What is 12 + 30?\n")
    t.wait("\r\n42\r\n> ")
    t.type("\x04")
    equal(t.end(), 0)
    # A turn that can't be is said, and the talk goes on.
    t = Terminal(daemon.MODEL, "--temperature", "0", "--context", "24")
    t.wait("^> ")
    t.type("one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen\n")
    t.wait("--context")
    t.wait("> ")
    t.type("What is 12 + 30?\n")
    t.wait("\r\n42\r\n> ")
    t.type("\x03")
    equal(t.end(), 0)
    return 4


def test_errors():
    bare = os.path.join(daemon.SRCDIR, "test", "fixtures", "checkpoints", "v3")
    for what, status, said in (
            (chat("", model=bare), 1, "tokenizer"), (chat("", model="/nonexistent"), 1, "/nonexistent"),
            (chat(b"a\xff\n"), 1, "UTF-8"), (chat("hello\n", "--context", "4"), 1, "--context"),
            (chat("", "--temperature", "9"), 2, "--temperature"), (chat("", "--backend", "null"), 1, "null"),
            (chat("", "--chat-template-file", "/nonexistent"), 1, "/nonexistent"), (chat("", "--nonsense"), 2, "usage")):
        equal(what[0], status, what)
        assert said in what[2], what
    return 8


def test_full_context():
    text = "Repeat after me: one two three\n"
    _, _, err = chat(text, "--context", "2")
    room = int(re.search(r"has (\d+) tokens", err)[1]) + 1  # for one token of the answer
    rc, out, err = chat(text, "--context", str(room), "--temperature", "0")
    equal(rc, 0, err)
    assert "the context of %d tokens is full" % room in err, err


daemon.run(sys.modules[__name__])
