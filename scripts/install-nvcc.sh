#!/usr/bin/env bash
# Installs the CUDA compiler that `--features cuda` needs into .cache/cuda, from NVIDIA's wheels: about 105
# MB to download, 280 MB on disk, no root, no GPU. build.rs finds it there. Does nothing when it is there.
#
# cuobjdump and nvdisasm, for reading machine code, come along with --tools.
set -euo pipefail
cd "$(dirname "$0")/.."

wheels=(
    nvidia-cuda-nvcc==13.0.88
    nvidia-cuda-crt==13.0.88
    nvidia-nvvm==13.0.88
    nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85
)
stamp="${wheels[*]}"
if [ "${1:-}" = --tools ]; then
    wheels+=(nvidia-cuda-cuobjdump==13.2.51 nvidia-cuda-nvdisasm==13.2.51)
    stamp="${wheels[*]}"
fi
home=.cache/cuda
installed="$(cat "$home/wheels" 2>/dev/null || true)"
case "$installed" in "$stamp"*) exit 0 ;; esac

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# Their own requirements are not pinned and would mix versions.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work/wheels" "${wheels[@]}"
python3 - "$work" <<'PYTHON'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
for wheel in (work / "wheels").glob("*.whl"):
    zipfile.ZipFile(wheel).extractall(work / "unpacked")
PYTHON
cuda="$work/unpacked/nvidia/cu13"
chmod a+rx "$cuda"/bin/* "$cuda"/nvvm/bin/*
ln -sfn lib "$cuda/lib64"
rm -rf "$home"
mkdir -p "$(dirname "$home")"
mv "$cuda" "$home"
echo "$stamp" >"$home/wheels"
"$home/bin/nvcc" --version | tail -2
