#!/usr/bin/env python3
"""What whole calls of the plugin cost for pods without a VF, side by side with Go plugins and with the least that such a process
can take.

scripts/bench runs this as root, in network and mount namespaces of its own; docs/performance.md tells what came of it.

    process.py PLUGIN EMULATOR LAUNCH FLOOR WORK     a line of JSON for each row, for report.py
"""
import json
import statistics
import subprocess
import sys

from harness import GO_PLUGINS, PODS, SOCKETS, World, batch, crowd, peers, rounds, row, sh, traced

ROUNDS = 7


def ours(world, socket):
    conf = world.conf("ours", {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": socket})
    return lambda verb, pod: world.job(conf, world.plugin, verb, pod)


def floor(world, socket):
    body = {"pod_name": "pod1", "pod_namespace": "default", "container_id": "container000000000001", "net_ns": "/run/netns/pod1",
            "ifname": "eth0", "provider": "ovn"}
    conf = world.conf("floor", body)
    return lambda verb, pod: world.job(conf, world.floor, verb, pod, more=[f"FLOOR_SOCKET={socket}"])


def host_device(world):
    batch([f"link add host{pod} type veth peer name peer{pod}" for pod in range(PODS)])
    confs = [world.conf(f"device{pod}", {"cniVersion": "0.4.0", "name": "device", "type": "host-device", "device": f"host{pod}"})
             for pod in range(PODS)]
    return lambda verb, pod: world.job(confs[pod], f"{GO_PLUGINS}/host-device", verb, pod, "net1")


def ptp(world):
    confs = [world.conf(f"ptp{pod}", {"cniVersion": "0.4.0", "name": "ptp", "type": "ptp", "ipam": {
        "type": "static", "addresses": [{"address": f"10.9.{pod}.2/24", "gateway": f"10.9.{pod}.1"}]}})
        for pod in range(PODS)]
    return lambda verb, pod: world.job(confs[pod], f"{GO_PLUGINS}/ptp", verb, pod, "net2")


def peer(world, name, program, text, socket):
    """A peer whose netconf names no VF."""
    conf = world.conf(f"peer-{name}", json.loads(text.replace("{socket}", socket)))
    return lambda verb, pod: world.job(conf, program, verb, pod, "net3")


def versions(world):
    """VERSION of all, in turns."""
    conf = world.conf("version", {"cniVersion": "1.0.0"})
    programs = {"empty": f"{world.work}/empty", "ours": world.plugin,
                "host-device": f"{GO_PLUGINS}/host-device", "ptp": f"{GO_PLUGINS}/ptp",
                **{name: program for name, program, _ in peers()}}
    samples = {who: [] for who in programs}
    ratios = {who: [] for who in programs}
    for _ in range(ROUNDS):
        means = {}
        for who, program in programs.items():
            got, _ = world.run([world.job(conf, program, "VERSION", 0)] * 20)
            samples[who] += got
            means[who] = statistics.median(wall for wall, _, _ in got)
        for who in programs:
            ratios[who].append(means[who] / means["empty"])
    for who in programs:
        row("version", "VERSION", who, samples[who], ratio=sorted(ratios[who]))


def status(world, socket):
    """STATUS against VERSION, Open vSwitch running."""
    conf = world.conf("status", {"cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": socket})
    samples, ratios, base = [], [], []
    for _ in range(ROUNDS):
        version, _ = world.run([world.job(conf, world.plugin, "VERSION", 0)] * 20)
        got, _ = world.run([world.job(conf, world.plugin, "STATUS", 0)] * 20)
        base += version
        samples += got
        ratios.append(statistics.median(w for w, _, _ in got) / statistics.median(w for w, _, _ in version))
    row("status", "STATUS", "ours", samples, ratio=sorted(ratios), to_version=min(s[0] for s in samples) / min(s[0] for s in base))


def open_vswitch(world):
    """An Open vSwitch without datapath, for STATUS."""
    world.ovsdb()
    sh(f"ovs-vswitchd --disable-system --pidfile={SOCKETS}/ovs-vswitchd.pid --detach --no-chdir --log-file=/dev/null && "
       "ovs-vsctl --timeout=60 add-br br-int -- set bridge br-int datapath_type=netdev", stderr=subprocess.DEVNULL)
    world.note("ovs-vswitchd")


def measure(*paths):
    world = World(*paths)
    try:
        socket = world.daemon("kube-ovn-daemon")
        versions(world)
        open_vswitch(world)
        status(world, socket)
        sides = {"ours": ours(world, socket), "host-device": host_device(world), "ptp": ptp(world), "floor": floor(world, socket)}
        for name, program, text in peers():
            if text and "{device}" not in text:
                sides[name] = peer(world, name, program, text, socket)
        there = 0
        for netdevs in (10, 2000):
            batch([f"link add other{i} type veth peer name other{i + 1}" for i in range(there, netdevs, 2)])
            there = netdevs
            for at_a_time, pods in ((1, 8), (16, 16), (64, 64)) if netdevs == 10 else ((1, 8),):
                rounds(world, "veth", sides, range(pods), at_a_time, ROUNDS if at_a_time == 1 else 3, netdevs=netdevs)
            for who, job in sides.items():
                for verb in ("ADD", "DEL"):
                    print(json.dumps({"kind": "calls", "what": verb, "who": who, "netdevs": netdevs,
                                      **traced(world, who, job(verb, 0), verb)}), flush=True)
        crowd(world, "veth", lambda silent: ours(world, silent))
    finally:
        world.end()


if __name__ == "__main__":
    measure(*sys.argv[1:6])
