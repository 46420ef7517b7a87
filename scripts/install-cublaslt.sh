#!/usr/bin/env bash
# Puts cublasLt, the one CUDA library that the server loads beside the driver, into directory $1, from
# NVIDIA's wheel.
set -euo pipefail
to="${1:?usage: scripts/install-cublaslt.sh DIRECTORY}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" nvidia-cublas==13.0.2.14
mkdir -p "$to"
python3 - "$work" "$to" <<'PYTHON'
import pathlib, shutil, sys, zipfile
work, to = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
    for name in wheel.namelist():
        if pathlib.Path(name).name.startswith("libcublasLt.so"):
            with wheel.open(name) as source, open(to / pathlib.Path(name).name, "wb") as target:
                shutil.copyfileobj(source, target)
PYTHON
ls -l "$to"
