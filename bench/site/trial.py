"""One case with one contender: the network, the upstream, the clients, what happens on the way, and what came of it."""
import contextlib
import dataclasses
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

import cases
import images
from contenders import UPSTREAM_PORT
from network import UPSTREAM, Network

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab import Lab, Process  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass
class Outcome:
    case: str
    contender: str
    size: int                 # of the image, bytes
    bound: float = 0          # seconds
    makespan: float = 0       # of the healthy nodes, seconds; 0: some did not finish
    wan_bytes: int = 0        # body bytes that the upstream wrote
    uploads: dict = dataclasses.field(default_factory=dict)  # node: bytes it sent, acknowledgements and all
    kept_elsewhere: int = 0   # on nodes that did not pull
    cpu: dict = dataclasses.field(default_factory=dict)      # node: seconds
    memory: dict = dataclasses.field(default_factory=dict)   # node: peak RSS
    pulls: dict = dataclasses.field(default_factory=dict)    # node: what client.py said
    killed: list = dataclasses.field(default_factory=list)
    starved: float = 0        # share of the time in which somebody on this machine waited for a processor
    wrong: list = dataclasses.field(default_factory=list)    # what must never be seen

    def ratio(self):
        return self.makespan / self.bound if self.makespan else float("inf")

    def copies(self):
        return self.wan_bytes / self.size

    def fallbacks(self):
        return sum(pull["fallbacks"] for pull in self.pulls.values())

    def reopened(self):
        return sum(pull["reopened"] for pull in self.pulls.values())


class FakeUpstream:
    def __init__(self, lab, net, folder):
        self.path = os.path.join(lab.home, "upstream.sock")
        self.process = lab.start(Process(
            [sys.executable, "-B", os.path.join(HERE, "upstream.py"), folder, UPSTREAM, str(UPSTREAM_PORT), str(cases.RTT), self.path],
            os.path.join(lab.home, "upstream.log"), netns=net.upstream))
        end = time.monotonic() + 20
        while not os.path.exists(self.path) and time.monotonic() < end:
            time.sleep(0.02)

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.path)
            with control.makefile("rw") as lines:
                lines.write(command + "\n")
                lines.flush()
                return json.loads(lines.readline())

    def written(self, image):
        counts = self.tell("counts")["written"]
        return sum(counts.get(digest, 0) for digest in image.blobs)


class RealUpstream:
    """A docker-registry; what it wrote is known from its cable only."""

    def __init__(self, lab, net, folder, image):
        home, self.net = lab.folder("registry"), net
        images.place_in_storage(image, folder, os.path.join(home, "data"))
        path = os.path.join(home, "config.yml")
        with open(path, "w") as file:
            file.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                       f"storage: {{filesystem: {{rootdirectory: {home}/data}}}}\nhttp: {{addr: '{UPSTREAM}:{UPSTREAM_PORT}'}}\n")
        lab.start(Process(["docker-registry", "serve", path], os.path.join(home, "log"), netns=net.upstream))
        self.before = net.sent()["wan"]

    def written(self, image):
        return self.net.sent()["wan"] - self.before


class Client(Process):
    def __init__(self, lab, net, node, hosts, image):
        self.node, self.report, self.text = node, None, b""
        super().__init__([sys.executable, "-B", os.path.join(HERE, "client.py"), image.repository, image.tag] + hosts,
                         os.path.join(lab.home, f"client{node}.log"), netns=net.node(node), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        lab.processes.append(self)

    def wait_ready(self):
        if self.popen.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the client of node {self.node} does not come up")

    def begin(self, at):
        self.popen.stdin.write(f"start {at}\n".encode())
        self.popen.stdin.flush()

    def read(self):
        """What came on its stdout; its report once it is whole."""
        part = os.read(self.popen.stdout.fileno(), 1 << 16)
        self.text += part
        if not part:
            self.report = json.loads(self.text) if self.text.endswith(b"}\n") else {}


class Trial:
    """kind: a class of contenders.py. Used as a context; all of it is gone at the end."""

    def __init__(self, case, kind, folder, image, janitor, seed=1, real=False, logs=None):
        self.case, self.kind, self.folder, self.image = case, kind, folder, image
        self.janitor, self.random, self.real, self.logs = janitor, random.Random(seed), real, logs
        self.clients, self.events, self.gone = {}, [], set()
        self.limit = 0

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.lab = self.stack.enter_context(Lab())
        self.janitor.note("folder", self.lab.home)
        self.stack.callback(self.end_all)
        try:
            self.net = Network(self.lab, self.janitor, self.case.nodes, self.case.lan, self.case.wan, self.case.slow)
            self.upstream = (RealUpstream(self.lab, self.net, self.folder, self.image) if self.real
                             else FakeUpstream(self.lab, self.net, self.folder))
            if not self.kind.ranges:
                self.upstream.tell("ranges off")
            self.contender = self.kind(self.lab, self.net, self.case)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.keep_logs()
        self.stack.close()

    def end_all(self):
        for process in self.lab.processes:
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGCONT)
                process.popen.terminate()

    def keep_logs(self):
        if not self.logs:
            return
        target = os.path.join(self.logs, f"{self.case.name}-{self.kind.name}")
        os.makedirs(target, exist_ok=True)
        for base, _, names in os.walk(self.lab.home):
            for name in names:
                if name.endswith("log") or name in ("config.yaml", "nginx.conf"):
                    flat = os.path.relpath(os.path.join(base, name), self.lab.home).replace("/", "-")
                    shutil.copy(os.path.join(base, name), os.path.join(target, flat))

    # ---- what happens --------------------------------------------------------------------------------------------
    def at(self, seconds, action):
        """Does `action` so long after the start."""
        self.events.append((seconds, action))

    def start_order(self):
        nodes = self.case.pulling()
        step = (self.case.stagger or cases.SPREAD) / max(1, len(nodes) - 1)
        order = list(nodes)
        self.random.shuffle(order)
        return {node: i * step for i, node in enumerate(order)}

    def busiest(self):
        now = self.net.sent()
        return max((now[f"n{i}"] - self.before[f"n{i}"], i) for i in self.case.healthy() if i not in self.gone)[1]

    def kill(self, node, quietly=False):
        """The node's client and server die. Its connections are reset, or (quietly) nothing is ever heard of it again."""
        self.gone.add(node)
        processes = [each for each in (self.clients.get(node), self.contender.servers.get(node)) if each]
        if quietly:
            self.net.link(node, False)
        for each in processes:
            each.popen.send_signal(signal.SIGSTOP)
        if not quietly:
            self.net.reset_connections(node)
        for each in processes:
            each.popen.kill()

    def start_clients(self, offsets):
        for node in offsets:
            self.clients[node] = Client(self.lab, self.net, node, self.contender.hosts(node), self.image)
        for node in offsets:
            self.clients[node].wait_ready()
        self.before = self.net.sent()
        self.begun = time.monotonic() + 0.2
        for node, offset in offsets.items():
            self.clients[node].begin(self.begun + offset)

    def run(self):
        self.contender.start()
        if self.case.kill_at:
            self.at(self.case.kill_at, lambda: self.kill(self.busiest()))
        self.pull(self.start_order())
        return self.outcome()

    def pull(self, offsets):
        """Nodes pull, each so many seconds after the start; returns when those that live are done."""
        self.start_clients(offsets)
        self.events.sort(key=lambda event: event[0])
        self.limit = self.limit or 25 * cases.bound(self.case, self.image.size(), [0, self.case.stagger]) + 30
        self.loop()

    def waiting(self):
        return [client for node, client in self.clients.items() if client.report is None and node not in self.gone]

    @staticmethod
    def waited_for_processors():
        """Seconds so far; a kernel without pressure figures says none."""
        try:
            with open("/proc/pressure/cpu") as file:
                return int(file.readline().rpartition("=")[2]) / 1e6
        except OSError:
            return 0

    def loop(self):
        waited, at = self.waited_for_processors(), time.monotonic()
        self.turn()
        self.starved = (self.waited_for_processors() - waited) / (time.monotonic() - at)

    def turn(self):
        while True:
            now = time.monotonic() - self.begun
            while self.events and self.events[0][0] <= now:
                self.events.pop(0)[1]()
            waiting = self.waiting()
            if now > self.limit or not waiting:
                return
            until = min([self.limit] + [event[0] for event in self.events]) - now
            for ready in select.select([client.popen.stdout for client in waiting], [], [], max(0, until))[0]:
                next(client for client in waiting if client.popen.stdout is ready).read()

    # ---- what came of it -----------------------------------------------------------------------------------------
    def outcome(self):
        result = Outcome(self.case.name, self.kind.name, self.image.size(), killed=sorted(self.gone), starved=self.starved)
        for node, server in self.contender.servers.items():
            if server.popen.poll() is None:
                result.cpu[node], result.memory[node] = server.cpu(), server.memory()["VmHWM"]
            elif node not in self.gone:
                result.wrong.append(f"the server of node {node} ended by itself: {server.popen.returncode}")
        result.wan_bytes = self.upstream.written(self.image)
        sent = self.net.sent()
        result.uploads = {i: sent[f"n{i}"] - self.before[f"n{i}"] for i in range(self.case.nodes)}
        result.kept_elsewhere = sum(self.contender.kept(i) for i in range(self.case.nodes) if i not in self.clients)
        self.judge_pulls(result)
        for node, store in self.contender.stores().items():
            result.wrong += [f"node {node} keeps wrong bytes: {path}" for path in images.wrong_files(store)]
        result.wrong += self.contender.complaints()
        return result

    def judge_pulls(self, result):
        wanted = dict(self.image.blobs)
        for node, client in self.clients.items():
            if node in self.gone:
                continue
            report = client.report or {}
            result.pulls[node] = report or {"fallbacks": 0, "reopened": 0, "errors": []}
            got = {digest: size for digest, size in report.get("blobs", {}).items() if digest != self.image.manifest}
            if not report.get("complete") or got != wanted:
                result.wrong.append(f"node {node} did not get the whole image in {self.limit:.0f} s: {' | '.join(report.get('errors', [])[-3:])}")
        starts = [pull["start"] for pull in result.pulls.values() if "start" in pull]
        ends = [result.pulls[node].get("end", 0) for node in self.case.healthy() if node in result.pulls]
        if starts and all(ends):
            result.makespan = max(ends) - min(starts)
            result.bound = cases.bound(self.case, self.image.size(), starts)
