#!/usr/bin/env python3
"""Write model/unicode-runs.c: the general category of every code point, as runs.
usage: make-unicode.py > model/unicode-runs.c
Takes the newest character database at hand: the module unicodedata2 (PyPI, its version is that of
Unicode), else Python's own unicodedata. Pre-tokenizers are defined by these categories, so the
version should be the one that the reference library (Hugging Face tokenizers) is built with."""
import sys
try:
    import unicodedata2 as db
except ImportError:
    import unicodedata as db

# The order of enum mdl_category in model/unicode.h.
NAMES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()

runs, before = [], None
for cp in range(0x110000):
    category = NAMES.index(db.category(chr(cp)))
    if category != before:
        runs.append(cp << 8 | category)
    before = category
out = sys.stdout
out.write(f"""/*
 * Written by tools/make-unicode.py from Unicode {db.unidata_version}: do not edit. Each entry begins a run of code
 * points: first code point << 8 | enum mdl_category; the run ends where the next one begins.
 */
#include "model/unicode.h"

// clang-format off
const uint32_t mdl_unicode_runs[MDL_UNICODE_RUNS] = {{
""")
for i in range(0, len(runs), 10):
    out.write("\t" + " ".join(f"{r:#x}," for r in runs[i:i + 10]) + "\n")
out.write("};\n// clang-format on\n")
if len(runs) != 4099:
    sys.exit(f"MDL_UNICODE_RUNS in model/unicode.h has to be {len(runs)}")
