"""Looks at what deploy/ holds: Kubernetes' own schemas, and a parser of Prometheus' language.

    python deploy.py FOLDER METRIC...      # the metrics that there are
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import kubernetes_validate
import promql_parser
import yaml

folder, known = pathlib.Path(sys.argv[1]), set(sys.argv[2:])

documents = []
for file in sorted(folder.glob("kubernetes*/*.yaml")):
    for document in yaml.safe_load_all(file.read_text()):
        if document["kind"] == "Kustomization":
            for name in document["resources"] + [f for g in document.get("configMapGenerator", []) for f in g["files"]]:
                assert (file.parent / name).exists(), f"{file}: {name}"
            continue
        kubernetes_validate.validate(document, "1.34", strict=True)
        documents.append(document["kind"])

# kubectl builds both, where it is installed.
if kubectl := shutil.which("kubectl"):
    for name in ("kubernetes", "kubernetes-cpu"):
        built = subprocess.run([kubectl, "kustomize", folder / name], capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
        for document in yaml.safe_load_all(built.stdout):
            kubernetes_validate.validate(document, "1.34", strict=True)
# Everything that a container mounts is there, and what selects the pods selects them.
pod = yaml.safe_load((folder / "kubernetes/deployment.yaml").read_text())["spec"]["template"]
mounts = {mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}
for name, at in (("service", ("selector",)), ("disruption", ("selector", "matchLabels")), ("network", ("podSelector", "matchLabels"))):
    selector = yaml.safe_load((folder / f"kubernetes/{name}.yaml").read_text())["spec"]
    for key in at:
        selector = selector[key]
    assert selector.items() <= pod["metadata"]["labels"].items(), name
# The overlay takes away what is there.
patches = yaml.safe_load((folder / "kubernetes-cpu/kustomization.yaml").read_text())["patches"]
for operation in (o for patch in patches for o in yaml.safe_load(patch["patch"]) if o["op"] == "remove"):
    at = {"spec": {"template": pod}}
    for key in operation["path"].strip("/").split("/"):
        at = at[int(key)] if key.isdigit() else at[key.replace("~1", "/")]


rules = yaml.safe_load((folder / "prometheus/alerts.yaml").read_text())
expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
dashboard = json.loads((folder / "grafana/portcullis.json").read_text())
shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
expressions += [expr.replace("$__rate_interval", "5m") for expr in shown]
read = set()
for expression in expressions:
    promql_parser.parse(expression)
    found = set(re.findall(r"portcullis_\w+", expression))
    assert found, expression
    read |= found
bare = {name.removesuffix("_bucket").removesuffix("_count") for name in read}
print(json.dumps({"documents": documents, "unknown": sorted(bare - known), "unread": sorted(known - bare)}))
