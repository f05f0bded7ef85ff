"""The network of a site: a bridge in a namespace of its own, a namespace for each node and one for the upstream, every
cable shaped with `tc tbf` in both directions. Nothing is added to the namespace of the machine itself; names begin
with lsite-<random>."""
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess

BURST = "128k"
LATENCY = "50ms"
PREFIX = 16
UPSTREAM = "10.77.0.1"
MTU_PAYLOAD, MTU_FRAME = 1448, 1514  # tbf counts frames


def node_address(i):
    return f"10.77.{1 + i // 250}.{1 + i % 250}"


class Janitor:
    """A child that outlives us only long enough to take away what a killed lab leaves behind. Processes of the lab die
    with it by themselves (bench/lab.py)."""

    def __init__(self):
        read_end, self.write_end = os.pipe()
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.close(self.write_end)
            self.wait(os.fdopen(read_end))
            os._exit(0)
        os.close(read_end)

    @staticmethod
    def wait(lines):
        spaces, folders = [], []
        for line in lines:
            word, _, name = line.strip().partition(" ")
            {"space": spaces, "folder": folders}[word].append(name)
        for name in spaces:
            if os.path.exists(f"/run/netns/{name}"):
                subprocess.run(["ip", "netns", "del", name], check=False)
        for name in folders:
            with contextlib.suppress(FileNotFoundError), open("/proc/mounts") as mounts:
                for place in [row.split()[1] for row in mounts if row.split()[1].startswith(name + "/")]:
                    subprocess.run(["umount", "-l", place], check=False)
            shutil.rmtree(name, ignore_errors=True)

    def note(self, word, name):
        os.write(self.write_end, f"{word} {name}\n".encode())


def batch(program, lines, space=None):
    """Runs lines of `ip` or `tc` in one process."""
    argv = [program] + (["-n", space] if space else []) + ["-batch", "-"]
    done = subprocess.run(argv, input="\n".join(lines) + "\n", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Network:
    """nodes: how many; lan, wan: Mbit/s; slow: {node: Mbit/s}."""

    def __init__(self, lab, janitor, nodes, lan, wan, slow=None):
        self.nodes, self.name = nodes, f"lsite-{secrets.token_hex(3)}"
        self.switch, self.upstream = f"{self.name}-sw", f"{self.name}-up"
        self.spaces = [self.node(i) for i in range(nodes)]
        for space in [self.switch, self.upstream] + self.spaces:
            janitor.note("space", space)
            lab.spaces.append(space)
        batch("ip", [f"netns add {space}" for space in [self.switch, self.upstream] + self.spaces])
        batch("ip", ["link add br0 type bridge", "link set br0 up"], self.switch)
        self.plug("wan", self.upstream, UPSTREAM, wan)
        for i, space in enumerate(self.spaces):
            self.plug(f"n{i}", space, node_address(i), (slow or {}).get(i, lan))

    def node(self, i):
        return f"{self.name}-n{i}"

    def plug(self, port, space, address, rate):
        batch("ip", [f"link add {port} type veth peer name eth0 netns {space}", f"link set dev {port} master br0", f"link set dev {port} up"],
              self.switch)
        batch("ip", ["link set lo up", f"addr add {address}/{PREFIX} dev eth0", "link set eth0 up"], space)
        shape = f"root tbf rate {rate}mbit burst {BURST} latency {LATENCY}"
        batch("tc", [f"qdisc add dev {port} {shape}"], self.switch)
        batch("tc", [f"qdisc add dev eth0 {shape}"], space)

    def sent(self):
        """Bytes that each node, and the upstream under "wan", sent so far: data, acknowledgements and few headers, since
        a cable between namespaces counts a train of segments once."""
        out = subprocess.run(["ip", "-n", self.switch, "-s", "-j", "link"], capture_output=True, text=True, check=True)
        rows = {row["ifname"]: row["stats64"]["rx"]["bytes"] for row in json.loads(out.stdout)}
        return {name: count for name, count in rows.items() if name == "wan" or name[:1] == "n"}

    # ---- faults --------------------------------------------------------------------------------------------------
    def link(self, i, up):
        """The cable of node i, at the switch: the node itself does not see it."""
        batch("ip", [f"link set dev n{i} {'master br0' if up else 'nomaster'}"], self.switch)

    def reset_connections(self, i):
        subprocess.run(["ip", "netns", "exec", self.node(i), "ss", "-K", "state", "established"], capture_output=True, check=False)

    def lose(self, i, others):
        """What node i sends to these addresses vanishes without a word."""
        batch("ip", [f"neigh replace {address} lladdr 02:00:00:00:00:01 dev eth0 nud permanent" for address in others], self.node(i))

    def find_again(self, i, others):
        batch("ip", [f"neigh del {address} dev eth0" for address in others], self.node(i))

    def partition(self, one, other):
        for here, there in ((one, other), (other, one)):
            for i in here:
                self.lose(i, [node_address(j) for j in there])

    def heal(self, one, other):
        for here, there in ((one, other), (other, one)):
            for i in here:
                self.find_again(i, [node_address(j) for j in there])
