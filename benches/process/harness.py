"""What benches/process/process.py and pods.py share: pods, a daemon, calls of a plugin, and what they took."""
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time

PODS = 64
GO_PLUGINS = "/usr/lib/cni"
SOCKETS = "/run/openvswitch"
MAC = "00:00:00:AA:BB:CC"
MEMORY_LIMIT, NEIGHBOUR = 50 << 20, 25


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


def sh(command, **more):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, **more)


def batch(lines):
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def address(pod):
    return f"10.16.0.{pod + 5}"


def uid(pod):
    return f"11111111-2222-3333-4444-{pod:012}"


class World:
    """Namespaces for pods, and the executables. /run is a new one: mount and network namespace must be ours alone."""

    def __init__(self, plugin, emulator, launch, floor, work):
        self.plugin, self.emulator, self.launch, self.floor, self.work = plugin, emulator, launch, floor, work
        self.processes, self.pids, self.sandboxes = [], [], [0] * PODS
        sh(f"mount -t tmpfs tmpfs /run && mkdir -p /run/netns {SOCKETS} && ip link set lo up")
        batch([f"netns add pod{i}" for i in range(PODS)])
        pods = {}
        for i in range(PODS):
            pods[f"default/pod{i}"] = {"ovn": {
                "ip": address(i), "mac": MAC, "cidr": "10.16.0.0/16", "gateway": "10.16.0.1",
                "default_route": True, "mtu": 1400, "subnet": "ovn-default", "gateway_check": True, "routes": [],
                "allocated": True, "routed": True}}
        self.pods = self.conf("pods", pods)

    def daemon(self, name, *options):
        """Starts an emulator of kube-ovn-daemon that answers at once; its socket."""
        path, ready = f"{SOCKETS}/{name}.sock", f"{self.work}/{name}.ready"
        process = subprocess.Popen(
            [self.emulator, "--socket", path, "--pods", self.pods, "--ready-file", ready, "--answer-at-once", *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(process)
        while not os.path.exists(ready):
            if process.poll() is not None:
                fail("the emulated daemon does not start")
            time.sleep(0.05)
        return path

    def ovsdb(self, setting=""):
        """Open vSwitch's database, for what the plugin asks of it."""
        sh(f"ovsdb-tool create {self.work}/conf.db /usr/share/openvswitch/vswitch.ovsschema && "
           f"ovsdb-server {self.work}/conf.db --remote=punix:{SOCKETS}/db.sock --pidfile={SOCKETS}/ovsdb-server.pid "
           f"--unixctl={SOCKETS}/ovsdb-server.ctl --detach --no-chdir --log-file=/dev/null && "
           f"ovs-vsctl --no-wait init {setting}", stderr=subprocess.DEVNULL)
        self.note("ovsdb-server")

    def note(self, name):
        with open(f"{SOCKETS}/{name}.pid") as file:
            self.pids.append(int(file.read()))

    def end(self):
        for process in self.processes:
            process.kill()
        for pid in self.pids:
            os.kill(pid, 15)

    def conf(self, name, content):
        path = f"{self.work}/{name}.json"
        with open(path, "w") as file:
            json.dump(content, file)
        return path

    def job(self, conf, program, verb, pod, ifname="eth0", more=()):
        # each ADD is a new sandbox's; in its first 12 characters an ID must differ from any other
        if verb == "ADD":
            self.sandboxes[pod] += 1
        container = f"{pod:04}{self.sandboxes[pod]:08}container"
        words = [conf, program, f"CNI_COMMAND={verb}", f"CNI_CONTAINERID={container}", f"CNI_IFNAME={ifname}",
                 f"CNI_PATH={GO_PLUGINS}", f"CNI_NETNS=/run/netns/pod{pod}", f"PATH={os.environ['PATH']}",
                 f"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod{pod};K8S_POD_INFRA_CONTAINER_ID={container};"
                 f"K8S_POD_UID={uid(pod)}", *more]
        return "\t".join(words)

    def run(self, jobs, at_a_time=1):
        """Runs jobs; gives (wall, CPU, peak) of each in seconds and bytes, and the wall time of all together."""
        start = time.monotonic()
        output = subprocess.run([self.launch, "run", str(at_a_time)], input="\n".join(jobs), text=True, check=True,
                                stdout=subprocess.PIPE).stdout
        whole = time.monotonic() - start
        results = []
        for line in output.splitlines():
            number, wall, cpu, peak, status = map(int, line.split())
            if status:
                words = jobs[number].split("\t")
                fail(f"{words[1:4]} ended with {status}; once more it ends with {plain(jobs[number]) or 'success'}")
            results.append((wall / 1e9, cpu / 1e6, peak * 1024))
        return results, whole


def plain(job, wrapper=()):
    """A call without launch; what it says, when it fails."""
    words = job.split("\t")
    with open(words[0]) as stdin:
        done = subprocess.run([*wrapper, words[1]], stdin=stdin, env=dict(word.split("=", 1) for word in words[2:]),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return f"status {done.returncode}: {done.stdout.decode(errors='replace')}" if done.returncode else ""


def peers():
    """PEERS="NAME=EXECUTABLE[,NETCONF]...": name, executable, and the text of the netconf or None."""
    for word in os.environ.get("PEERS", "").split():
        name, _, value = word.partition("=")
        program, _, conf = value.partition(",")
        text = None
        if conf:
            with open(conf) as file:
                text = file.read()
        yield name, program, text


# ---------------------------------------------------------------- measuring

NAMES = ("wall", "cpu", "peak")


def spread(values):
    """Median, least and greatest."""
    values = list(values)
    return [statistics.median(values), min(values), max(values)]


def summary(samples):
    return {name: spread(s[i] for s in samples) for i, name in enumerate(NAMES)}


def row(kind, what, who, samples, **more):
    print(json.dumps({"kind": kind, "what": what, "who": who, **summary(samples), **more}), flush=True)


def rounds(world, kind, sides, pods, at_a_time, count, **where):
    """ADD and DEL of pods, the sides in turns; ratios to ours are those of the medians of one round."""
    keys = [(who, verb) for who in sides for verb in ("ADD", "DEL")]
    for who, verb in keys: # the first call of a program finds nothing in the machine's caches
        world.run([sides[who](verb, pods[0])])
    samples, whole = {key: [] for key in keys}, {key: [] for key in keys}
    medians = {key: [] for key in keys}
    for _ in range(count):
        for who, verb in keys:
            got, all_of_them = world.run([sides[who](verb, pod) for pod in pods], at_a_time)
            samples[who, verb] += got
            whole[who, verb].append(all_of_them / len(pods))
            medians[who, verb].append([statistics.median(s[i] for s in got) for i in range(2)])
    for who, verb in keys:
        pairs = list(zip(medians[who, verb], medians["ours", verb]))
        ratio = {f"{NAMES[i]}_ratio": spread(theirs[i] / ours[i] for theirs, ours in pairs) for i in range(2)}
        row(kind, verb, who, samples[who, verb], at_a_time=at_a_time, each=statistics.median(whole[who, verb]), **ratio, **where)


LINE = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)")


def calls_in(path):
    """The system calls of a trace as (name, arguments and result): one that another thread's line has cut in two is one."""
    begun, calls = {}, []
    with open(path) as file:
        for line in file:
            found = LINE.match(line)
            if not found:
                continue
            thread, name, how, rest = found.groups()
            if rest.endswith("<unfinished ...>"):
                begun[thread] = rest.removesuffix(" <unfinished ...>")
            else:
                calls.append((name, begun.pop(thread, "") + rest if how == " resumed>" else rest))
    return calls


def traced(world, who, job, verb):
    """System calls, netlink messages by protocol, moves between namespaces and the time in rtnetlink requests of one call.

    A socket is known by its inode from the call that made it: strace's own words for one are those of its own namespace's. TRACES
    names a directory where the traces stay."""
    trace = f"{os.environ.get('TRACES', world.work)}/{verb}-{who}"
    said = plain(job, ["strace", "-f", "-y", "-T", "-o", trace])
    if said:
        fail(f"{verb} under strace: {said}")
    calls = calls_in(trace)
    protocols, sent, received, rtnl = {}, {}, 0, 0.0
    for name, rest in calls:
        if name == "socket" and "AF_NETLINK" in rest:
            protocol, inode = re.search(r"NETLINK_(\w+)\s*\) += \d+<socket:\[(\d+)\]>", rest).groups()
            protocols[inode] = protocol
        found = re.match(r"\d+<socket:\[(\d+)\]>", rest)
        protocol = protocols.get(found[1]) if found else None
        if protocol and name in ("sendto", "sendmsg", "write", "writev"):
            sent[protocol] = sent.get(protocol, 0) + 1
            took = re.search(r"<(\d+\.\d+)>$", rest)
            rtnl += float(took[1]) if protocol == "ROUTE" and took else 0
        elif protocol and name in ("recvfrom", "recvmsg", "read") and " = -1 " not in rest:
            received += 1
    return {"calls": len(calls), "route": sent.get("ROUTE", 0), "generic": sent.get("GENERIC", 0), "received": received,
            "setns": sum(name == "setns" for name, _ in calls), "rtnl": rtnl}


# ---------------------------------------------------------------- a crowd

def memory_cgroup():
    """A new memory cgroup: its directory, and the names of its files for limit, peak and use; of either version."""
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
    fail("no memory cgroup can be made")


def crowd(world, what, job):
    """64 ADDs that wait for a daemon which does not answer, and a neighbour of 25 MiB, in a cgroup of 50 MiB; `job` makes the call
    of a verb and a pod with a socket."""
    path, (limit, peak, current) = memory_cgroup()
    with open(f"{path}/{limit}", "w") as file:
        file.write(str(MEMORY_LIMIT))
    silent = f"{SOCKETS}/silent.sock"
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
    lines = [job(silent)("ADD", pod) for pod in range(PODS)]
    enter = f"echo $$ > {path}/cgroup.procs && exec "
    neighbour = subprocess.Popen(["sh", "-c", f"{enter}{world.launch} hold {NEIGHBOUR}"], stdout=subprocess.PIPE)
    neighbour.stdout.readline()
    output = subprocess.run(["sh", "-c", f"{enter}{world.launch} run {PODS}"], input="\n".join(lines), text=True,
                            check=True, stdout=subprocess.PIPE).stdout
    statuses = [int(line.split()[4]) for line in output.splitlines()]
    alive = neighbour.poll() is None
    neighbour.kill()
    neighbour.wait()
    with open(f"{path}/{peak}") as file:
        highest = int(file.read())
    os.rmdir(path)
    # killed for want of memory: 128 + SIGKILL
    print(json.dumps({"kind": "crowd", "what": what, "who": "ours", "waiting": len(waiting), "used": used[0] if used else None,
                      "peak": highest, "killed": sum(status >= 128 for status in statuses) + (not alive)}), flush=True)
