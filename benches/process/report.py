"""The tables, the plot and the budgets of docs/performance.md, out of the rows that process.py measured."""
import json

# the order and the colours of the plot
SIDES = {"floor": "#bbbbbb", "ours": "#2a7f62", "host-device": "#c98a3d", "ptp": "#b5533c"}
MIB = 1 << 20


def ms(values):
    median, least, most = values
    return f"{median * 1e3:.2f} ({least * 1e3:.2f} to {most * 1e3:.2f})"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(head))) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def tables(rows):
    of = lambda kind: [row for row in rows if row["kind"] == kind]
    table(["VERSION and STATUS", "wall, ms", "CPU, ms", "peak, MiB", "wall / empty's (STATUS: / VERSION's)"],
          [[f"{r['what']}, {r['who']}", ms(r["wall"]), ms(r["cpu"]), f"{r['peak'][2] / MIB:.2f}",
            f"{r['ratio'][len(r['ratio']) // 2]:.2f} ({r['ratio'][0]:.2f} to {r['ratio'][-1]:.2f})"]
           for r in of("version") + of("status")])
    table(["pod with veth", "netdevs", "at a time", "wall, ms", "wall of all / pods, ms", "CPU, ms", "peak, MiB"],
          [[f"{r['what']}, {r['who']}", r["netdevs"], r["at_a_time"], ms(r["wall"]), f"{r['each'] * 1e3:.2f}", ms(r["cpu"]),
            f"{r['peak'][2] / MIB:.2f}"] for r in of("veth")])
    table(["pod with veth", "netdevs", "system calls", "netlink messages", "setns", "in rtnetlink requests, ms"],
          [[f"{r['what']}, {r['who']}", r["netdevs"], r["calls"], r["netlink"], r["setns"], f"{r['rtnl'] * 1e3:.2f}"]
           for r in of("calls")])


def budgets(rows):
    """Prints each, and gives how many are broken. What else the machine does only adds: the fastest times count."""
    broken = 0

    def judge(fine, text):
        nonlocal broken
        broken += not fine
        print(f"    {'kept' if fine else 'BROKEN'}: {text}")

    def find(kind, **wanted):
        for row in rows:
            if row["kind"] == kind and all(row.get(key) == value for key, value in wanted.items()):
                return row
        raise SystemExit(f"report.py: no row {kind} {wanted}")

    fastest = lambda row: row["wall"][1]
    ratio = fastest(find("version", who="ours")) / fastest(find("version", who="empty"))
    judge(ratio <= 1.5, f"VERSION takes {ratio:.2f} times an empty static program's time, at most 1.5")
    ratio = find("status")["to_version"]
    judge(ratio <= 3, f"STATUS takes {ratio:.2f} times VERSION's time, at most 3")
    add = find("veth", what="ADD", who="ours", at_a_time=1, netdevs=10)
    judge(add["cpu"][0] <= 0.005, f"CPU of our own in an ADD {add['cpu'][0] * 1e3:.2f} ms, at most 5")
    for peer in ("host-device", "ptp"):
        half = find("veth", what="ADD", who=peer, at_a_time=1, netdevs=10)["cpu"][0] / 2
        judge(add["cpu"][0] <= half, f"CPU of our own in an ADD {add['cpu'][0] * 1e3:.2f} ms, at most half of {peer}'s: {half * 1e3:.2f}")
    peak = max(row["peak"][2] for row in rows if row.get("who") == "ours" and "peak" in row and row["kind"] != "crowd")
    judge(peak <= 4 * MIB, f"peak memory {peak / MIB:.2f} MiB, at most 4")
    crowd = find("crowd")
    judge(crowd["waiting"] == 64 and not crowd["killed"] and crowd["peak"] <= 50 * MIB,
          f"{crowd['waiting']} ADDs that wait for the daemon, beside a neighbour of 25 MiB: {crowd['peak'] / MIB:.1f} MiB, "
          f"{crowd['killed']} killed, at most 50 MiB")
    for row in rows:
        if row["kind"] == "calls" and row["who"] == "ours":
            judge(row["setns"] <= 2, f"{row['what']} of a veth pod moves between namespaces {row['setns']} times, at most once each way")
    for verb in ("ADD", "DEL"):
        few, many = (find("veth", what=verb, who="ours", at_a_time=1, netdevs=n) for n in (10, 2000))
        growth = many["cpu"][1] / few["cpu"][1]
        judge(growth <= 1.3, f"CPU of {verb} × {growth:.2f} from 10 to 2000 netdevs, at most × 1.3")
        few, many = (find("calls", what=verb, who="ours", netdevs=n)["calls"] for n in (10, 2000))
        judge(many <= 1.3 * few, f"{verb}: {few} system calls at 10 netdevs, {many} at 2000, at most × 1.3")
    return broken


def plot(rows, path):
    """CPU of an ADD and a DEL, and the wall time of VERSION, as bars."""
    value = lambda kind, key, **wanted: next(
        (row[key][0] * 1e3 for row in rows if row["kind"] == kind and all(row.get(k) == v for k, v in wanted.items())), None)
    groups = [
        ("ADD of a veth pod, CPU", {who: value("veth", "cpu", what="ADD", who=who, at_a_time=1, netdevs=10) for who in SIDES}),
        ("DEL of a veth pod, CPU", {who: value("veth", "cpu", what="DEL", who=who, at_a_time=1, netdevs=10) for who in SIDES}),
        ("VERSION, wall", {who: value("version", "wall", who="empty" if who == "floor" else who) for who in SIDES}),
    ]
    scale = 440 / max(v for _, bars in groups for v in bars.values() if v)
    lines, y = [], 24
    for title, bars in groups:
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{title}, ms (median)</text>')
        for who, number in bars.items():
            y += 20
            if number is None:
                continue
            label = "least that can be" if who == "floor" else "kube-ovn (this)" if who == "ours" else who
            lines.append(f'<text x="8" y="{y}">{label}</text><rect x="140" y="{y - 11}" width="{number * scale:.1f}" height="14" '
                         f'fill="{SIDES[who]}"/><text x="{146 + number * scale:.1f}" y="{y}">{number:.2f}</text>')
        y += 34
    with open(path, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="660" height="{y - 16}" font-family="sans-serif" font-size="13">\n'
                   '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(lines) + "\n</svg>\n")


def report(source, svg):
    with open(source) as file:
        rows = [json.loads(line) for line in file]
    tables(rows)
    plot(rows, svg)
    return 1 if budgets(rows) else 0
