#!/usr/bin/env bash
# Runs the build commands of Dockerfile.cuda in a clean copy of the last commit, and checks that all that
# its last stage copies is there. No container engine: apt-get is left out, so what it would install must
# be here. A release build: 15 minutes on 2 cores; variables CARGO_PROFILE_RELEASE_* can make it a quick one.
set -euo pipefail
cd "$(dirname "$0")/.."
clean="$(mktemp -d)"
trap 'rm -rf "$clean" /tmp/cublaslt /tmp/venv' EXIT
git archive HEAD | tar -x -C "$clean"
cargo="$(dirname "$(command -v cargo)")"
python3 - "$clean" "$cargo" <<'PYTHON'
import os, pathlib, re, subprocess, sys
clean, cargo = sys.argv[1:]
text = pathlib.Path(clean, "Dockerfile.cuda").read_text().replace("\\\n", " ")
build, last = re.split(r"^FROM .*$", text, flags=re.M)[1:]
for command in re.findall(r"^RUN (.*)$", build, flags=re.M):
    if command.startswith("apt-get"):
        continue
    print("+", command, flush=True)
    environment = {"PATH": f"/tmp/venv/bin:{cargo}:/usr/bin:/bin", "HOME": str(pathlib.Path.home())}
    environment |= {k: v for k, v in os.environ.items() if k.startswith("CARGO_PROFILE_RELEASE_")}
    subprocess.run(command, shell=True, check=True, cwd=clean, env=environment)
copies = re.findall(r"^COPY --from=build (\S+)", last, flags=re.M)
assert len(copies) >= 3, copies
for source in copies:
    found = pathlib.Path(source.replace("/src", clean, 1))
    assert found.exists() and (found.is_file() or any(found.iterdir())), f"{source} was not made"
    print("found", source)
PYTHON
"$clean/target/release/portcullis" check --package "$clean/models/portcullis-minilm-l6" hello
