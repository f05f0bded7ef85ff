#!/usr/bin/env python3
"""Faults while a site pulls. Each must end with every living node's image byte-exact, in bounded time and with bounded
WAN bytes, and with nothing wrong in any store.

    bench/site/faults.py [--only killed,partition] [--scale 2] [--logs FOLDER]

What a member does that lies, speaks another version or shows an expired certificate is tested where members can be
scripted (tests/unit/peers, tests/unit/net, tests/sim)."""
import argparse
import dataclasses
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True
import cases  # noqa: E402
from contenders import CONTENDERS  # noqa: E402
from images import Gallery  # noqa: E402
from lab import LAYERD, Lab  # noqa: E402
from network import Janitor, node_address  # noqa: E402
from trial import Trial  # noqa: E402

SITE = cases.Case("site", "", 8, 50, 200)


@dataclasses.dataclass
class Fault:
    """run: does it all with a Trial whose contender did not start yet, and answers its Outcome. time: bar for the
    makespan over the bound (+ 10 s); copies: bar for the WAN."""
    name: str
    what: str
    run: callable
    case: cases.Case = SITE
    copies: float = 1.35
    time: float = 4
    spare: float = 10  # seconds on top


def middle_of(trial, share=0.4):
    """A moment at which that share of the image can have come over the WAN."""
    return share * cases.seconds_for(trial.image.size(), trial.case.wan)


def killed(trial):
    trial.at(middle_of(trial), lambda: trial.kill(trial.busiest()))
    return trial.run()


def killed_silently(trial):
    trial.at(middle_of(trial), lambda: trial.kill(trial.busiest(), quietly=True))
    return trial.run()


def stopped(trial):
    """Its kernel goes on acknowledging: nothing comes, and nothing breaks."""
    def act():
        node = trial.busiest()
        trial.gone.add(node)
        for process in (trial.clients[node], trial.contender.servers[node]):
            process.popen.send_signal(signal.SIGSTOP)

    trial.at(middle_of(trial), act)
    return trial.run()


def link_down(trial):
    """The cable of the busiest node for six seconds; the node itself gets its image, too."""
    cut = []

    def act():
        cut.append(trial.busiest())
        trial.net.link(cut[0], False)

    trial.at(middle_of(trial), act)
    trial.at(middle_of(trial) + 6, lambda: trial.net.link(cut[0], True))
    return trial.run()


def restarted(trial):
    """layerd of the busiest node is killed and started again, its socket stays as under systemd; its client, like
    containerd, goes on at its offset."""
    trial.contender.held = set(range(trial.case.nodes))
    trial.at(middle_of(trial), lambda: trial.contender.servers[trial.busiest()].popen.send_signal(signal.SIGUSR1))
    return trial.run()


def partition(trial):
    """The site falls in two for six seconds, each half keeps its way to the upstream, and heals."""
    one, other = range(0, 4), range(4, 8)
    trial.at(middle_of(trial, 0.3), lambda: trial.net.partition(one, other))
    trial.at(middle_of(trial, 0.3) + 6, lambda: trial.net.heal(one, other))
    return trial.run()


def views_differ(trial):
    """Each of 20 nodes does not know of one other, and lists one that is not there."""
    count = trial.case.nodes
    for node in range(count):
        missed = (node + 1 + trial.random.randrange(count - 1)) % count
        trial.contender.views[node] = [node_address(i) for i in range(count) if i != missed] + [node_address(200 + node)]
    return trial.run()


def coordinators_die(trial):
    """Two nodes that nobody pulls on keep books and nothing else; both die."""
    for node in (6, 7):
        trial.at(middle_of(trial, 0.3 + 0.1 * (node - 6)), lambda node=node: trial.kill(node, quietly=node == 7))
    return trial.run()


def wrong_secret(trial):
    """Node 3 is no member, though listed: it pulls as if it were alone, and the others do without it."""
    trial.contender.secrets[3] = trial.contender.make_secret("other.secret")
    return trial.run()


def disk_full(trial):
    """The node that starts first, and so is sent to the WAN, has no room for half of what it fetches."""
    store = trial.contender.store(0)
    os.makedirs(store)
    room = int(trial.image.size() * 0.4)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room},mode=0700", "tmpfs", store], check=True)
    trial.stack.callback(subprocess.run, ["umount", "-l", store], check=False)
    trial.contender.start()
    trial.pull({node: 0.3 * (node > 0) for node in range(trial.case.nodes)})
    return trial.outcome()


def upstream_dies(trial):
    """It resets all connections and refuses new ones for five seconds."""
    trial.at(middle_of(trial), lambda: trial.upstream.tell("down"))
    trial.at(middle_of(trial) + 5, lambda: trial.upstream.tell("up"))
    return trial.run()


def upstream_gone(trial):
    """One node has the image; then there is no upstream any more, and the others pull it by its tag."""
    trial.contender.start()
    trial.pull({0: 0})
    time.sleep(1)  # its records reach the site
    trial.upstream.tell("down")
    trial.pull({node: 0.01 * node for node in range(1, trial.case.nodes)})
    outcome = trial.outcome()
    outcome.makespan = max(pull.get("end", 0) for pull in outcome.pulls.values()) - trial.begun
    return outcome


def no_ranges(trial):
    trial.upstream.tell("ranges off")
    return trial.run()


def ghosts(trial):
    """200 members listed, 180 of them not there: half of these answer nothing at all, half are unreachable for the kernel."""
    count = trial.case.nodes
    silent = [node_address(i) for i in range(count, 110)]
    for node in range(count):
        trial.net.lose(node, silent)
        trial.contender.views[node] = [node_address(i) for i in range(200)]
    return trial.run()


def alone(trial):
    """A single member: exactly as without peers."""
    return trial.run()


FAULTS = [
    Fault("killed", "the busiest node dies, its connections are reset", killed),
    Fault("killed-silently", "the busiest node dies, and its cable with it", killed_silently),
    Fault("stopped", "the busiest node's layerd hangs (SIGSTOP)", stopped),
    Fault("link-down", "the busiest node's cable is out for 6 s", link_down),
    Fault("restarted", "the busiest node's layerd is killed and started again", restarted, copies=1.5),
    Fault("partition", "two halves for 6 s, then one site again", partition, copies=2.1),
    Fault("views", "20 nodes, views differ by 5 % each way", views_differ, dataclasses.replace(SITE, nodes=20), copies=1.3),
    Fault("coordinators", "two nodes that only coordinate die", coordinators_die, dataclasses.replace(SITE, pullers=(0, 1, 2, 3, 4, 5)), copies=1.1),
    Fault("wrong-secret", "one node has another secret", wrong_secret, copies=2.1),
    Fault("disk-full", "the fetcher's disk is full", disk_full, copies=2.2),
    Fault("upstream-dies", "the upstream is away for 5 s", upstream_dies, copies=1.2),
    Fault("upstream-gone", "one node has it, and there is no upstream", upstream_gone, copies=1.02),
    Fault("no-ranges", "the upstream ignores Range", no_ranges, copies=1.1),
    Fault("ghosts", "200 members listed, 180 not there, 10 pull", ghosts, dataclasses.replace(SITE, nodes=20, pullers=tuple(range(0, 20, 2))), copies=1.1),
    Fault("alone", "one member", alone, dataclasses.replace(SITE, nodes=1), copies=1.02, time=1.3),
]


def verdict(fault, outcome):
    missed = list(outcome.wrong)
    allowed = fault.time * outcome.bound + fault.spare
    if outcome.makespan > allowed:
        missed.append(f"{outcome.makespan:.1f} s > {allowed:.1f}")
    if outcome.copies() > fault.copies:
        missed.append(f"WAN {outcome.copies():.3f} > {fault.copies:.2f}")
    return missed


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(fault.name for fault in FAULTS))
    parser.add_argument("--scale", type=float, default=2, help="the image is so many times smaller than lab-app")
    parser.add_argument("--contender", default="layerd", choices=list(CONTENDERS), help="'none' shows what the lab itself does")
    parser.add_argument("--logs", help="keeps logs and configurations in this folder")
    return parser.parse_args()


def run(chosen):
    failed = 0
    with Lab() as lab:
        janitor = Janitor()
        janitor.note("folder", lab.home)
        folder, image = Gallery(lab.home).get("lab-app", chosen.scale)
        for fault in [fault for fault in FAULTS if fault.name in chosen.only.split(",")]:
            case = dataclasses.replace(fault.case, name=fault.name)
            with Trial(case, CONTENDERS[chosen.contender], folder, image, janitor, logs=chosen.logs) as trial:
                outcome = fault.run(trial)
            missed = verdict(fault, outcome)
            failed += bool(missed)
            print(f"{fault.name:16} {fault.what:52} {outcome.makespan:6.1f} s of {outcome.bound:5.1f}  WAN {outcome.copies():.3f}  "
                  f"reopened/direct {outcome.reopened()}/{outcome.fallbacks()}  starved {outcome.starved:.0%}  {'MISSED: ' + '; '.join(missed)[:400] if missed else 'ok'}", flush=True)
    print(f"{failed} failed")
    return 1 if failed else 0


def main():
    chosen = options()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    if not os.path.exists(LAYERD):
        sys.exit(f"{LAYERD} is missing: build the preset release, or set LAYERD")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
