#!/usr/bin/env bash
# The tests of the wheel: it is built, installed offline into an empty environment, and tried there;
# then once more beside the packages that hand it tables, where those can be had.
#
#     python/test.sh [WHEEL]             # one that is built already
#
# DJR_BINARY names the program to hold its bytes against; DJR_PYTHONS further Pythons to try it on.
set -euo pipefail
cd "$(dirname "$0")/.."
place="$(mktemp -d)"
trap 'rm -r "$place"' EXIT
export DJR_BINARY="${DJR_BINARY:-$([ -x target/debug/djr ] && echo "$PWD/target/debug/djr" || true)}"
wheel="${1:-}"
if [ -z "$wheel" ]; then
    python3 -m venv "$place/tools"
    if ! "$place/tools/bin/pip" install --quiet 'maturin>=1.9,<2'; then
        echo "maturin is not to be had: the wheel is not tried"
        exit
    fi
    # As fast as it is built: the crates of `cargo test` serve again.
    "$place/tools/bin/maturin" build --quiet --profile dev --manifest-path python/Cargo.toml --out "$place"
    wheel="$(ls "$place"/djr-*.whl)"
fi
for python in python3 ${DJR_PYTHONS:-}; do
    echo "== $("$python" --version), nothing else installed"
    rm -rf "$place/plain"
    "$python" -m venv "$place/plain"
    "$place/plain/bin/pip" install --quiet --no-index "$wheel"
    (cd python/tests && "$place/plain/bin/python" -B -m unittest -b)
done
echo "== beside Ray"
python3 -m venv "$place/ray"
if "$place/ray/bin/pip" install --quiet ray pyarrow; then
    "$place/ray/bin/pip" install --quiet --no-index --no-deps "$wheel"
    (cd python/tests && "$place/ray/bin/python" -B -m unittest -b test_ray test_docs)
else
    echo "Ray is not to be had: it is not tried"
fi
echo "== beside pyarrow, pandas, polars, DuckDB, datasets and matplotlib"
python3 -m venv "$place/beside"
if "$place/beside/bin/pip" install --quiet pyarrow pandas polars duckdb datasets matplotlib; then
    "$place/beside/bin/pip" install --quiet --no-index --no-deps "$wheel"
    (cd python/tests && "$place/beside/bin/python" -B -m unittest -b test_tables test_docs)
else
    echo "they are not to be had: tables are not tried"
fi
