#!/bin/sh
# latentd beside llama.cpp on one model file; compare.py does it and says how (--help).
set -eu
command -v python3 >/dev/null || { echo 'compare.sh: python3 is missing' >&2; exit 1; }
exec python3 "$(dirname "$0")/compare.py" "$@"
