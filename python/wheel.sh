#!/usr/bin/env bash
# A wheel for others: for this processor and any Linux with glibc 2.28 or newer. zig is the linker
# and the C compiler, since it knows the symbols of every glibc; it comes from PyPI, like maturin.
#
#     python/wheel.sh [PROFILE]          # release, unless another one of Cargo's is named
set -euo pipefail
cd "$(dirname "$0")/.."
profile="${1:-release}"
tools=target/wheel-tools
if [ ! -x "$tools/bin/maturin" ] || [ ! -x "$tools/bin/python" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet 'maturin[zig]>=1.9,<2'
fi
PATH="$PWD/$tools/bin:$PATH" maturin build --manifest-path python/Cargo.toml --profile "$profile" \
    --zig --compatibility manylinux_2_28 --out dist
python3 python/glibc.py "$(ls -t dist/djr-*.whl | head -n 1)" 2.28
