#!/usr/bin/env bash
# Installs the peers into a folder outside the repository:
#
#   benches/peers/install.sh DIR [PEER ...]
#
# PEER: python (PyTorch, Keras on TensorFlow, ONNX Runtime: 3 GB), rustyml, gemm, matrixmultiply, candle, burn.
# Without PEER: all. Building burn takes about 15 minutes of CPU time, candle 4, the others 1 or 2.
# What is left out is skipped by compare.py, which says so. It can be called again: cargo goes on where it stopped.
set -euo pipefail
dir=$(realpath -m "${1:?usage: install.sh DIR [PEER ...]}")
shift
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || set -- python rustyml gemm matrixmultiply candle burn
[ -x "$dir/bin/python" ] || python3 -m venv "$dir"
for peer; do
    if [ "$peer" = python ]; then
        "$dir/bin/python" -m pip install --requirement "$here/requirements.txt"
    else
        # shellcheck disable=SC2086 # CARGO_FLAGS is a list, such as -j1
        cargo build --release --locked ${CARGO_FLAGS:-} --manifest-path "$here/rust/Cargo.toml" \
            --target-dir "$dir/rust" --features "$peer" --bin "$peer"
    fi
done
