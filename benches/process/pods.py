#!/usr/bin/env python3
"""What whole calls of the plugin cost for pods with a VF, in the lab's guest, side by side with Debian's host-device, which moves
the same VFs by their PCI addresses, and with the bare netlink requests.

tests/lab/pods-guest.sh runs this; docs/performance.md tells what came of it.

    pods.py PF PLUGIN EMULATOR LAUNCH FLOOR WORK     a line of JSON for each row, for report.py
    POD_CELLS="VFS/NETDEVS..." POD_ROUNDS=N POD_CROWD="N..."   less than all of it: which nodes, how often, how many at a time
"""
import json
import os
import re
import sys

from harness import GO_PLUGINS, MAC, PODS, World, address, batch, crowd, fail, peers, plain, rounds, sh, spread, traced, uid

CELLS = os.environ.get("POD_CELLS", "4/10 127/10 4/2000 127/2000").split()
ROUNDS = int(os.environ.get("POD_ROUNDS", "5"))
CROWDS = [int(number) for number in os.environ.get("POD_CROWD", "16 64").split()]
BRIDGE = "br-int"
PCI = "/sys/bus/pci/devices"


class Rtnl:
    """How long a process holds RTNL, and how often it moves a link to another namespace, as the kernel's own tracing sees it: RTNL
    is one mutex, rtnl_mutex, which a dump takes as well as a change."""

    directory = "/sys/kernel/tracing"

    def __init__(self):
        sh(f"mountpoint -q {self.directory} || mount -t tracefs tracefs {self.directory}")
        with open("/proc/kallsyms") as file:
            mutex = next(line.split()[0] for line in file if line.split()[2] == "rtnl_mutex")
        probes = {"take": "mutex_lock", "try": "mutex_trylock", "drop": "mutex_unlock"}
        self.put("kprobe_events", "\n".join(f"p:rtnl/{name} {function} lock=%di:x64" for name, function in probes.items()) +
                 "\np:rtnl/move __dev_change_net_namespace\n")
        for name in probes:
            self.put(f"events/rtnl/{name}/filter", f"lock == 0x{mutex}")
        self.put("options/event-fork", "1")
        self.put("set_event_pid", str(os.getpid()))

    def put(self, name, text):
        with open(f"{self.directory}/{name}", "w") as file:
            file.write(text)

    def watch(self, job):
        """One call: seconds under RTNL together and at a time, how often it was taken, and moves."""
        self.put("trace", "")
        self.put("events/rtnl/enable", "1")
        said = plain(job)
        self.put("events/rtnl/enable", "0")
        if said:
            fail(f"while RTNL is watched: {said}")
        since, held, moves = {}, [], 0
        with open(f"{self.directory}/trace") as file:
            for line in file:
                found = re.match(r" *.*-(\d+) +\[\d+\] +\S+ +(\d+\.\d+): (\w+):", line)
                if not found:
                    continue
                thread, time, what = found[1], float(found[2]), found[3]
                if what == "move":
                    moves += 1
                elif what == "drop" and thread in since:
                    held.append(time - since.pop(thread))
                elif what != "drop":
                    since[thread] = time
        return {"held": sum(held), "longest": max(held, default=0), "times": len(held), "moves": moves}


def allocate(vfs):
    """What kubelet writes down when it gives a VF to each pod."""
    directory = "/var/lib/kubelet/device-plugins"
    os.makedirs(directory, exist_ok=True)
    entries = [{"PodUID": uid(pod), "ContainerName": "main", "ResourceName": "example.com/vfs", "DeviceIDs": {"-1": [vf]}, "AllocResp": ""}
               for pod, vf in enumerate(vfs)]
    with open(f"{directory}/kubelet_internal_checkpoint", "w") as file:
        json.dump({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {"example.com/vfs": vfs}}, "Checksum": 1}, file)


class Nic:
    """The PF of the lab's NIC."""

    def __init__(self, pf):
        self.pf = pf

    def vfs(self, count):
        """Makes so many VFs, each with a representor; none are there before."""
        sh(f". $LAB_DIR/nic.sh && nic_switchdev {self.pf} {count} && ethtool -K $(nic_uplink {self.pf}) hw-tc-offload on",
           executable="/bin/bash")
        return [os.path.basename(os.readlink(f"{PCI}/{self.pf}/virtfn{i}")) for i in range(count)]

    def none(self):
        sh(f"devlink dev eswitch set pci/{self.pf} mode legacy && echo 0 > {PCI}/{self.pf}/sriov_numvfs")


def ours(world, vfs, name, socket):
    confs = [world.conf(f"{name}{pod}", {"cniVersion": "1.0.0", "name": "kube-ovn", "type": "kube-ovn", "server_socket": socket,
                                         "deviceID": vf}) for pod, vf in enumerate(vfs)]
    return lambda verb, pod: world.job(confs[pod], world.plugin, verb, pod)


def host_device(world, vfs):
    confs = [world.conf(f"device{pod}", {"cniVersion": "0.4.0", "name": "device", "type": "host-device", "pciBusID": vf})
             for pod, vf in enumerate(vfs)]
    return lambda verb, pod: world.job(confs[pod], f"{GO_PLUGINS}/host-device", verb, pod)


def floor(world, vfs):
    conf = world.conf("floor", {})
    names = [os.listdir(f"{PCI}/{vf}/net")[0] for vf in vfs]
    return lambda verb, pod: world.job(conf, world.floor, verb, pod, more=[
        f"FLOOR_VF={vfs[pod]}", f"FLOOR_NAME={names[pod]}", f"FLOOR_MAC={MAC}", f"FLOOR_ADDRESS={address(pod)}"])


def peer(world, vfs, name, program, text, socket):
    """A peer whose netconf names a VF."""
    confs = [world.conf(f"peer-{name}{pod}", json.loads(text.replace("{device}", vf).replace("{socket}", socket)))
             for pod, vf in enumerate(vfs)]
    return lambda verb, pod: world.job(confs[pod], program, verb, pod)


def sides_of(world, vfs, attach_only, released):
    allocate(vfs)
    sides = {"ours": ours(world, vfs, "ours", attach_only), "ours, released daemon": ours(world, vfs, "released", released),
             "host-device": host_device(world, vfs), "floor": floor(world, vfs)}
    for name, program, text in peers():
        if text and "{device}" in text:
            sides[name] = peer(world, vfs, name, program, text, released)
    return sides


def look(world, rtnl, sides, count, **where):
    """What strace and the kernel see of single calls."""
    for who, job in sides.items():
        seen = {"ADD": [], "DEL": []}
        for _ in range(count):
            for verb, of_verb in seen.items():
                of_verb.append(rtnl.watch(job(verb, 0)))
        counts = {verb: traced(world, who, job(verb, 0), verb) for verb in seen}
        for verb, of_verb in seen.items():
            print(json.dumps({"kind": "vf-calls", "what": verb, "who": who, **where, **counts[verb],
                              **{name: spread(watched[name] for watched in of_verb) for name in of_verb[0]}}), flush=True)


def measure(pf, *paths):
    world, nic = World(*paths), Nic(pf)
    try:
        world.ovsdb("-- set Open_vSwitch . other_config:hw-offload=true")
        batch([f"link add {BRIDGE} type bridge"])
        attach_only = world.daemon("attach-only", "--bridge", BRIDGE, "--vf-plumbing", "cni")
        released = world.daemon("released", "--bridge", BRIDGE)
        rtnl = Rtnl() # sees what is started from here on, so neither daemon
        there = 0
        for number, cell in enumerate(CELLS):
            count, netdevs = map(int, cell.split("/"))
            batch([f"link add other{i} type dummy" for i in range(there, netdevs)])
            there = netdevs
            all_of_them = nic.vfs(count)
            # from the first to the last
            few = [all_of_them[i * (count - 1) // 3] for i in range(4)]
            where = {"VFs": count, "netdevs": netdevs}
            print(f"measuring: {cell}", file=sys.stderr, flush=True)
            sides = sides_of(world, few, attach_only, released)
            rounds(world, "vf", sides, range(len(few)), 1, ROUNDS, **where)
            look(world, rtnl, sides, ROUNDS, **where)
            if netdevs == 10 and count >= PODS:
                sides = sides_of(world, all_of_them[:PODS], attach_only, released)
                for at_a_time in CROWDS:
                    print(f"measuring: {at_a_time} at a time", file=sys.stderr, flush=True)
                    rounds(world, "vf", sides, range(at_a_time), at_a_time, 2 if at_a_time < PODS else 1, **where)
            if number == len(CELLS) - 1 and count >= PODS:
                crowd(world, "vf", lambda silent: ours(world, all_of_them[:PODS], "silent", silent))
            else:
                nic.none()
    finally:
        world.end()


if __name__ == "__main__":
    measure(*sys.argv[1:7])
