#!/usr/bin/env python3
"""sysfsdump.py OUT.tar DIRECTORY...: the part of sysfs that a VF resolver reads, as a plain tree.

Attributes become files, symbolic links stay so, and an attribute whose read fails becomes NAME.errno, a file with the
error's name. Besides the directories named (PCI devices, usually) /sys/class/net and the buses' lists of devices are stored.
"""

import errno
import io
import os
import sys
import tarfile

# not read by a resolver; some of them (config, reset, remove, ...) must not be touched
SKIPPED = {
    "config", "driver", "enable", "firmware_node", "hwmon", "link", "module", "msi_bus", "msi_irqs",
    "pcie", "power", "ptp", "queues", "remove", "rescan", "reset", "rom", "statistics", "trace", "vpd", "wakeup",
}
SKIPPED_PREFIXES = ("resource", "aer_", "i2c-", "tx_", "gro_")


class Dump:
    """A tar file that is given each path once."""

    def __init__(self, path):
        self.tar = tarfile.open(path, "w")
        self.done = set()

    def add(self, path, kind=tarfile.REGTYPE, data=b"", link=""):
        if path in self.done:
            return
        self.done.add(path)
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.type = kind
        entry.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        entry.linkname = link
        entry.size = len(data)
        self.tar.addfile(entry, io.BytesIO(data))

    def add_parents(self, path):
        parent = "/"
        for name in path.strip("/").split("/")[:-1]:
            parent = os.path.join(parent, name)
            self.add(parent, tarfile.DIRTYPE)

    def add_attribute(self, path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                self.add(path, data=os.read(descriptor, 65536))
            finally:
                os.close(descriptor)
        except OSError as error:
            self.add(path + ".errno", data=errno.errorcode[error.errno].encode() + b"\n")

    def add_tree(self, directory, depth):
        self.add_parents(directory)
        self.add(directory, tarfile.DIRTYPE)
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            if os.path.islink(path):
                self.add(path, tarfile.SYMTYPE, link=os.readlink(path))
            elif name in SKIPPED or name.startswith(SKIPPED_PREFIXES):
                continue
            elif not os.path.isdir(path):
                self.add_attribute(path)
            elif depth > 0:
                self.add_tree(path, depth - 1)

    def add_links(self, directory, with_targets):
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            self.add_parents(path)
            if os.path.islink(path):
                self.add(path, tarfile.SYMTYPE, link=os.readlink(path))
                if with_targets:
                    self.add_tree(os.path.realpath(path), 1)


def main():
    dump = Dump(sys.argv[1])
    for directory in sys.argv[2:]:
        dump.add_tree(os.path.realpath(directory), 3)
    dump.add_links("/sys/class/net", with_targets=True)
    for bus in ("pci", "netdevsim"):
        devices = f"/sys/bus/{bus}/devices"
        if os.path.isdir(devices):
            dump.add_links(devices, with_targets=False)
    dump.tar.close()


if __name__ == "__main__":
    main()
