"""Reading, changing and writing checkpoints, with the standard library alone: what the scripts beside
this file need to make good and bad ones. A safetensors file is a dict name -> Tensor, in file order; a
GGUF file is a Gguf. Writers take overrides for every number that they would compute."""
import json
import os
import struct
import subprocess
import sys

SRCDIR = os.environ.get("LT_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILDDIR = os.environ.get("LT_BUILDDIR", ".")
FIXTURES = os.path.join(SRCDIR, "test", "fixtures")
PROGRAM = os.path.join(BUILDDIR, "test", "fault", "open-checkpoint")
BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
         "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U8": 1, "I8": 1, "BOOL": 1}


class Tensor:
    def __init__(self, dtype, shape, data, **override):
        self.dtype, self.shape, self.data, self.override = dtype, list(shape), data, override

    def copy(self):
        return Tensor(self.dtype, self.shape, self.data, **self.override)


def count(shape):
    n = 1
    for x in shape:
        n *= x
    return n


def zeros(dtype, shape):
    """A tensor of plausible bytes: small positive numbers in every float type."""
    return Tensor(dtype, shape, b"\x38" * (count(shape) * BYTES[dtype]))


def read_safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + n])
    out = {}
    for name, t in sorted(((k, v) for k, v in header.items() if k != "__metadata__"), key=lambda x: x[1]["data_offsets"]):
        b, e = t["data_offsets"]
        out[name] = Tensor(t["dtype"], t["shape"], raw[8 + n + b:8 + n + e])
    return out


def header_of(tensors):
    """The header as a dict, and the data."""
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": [at, at + len(t.data)], **t.override}
        data.append(t.data)
        at += len(t.data)
    return header, b"".join(data)


def write_safetensors(path, tensors, text=None, length=None, tail=b""):
    header, data = header_of(tensors)
    head = json.dumps(header).encode() if text is None else text
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head) if length is None else length) + head + data + tail)


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f)


# GGUF kinds: code, struct letter
KINDS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"),
         "bool": (7, "B"), "string": (8, ""), "array": (9, ""), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}
CODES = {v[0]: k for k, v in KINDS.items()}


def pack_string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


class Key:
    """One metadata key; `raw` replaces the bytes of kind and value, `key_raw` those of the key."""
    def __init__(self, key, kind, value, raw=None, key_raw=None):
        self.key, self.kind, self.value, self.raw, self.key_raw = key, kind, value, raw, key_raw

    def pack(self):
        head = pack_string(self.key) if self.key_raw is None else self.key_raw
        if self.raw is not None:
            return head + self.raw
        code, letter = KINDS[self.kind]
        if self.kind == "string":
            return head + struct.pack("<I", code) + pack_string(self.value)
        if self.kind == "array":
            kind, items = self.value
            c, l = KINDS[kind]
            body = b"".join(pack_string(x) if kind == "string" else struct.pack("<" + l, x) for x in items)
            return head + struct.pack("<IIQ", code, c, len(items)) + body
        return head + struct.pack("<I" + letter, code, self.value)


class Row:
    """One tensor; any field may be overridden after `offset` was computed."""
    def __init__(self, name, ne, type_id, data):
        self.name, self.ne, self.type_id, self.data = name, list(ne), type_id, data
        self.offset = self.n_dims = self.name_raw = None


class Gguf:
    def __init__(self, path=None):
        self.version, self.n_tensors, self.n_keys, self.magic = 3, None, None, b"GGUF"
        self.keys, self.rows, self.align = [], [], 32
        if path:
            self.read(open(path, "rb").read())

    def copy(self):
        g = Gguf()
        g.__dict__.update(self.__dict__)
        g.keys = [Key(k.key, k.kind, k.value) for k in self.keys]
        g.rows = [Row(r.name, r.ne, r.type_id, r.data) for r in self.rows]
        return g

    def read(self, raw):
        at = 4

        def take(fmt):
            nonlocal at
            v = struct.unpack_from("<" + fmt, raw, at)
            at += struct.calcsize("<" + fmt)
            return v[0] if len(v) == 1 else v

        def string():
            nonlocal at
            n = take("Q")
            at += n
            return raw[at - n:at]

        def value(kind):
            if kind == "string":
                return string()
            if kind == "array":
                c, n = take("I"), take("Q")
                return CODES[c], [value(CODES[c]) for _ in range(n)]
            return take(KINDS[kind][1])

        self.version, n_tensors, n_keys = take("I"), take("Q"), take("Q")
        for _ in range(n_keys):
            key = string().decode()
            kind = CODES[take("I")]
            self.keys.append(Key(key, kind, value(kind)))
        rows = []
        for _ in range(n_tensors):
            name, n = string().decode(), take("I")
            rows.append((name, [take("Q") for _ in range(n)], take("I"), take("Q")))
        start = at + -at % self.align
        ends = sorted(r[3] for r in rows) + [len(raw) - start]
        for name, ne, type_id, offset in rows:
            end = ends[ends.index(offset) + 1]
            self.rows.append(Row(name, ne, type_id, raw[start + offset:start + end]))

    def key(self, name):
        return next(k for k in self.keys if k.key == name)

    def row(self, name):
        return next(r for r in self.rows if r.name == name)

    def set(self, name, kind, value):
        self.keys = [k for k in self.keys if k.key != name] + [Key(name, kind, value)]

    def drop(self, name):
        self.keys = [k for k in self.keys if k.key != name]
        self.rows = [r for r in self.rows if r.name != name]

    def pack(self):
        head = self.magic + struct.pack("<IQQ", self.version, len(self.rows) if self.n_tensors is None else self.n_tensors,
                                        len(self.keys) if self.n_keys is None else self.n_keys)
        head += b"".join(k.pack() for k in self.keys)
        at, data = 0, []
        for r in self.rows:
            name = pack_string(r.name) if r.name_raw is None else r.name_raw
            head += name + struct.pack("<I", len(r.ne) if r.n_dims is None else r.n_dims)
            head += b"".join(struct.pack("<Q", x) for x in r.ne)
            head += struct.pack("<IQ", r.type_id, at if r.offset is None else r.offset)
            body = r.data + b"\0" * (-len(r.data) % self.align)
            data.append(body)
            at += len(body)
        return head + b"\0" * (-len(head) % self.align) + b"".join(data)

    def write(self, path):
        with open(path, "wb") as f:
            f.write(self.pack())


def call(*args):
    """Exit status, output, standard error."""
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def run(*args):
    """open-checkpoint: exit status, first line, peak heap (-1: not measured), whole output, standard error."""
    rc, out, err = call(PROGRAM, *args)
    line, _, peak = out.partition("\n")[0].rpartition("\t")
    return rc, line, int(peak or -1), out, err


def size_of(path):
    """Bytes of the file, of the parts of a split one, or of all files in a folder."""
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path) if os.path.isfile(os.path.join(path, f)))
    folder = os.path.dirname(path)
    return size_of(folder) if "-of-" in path else os.path.getsize(path) if os.path.isfile(path) else 0


def fixtures_extra():
    """The folder of further fixtures, or None."""
    path = os.environ.get("LT_FIXTURES", os.path.join(SRCDIR, "..", "shared", "fixtures"))
    return path if os.path.isdir(os.path.join(path, "checkpoints")) else None
