#!/usr/bin/env python3
# limit: 120
"""latentctl chat: the daemon's own answers, turn after turn, and clear errors."""
import os
import re
import subprocess
import sys

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
