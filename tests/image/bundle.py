#!/usr/bin/python3
"""Makes of a container in a manifest what kubelet would tell runc of it (config.json of an OCI bundle), as far as privileges go:
user, capabilities, noNewPrivileges, a read-only root, and its hostPath volumes, which are looked for below HOST.

    bundle.py MANIFEST ROOTFS HOST ENTRYPOINT... < `runc spec` > config.json
"""

import json
import sys

import yaml

manifest, rootfs, host, *entrypoint = sys.argv[1:]
with open(manifest, encoding="utf-8") as file:
    pod = yaml.safe_load(file)["spec"]["template"]["spec"]
(container,) = pod["containers"]
context = container["securityContext"]
config = json.load(sys.stdin)

# what this does not know, it must not leave out in silence
known = {
    "runAsUser", "runAsGroup", "privileged", "allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities",
    "seccompProfile",
}
assert set(context) <= known, set(context) - known
assert context["privileged"] is False
assert context["capabilities"] == {"drop": ["ALL"]}, context["capabilities"]

process = config["process"]
process["terminal"] = False
process["args"] = entrypoint + container["args"]
process["user"] = {"uid": context["runAsUser"], "gid": context["runAsGroup"]}
process["capabilities"] = {}
process["noNewPrivileges"] = not context["allowPrivilegeEscalation"]
config["root"] = {"path": rootfs, "readonly": context["readOnlyRootFilesystem"]}

volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
for mount in container["volumeMounts"]:
    config["mounts"].append(
        {
            "destination": mount["mountPath"],
            "source": host + volumes[mount["name"]],
            "type": "bind",
            "options": ["rbind", "rprivate", "ro" if mount.get("readOnly") else "rw"],
        }
    )
json.dump(config, sys.stdout)
