#!/usr/bin/env python3
"""What whole calls of the plugin cost, side by side with Go plugins and with the least that such a process can take.

scripts/bench runs this as root, in network and mount namespaces of its own; docs/performance.md tells what came of it.

    process.py measure PLUGIN EMULATOR LAUNCH WORK   a line of JSON for each row
    process.py report ROWS SVG                       the table, the plot and the budgets; 1 when one is broken
"""
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

ROUNDS = 7
PODS = 64
GO_PLUGINS = "/usr/lib/cni"
SOCKET = "/run/openvswitch/kube-ovn-daemon.sock"
MEMORY_LIMIT, NEIGHBOUR = 50 << 20, 25


# ---------------------------------------------------------------- the world

def sh(command, **more):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, **more)


def batch(lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


class World:
    """Namespaces for pods, a daemon that answers at once, and netdevs of the host."""

    def __init__(self, plugin, emulator, launch, work):
        self.plugin, self.launch, self.work = plugin, launch, work
        self.netdevs = 0
        # mount and network namespace are ours alone: scripts/bench
        sh("mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/openvswitch && ip link set lo up")
        batch([f"netns add pod{i}" for i in range(PODS)])
        pods = {}
        for i in range(PODS):
            pods[f"default/pod{i}"] = {"ovn": {
                "ip": f"10.16.0.{i + 5}", "mac": "00:00:00:AA:BB:CC", "cidr": "10.16.0.0/16", "gateway": "10.16.0.1",
                "default_route": True, "mtu": 1400, "subnet": "ovn-default", "gateway_check": True, "routes": [],
                "allocated": True, "routed": True}}
        with open(f"{work}/pods.json", "w") as file:
            json.dump(pods, file)
        self.daemon = subprocess.Popen(
            [emulator, "--socket", SOCKET, "--pods", f"{work}/pods.json", "--ready-file", f"{work}/ready",
             "--answer-at-once"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(f"{work}/ready"):
            if self.daemon.poll() is not None:
                sys.exit("process.py: the emulated daemon does not start")
            time.sleep(0.05)

    def grow(self, netdevs):
        batch([f"link add other{i} type veth peer name other{i + 1}" for i in range(self.netdevs, netdevs, 2)])
        self.netdevs = netdevs

    def conf(self, name, content):
        path = f"{self.work}/{name}.json"
        with open(path, "w") as file:
            json.dump(content, file)
        return path

    def job(self, conf, program, verb, pod, ifname="eth0", more=()):
        words = [conf, program, f"CNI_COMMAND={verb}", f"CNI_CONTAINERID=container{pod:012}", f"CNI_IFNAME={ifname}",
                 f"CNI_PATH={GO_PLUGINS}", f"CNI_NETNS=/run/netns/pod{pod}", f"PATH={os.environ['PATH']}",
                 f"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod{pod};K8S_POD_INFRA_CONTAINER_ID=container{pod:012}",
                 *more]
        return "\t".join(words)

    def run(self, jobs, at_a_time=1):
        """Runs jobs; gives (wall, CPU, peak) of each in seconds and bytes, and the wall time of all together."""
        start = time.monotonic()
        output = subprocess.run([self.launch, "run", str(at_a_time)], input="\n".join(jobs), text=True, check=True,
                                stdout=subprocess.PIPE).stdout
        whole = time.monotonic() - start
        results = []
        for line in output.splitlines():
            wall, cpu, peak, status = map(int, line.split())
            if status:
                words = jobs[0].split("\t")
                with open(words[0]) as stdin:
                    again = subprocess.run(words[1:2], stdin=stdin, env=dict(word.split("=", 1) for word in words[2:]),
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
                sys.exit(f"process.py: {words[1:4]} or one of its kind ended with {status}; once more it says:\n"
                         f"{again.stdout.decode(errors='replace')}")
            results.append((wall / 1e9, cpu / 1e6, peak * 1024))
        return results, whole


def ours(world):
    conf = world.conf("ours", {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET})
    return lambda verb, pod: world.job(conf, world.plugin, verb, pod)


def floor(world):
    body = {"pod_name": "pod1", "pod_namespace": "default", "container_id": "container000000000001", "net_ns": "/run/netns/pod1",
            "ifname": "eth0", "provider": "ovn"}
    conf = world.conf("floor", body)
    return lambda verb, pod: world.job(conf, world.launch, verb, pod, more=[f"FLOOR_SOCKET={SOCKET}"])


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


# ---------------------------------------------------------------- measuring

def summary(samples):
    """Median, least and greatest of each of wall, CPU and peak."""
    names = ("wall", "cpu", "peak")
    return {name: [f(s[i] for s in samples) for f in (statistics.median, min, max)] for i, name in enumerate(names)}


def row(kind, what, who, samples, **more):
    print(json.dumps({"kind": kind, "what": what, "who": who, **summary(samples), **more}), flush=True)


def versions(world, peers):
    """VERSION of all, in turns."""
    conf = world.conf("version", {"cniVersion": "1.0.0"})
    programs = {"empty": f"{world.work}/empty", "ours": world.plugin,
                "host-device": f"{GO_PLUGINS}/host-device", "ptp": f"{GO_PLUGINS}/ptp", **peers}
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


def status(world):
    """STATUS against VERSION, Open vSwitch running."""
    conf = world.conf("status", {"cniVersion": "1.1.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": SOCKET})
    samples, ratios, base = [], [], []
    for _ in range(ROUNDS):
        version, _ = world.run([world.job(conf, world.plugin, "VERSION", 0)] * 20)
        got, _ = world.run([world.job(conf, world.plugin, "STATUS", 0)] * 20)
        base += version
        samples += got
        ratios.append(statistics.median(w for w, _, _ in got) / statistics.median(w for w, _, _ in version))
    row("status", "STATUS", "ours", samples, ratio=sorted(ratios), to_version=min(s[0] for s in samples) / min(s[0] for s in base))


def veth(world, sides, at_a_time):
    """ADD and DEL of pods, the sides in turns."""
    pods = {1: 8, 16: 16, 64: 64}[at_a_time]
    samples = {(who, verb): [] for who in sides for verb in ("ADD", "DEL")}
    whole = {key: [] for key in samples}
    for _ in range(ROUNDS if at_a_time == 1 else 3):
        for who, job in sides.items():
            for verb in ("ADD", "DEL"):
                got, all_of_them = world.run([job(verb, pod) for pod in range(pods)], at_a_time)
                samples[who, verb] += got
                whole[who, verb].append(all_of_them / pods)
    for (who, verb), got in samples.items():
        row("veth", verb, who, got, at_a_time=at_a_time, netdevs=world.netdevs, each=statistics.median(whole[who, verb]))


def traced(world, who, job):
    """System calls, netlink messages, netns moves and the time in netlink requests of one ADD and one DEL."""
    for verb in ("ADD", "DEL"):
        words = job(verb, 0).split("\t")
        trace = f"{world.work}/trace"
        with open(words[0]) as stdin:
            done = subprocess.run(["strace", "-f", "-yy", "-T", "-o", trace, words[1]], stdin=stdin, check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  env=dict(word.split("=", 1) for word in words[2:]))
        if done.returncode:
            sys.exit(f"process.py: {who}'s {verb} under strace: {done.stdout.decode(errors='replace')}")
        with open(trace) as file:
            lines = [line for line in file if re.match(r"\d+ +(<\.\.\. )?\w+(\(| resumed)", line) and "<... " not in line]
        sends = [line for line in lines if re.search(r" (sendto|sendmsg|write)\(\d+<NETLINK", line)]
        rtnl = [line for line in sends if "<NETLINK:[ROUTE" in line]
        took = [re.search(r"<(\d+\.\d+)>$", line) for line in rtnl]
        print(json.dumps({
            "kind": "calls", "what": verb, "who": who, "netdevs": world.netdevs, "calls": len(lines), "netlink": len(sends),
            "setns": sum(" setns(" in line for line in lines),
            "rtnl": sum(float(found[1]) for found in took if found)}), flush=True)


def memory_cgroup():
    """A new memory cgroup: its directory, and the names of its files for limit, peak and processes; of either version."""
    name = f"kube-ovn-bench-{os.getpid()}"
    for root, files in (("/sys/fs/cgroup", ("memory.max", "memory.peak", "memory.current")),
                        ("/sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes"))):
        path = f"{root}/{name}"
        try:
            if root == "/sys/fs/cgroup":
                with open(f"{root}/cgroup.subtree_control", "w") as file:
                    file.write("+memory")
            os.mkdir(path)
        except OSError:
            continue
        if os.path.exists(f"{path}/{files[0]}"):
            return path, files
        os.rmdir(path)
    sys.exit("process.py: no memory cgroup can be made")


def crowd(world, job):
    """64 ADDs that wait for a daemon which does not answer, and a neighbour of 25 MiB, in a cgroup of 50 MiB."""
    path, (limit, peak, current) = memory_cgroup()
    with open(f"{path}/{limit}", "w") as file:
        file.write(str(MEMORY_LIMIT))
    silent = "/run/openvswitch/silent.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(silent)
    server.listen(PODS)
    waiting, used = [], []

    def wait_for_all():
        while len(waiting) < PODS:
            waiting.append(server.accept()[0])
        with open(f"{path}/{current}") as file:
            used.append(int(file.read()))
        for connection in waiting:
            connection.close()
        server.close()

    threading.Thread(target=wait_for_all, daemon=True).start()
    conf = world.conf("silent", {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": silent})
    jobs = [job("ADD", pod).split("\t") for pod in range(PODS)]
    lines = ["\t".join([conf, *words[1:]]) for words in jobs]
    enter = f"echo $$ > {path}/cgroup.procs && exec "
    neighbour = subprocess.Popen(["sh", "-c", f"{enter}{world.launch} hold {NEIGHBOUR}"], stdout=subprocess.PIPE)
    neighbour.stdout.readline()
    output = subprocess.run(["sh", "-c", f"{enter}{world.launch} run {PODS}"], input="\n".join(lines), text=True,
                            check=True, stdout=subprocess.PIPE).stdout
    statuses = [int(line.split()[3]) for line in output.splitlines()]
    alive = neighbour.poll() is None
    neighbour.kill()
    neighbour.wait()
    with open(f"{path}/{peak}") as file:
        highest = int(file.read())
    os.rmdir(path)
    # killed for want of memory: 128 + SIGKILL
    print(json.dumps({"kind": "crowd", "who": "ours", "waiting": len(waiting), "used": used[0] if used else None,
                      "peak": highest, "killed": sum(status >= 128 for status in statuses) + (not alive)}), flush=True)


def open_vswitch(work):
    """An Open vSwitch without datapath, for STATUS."""
    sh(f"ovsdb-tool create {work}/conf.db /usr/share/openvswitch/vswitch.ovsschema && "
       f"ovsdb-server {work}/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile=/run/openvswitch/ovsdb-server.pid "
       "--unixctl=/run/openvswitch/ovsdb-server.ctl --detach --no-chdir --log-file=/dev/null && ovs-vsctl --no-wait init && "
       "ovs-vswitchd --disable-system --pidfile=/run/openvswitch/ovs-vswitchd.pid --detach --no-chdir --log-file=/dev/null && "
       "ovs-vsctl --timeout=60 add-br br-int -- set bridge br-int datapath_type=netdev",
       stderr=subprocess.DEVNULL)
    pids = []
    for name in ("ovsdb-server", "ovs-vswitchd"):
        with open(f"/run/openvswitch/{name}.pid") as file:
            pids.append(int(file.read()))
    return pids


def measure(plugin, emulator, launch, work):
    world = World(plugin, emulator, launch, work)
    pids = []
    try:
        # any peer's executable: PEERS="stock=/opt/cni/bin/kube-ovn sriov=/opt/cni/bin/sriov"
        peers = dict(word.split("=", 1) for word in os.environ.get("PEERS", "").split())
        versions(world, peers)
        pids = open_vswitch(work)
        status(world)
        sides = {"ours": ours(world), "host-device": host_device(world), "ptp": ptp(world), "floor": floor(world)}
        for netdevs in (10, 2000):
            world.grow(netdevs)
            for at_a_time in (1, 16, 64) if netdevs == 10 else (1,):
                veth(world, sides, at_a_time)
            for who, job in sides.items():
                traced(world, who, job)
        crowd(world, sides["ours"])
    finally:
        world.daemon.kill()
        for pid in pids:
            os.kill(pid, 15)


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(*sys.argv[2:6])
    else:
        sys.path.insert(0, os.path.dirname(__file__))
        import report
        sys.exit(report.report(*sys.argv[2:4]))
