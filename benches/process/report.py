#!/usr/bin/env python3
"""The tables, the plots and the budgets of docs/performance.md, out of the rows that process.py or pods.py measured.

    report.py process|pods ROWS SVG     1 when a budget is broken
"""
import json
import sys

# the colours of the plots
SIDES = {"floor": "#bbbbbb", "empty": "#bbbbbb", "ours": "#2a7f62", "ours, released daemon": "#7fb8a4", "host-device": "#c98a3d", "ptp": "#b5533c"}
LABELS = {"floor": "least that can be", "empty": "least that can be", "ours": "kube-ovn (this)", "ours, released daemon": "this, released daemon"}
MIB = 1 << 20
GROWTH = 1.3


def ms(values):
    median, least, most = values
    return f"{median * 1e3:.2f} ({least * 1e3:.2f} to {most * 1e3:.2f})"


def times(values):
    median, least, most = values
    return f"{median:.2f} ({least:.2f} to {most:.2f})"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(head))) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


class Rows:
    def __init__(self, path):
        with open(path) as file:
            self.all = [json.loads(line) for line in file]

    def of(self, kind, **wanted):
        return [row for row in self.all if row["kind"] == kind and all(row.get(key) == value for key, value in wanted.items())]

    def one(self, kind, **wanted):
        found = self.of(kind, **wanted)
        if not found:
            raise SystemExit(f"report.py: no row {kind} {wanted}")
        return found[0]


class Judge:
    """Prints each budget, and counts those that are broken."""

    def __init__(self):
        self.broken = 0

    def __call__(self, fine, text):
        self.broken += not fine
        print(f"    {'kept' if fine else 'BROKEN'}: {text}")

    def memory(self, rows):
        peak = max(row["peak"][2] for row in rows.all if row["who"].startswith("ours") and "wall" in row)
        self(peak <= 4 * MIB, f"peak memory {peak / MIB:.2f} MiB, at most 4")

    def crowd(self, crowd):
        self(crowd["waiting"] == 64 and not crowd["killed"] and crowd["peak"] <= 50 * MIB,
             f"{crowd['waiting']} ADDs that wait for the daemon, beside a neighbour of 25 MiB: {crowd['peak'] / MIB:.1f} MiB, "
             f"{crowd['killed']} killed, at most 50 MiB")


CALLS_HEAD = ["pod with {}", "wall, ms", "wall of all / pods, ms", "wall / ours", "CPU, ms", "CPU / ours", "peak, MiB"]


def calls(what, where, rows):
    """`where`: the columns that tell rows apart."""
    head = [CALLS_HEAD[0].format(what), *(name.replace("_", " ") for name in where), *CALLS_HEAD[1:]]
    table(head, [[f"{r['what']}, {r['who']}", *(r[name] for name in where), ms(r["wall"]), f"{r['each'] * 1e3:.2f}", times(r["wall_ratio"]),
                  ms(r["cpu"]), times(r["cpu_ratio"]), f"{r['peak'][2] / MIB:.2f}"] for r in rows])


# ---------------------------------------------------------------- process

def process_tables(rows):
    table(["VERSION and STATUS", "wall, ms", "CPU, ms", "peak, MiB", "wall / empty's (STATUS: / VERSION's)"],
          [[f"{r['what']}, {r['who']}", ms(r["wall"]), ms(r["cpu"]), f"{r['peak'][2] / MIB:.2f}",
            f"{r['ratio'][len(r['ratio']) // 2]:.2f} ({r['ratio'][0]:.2f} to {r['ratio'][-1]:.2f})"]
           for r in rows.of("version") + rows.of("status")])
    calls("veth", ["netdevs", "at_a_time"], rows.of("veth"))
    table(["pod with veth", "netdevs", "system calls", "rtnetlink requests", "replies", "setns", "in rtnetlink requests, ms"],
          [[f"{r['what']}, {r['who']}", r["netdevs"], r["calls"], r["route"], r["received"], r["setns"], f"{r['rtnl'] * 1e3:.2f}"]
           for r in rows.of("calls")])


def process_budgets(rows, judge):
    """What else the machine does only adds: the fastest times count."""
    fastest = lambda row: row["wall"][1]
    ratio = fastest(rows.one("version", who="ours")) / fastest(rows.one("version", who="empty"))
    judge(ratio <= 1.5, f"VERSION takes {ratio:.2f} times an empty static program's time, at most 1.5")
    ratio = rows.one("status")["to_version"]
    judge(ratio <= 3, f"STATUS takes {ratio:.2f} times VERSION's time, at most 3")
    add = rows.one("veth", what="ADD", who="ours", at_a_time=1, netdevs=10)
    judge(add["cpu"][0] <= 0.005, f"CPU of our own in an ADD {add['cpu'][0] * 1e3:.2f} ms, at most 5")
    for peer in ("host-device", "ptp"):
        half = rows.one("veth", what="ADD", who=peer, at_a_time=1, netdevs=10)["cpu"][0] / 2
        judge(add["cpu"][0] <= half, f"CPU of our own in an ADD {add['cpu'][0] * 1e3:.2f} ms, at most half of {peer}'s: {half * 1e3:.2f}")
    judge.memory(rows)
    judge.crowd(rows.one("crowd"))
    for row in rows.of("calls", who="ours"):
        judge(row["setns"] <= 2, f"{row['what']} of a veth pod moves between namespaces {row['setns']} times, at most once each way")
    for verb in ("ADD", "DEL"):
        few, many = (rows.one("veth", what=verb, who="ours", at_a_time=1, netdevs=n) for n in (10, 2000))
        growth = many["cpu"][1] / few["cpu"][1]
        judge(growth <= GROWTH, f"CPU of {verb} × {growth:.2f} from 10 to 2000 netdevs, at most × {GROWTH}")
        few, many = (rows.one("calls", what=verb, who="ours", netdevs=n)["calls"] for n in (10, 2000))
        judge(many <= GROWTH * few, f"{verb}: {few} system calls at 10 netdevs, {many} at 2000, at most × {GROWTH}")


def bars(title, rows, key):
    """A group of a plot: medians in ms, the sides in the order of SIDES; peers that PEERS has added are left out."""
    found = {row["who"]: row[key][0] * 1e3 for row in rows}
    return title, {who: found[who] for who in SIDES if who in found}


def process_plot(rows):
    return [bars(f"{verb} of a veth pod, CPU", rows.of("veth", what=verb, at_a_time=1, netdevs=10), "cpu") for verb in ("ADD", "DEL")] + [
        bars("VERSION, wall", rows.of("version"), "wall")]


def pods_plot(rows):
    cells = sorted({(row["VFs"], row["netdevs"]) for row in rows.of("vf")})
    return [bars(f"{verb} of a VF pod, {vfs} VFs, {netdevs} other netdevs, CPU",
                 rows.of("vf", what=verb, at_a_time=1, VFs=vfs, netdevs=netdevs), "cpu") for vfs, netdevs in cells for verb in ("ADD", "DEL")]


def plot(groups, path):
    """Groups of bars."""
    scale = 420 / max(v for _, group in groups for v in group.values())
    lines, y = [], 24
    for title, group in groups:
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{title}, ms (median)</text>')
        for who, number in group.items():
            y += 20
            lines.append(f'<text x="8" y="{y}">{LABELS.get(who, who)}</text><rect x="160" y="{y - 11}" width="{number * scale:.1f}" '
                         f'height="14" fill="{SIDES[who]}"/><text x="{166 + number * scale:.1f}" y="{y}">{number:.2f}</text>')
        y += 34
    with open(path, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="660" height="{y - 16}" font-family="sans-serif" font-size="13">\n'
                   '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n")


# ---------------------------------------------------------------- pods

def pods_tables(rows):
    calls("VF", ["VFs", "netdevs", "at_a_time"], rows.of("vf"))
    table(["pod with VF", "VFs", "netdevs", "system calls", "rtnetlink requests", "generic netlink requests", "replies", "setns", "netns moves",
           "RTNL taken", "under RTNL, ms", "longest, ms"],
          [[f"{r['what']}, {r['who']}", r["VFs"], r["netdevs"], r["calls"], r["route"], r["generic"], r["received"], r["setns"],
            r["moves"][0], r["times"][0], ms(r["held"]), f"{r['longest'][0] * 1e3:.2f}"] for r in rows.of("vf-calls")])


# netns moves of our own process in ADD and DEL
MOVES = {"ours": (1, 1), "ours, released daemon": (0, 1)}


def pods_budgets(rows, judge):
    for who, moves in MOVES.items():
        for verb, most in zip(("ADD", "DEL"), moves):
            worst = max(row["moves"][2] for row in rows.of("vf-calls", who=who, what=verb))
            judge(worst <= most, f"{verb}, {who}: {worst} netns moves, at most {most}")
    cells = sorted({(row["VFs"], row["netdevs"]) for row in rows.of("vf", at_a_time=1)})
    for vfs, netdevs in cells:
        ratio = rows.one("vf", what="ADD", who="host-device", at_a_time=1, VFs=vfs, netdevs=netdevs)["cpu_ratio"][0]
        judge(ratio >= 2, f"{vfs} VFs, {netdevs} netdevs: CPU of our own in an ADD {1 / ratio:.2f} of host-device's, at most half")
    judge.memory(rows)
    for crowd in rows.of("crowd"):
        judge.crowd(crowd)

    def grows(what, few, many, number):
        judge(number(many) <= GROWTH * number(few), f"{what} × {number(many) / number(few):.2f}, at most × {GROWTH}")

    pairs = [(few, many) for few in cells for many in cells
             if few != many and few[0] <= many[0] and few[1] <= many[1] and (few[0] == many[0] or few[1] == many[1])]
    for few, many in pairs:
        span = f"from {few[0]} VFs and {few[1]} netdevs to {many[0]} and {many[1]}"
        for verb in ("ADD", "DEL"):
            row = lambda kind, at, **more: rows.one(kind, what=verb, who="ours", VFs=at[0], netdevs=at[1], **more)
            seen = [row("vf-calls", at) for at in (few, many)]
            grows(f"{verb}: system calls {span}:", *seen, lambda r: r["calls"])
            grows(f"{verb}: netlink requests {span}:", *seen, lambda r: r["route"] + r["generic"])
            # what else the machine does only adds: the least counts
            grows(f"{verb}: time under RTNL {span}:", *seen, lambda r: r["held"][1])
            grows(f"{verb}: CPU {span}:", *(row("vf", at, at_a_time=1) for at in (few, many)), lambda r: r["cpu"][1])


def report(group, source, svg):
    rows, judge = Rows(source), Judge()
    if group == "process":
        process_tables(rows)
        plot(process_plot(rows), svg)
        process_budgets(rows, judge)
    else:
        pods_tables(rows)
        plot(pods_plot(rows), svg)
        pods_budgets(rows, judge)
    return 1 if judge.broken else 0


if __name__ == "__main__":
    sys.exit(report(*sys.argv[1:]))
