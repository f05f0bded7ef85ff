#!/usr/bin/env python3
"""README's "Sharing between nodes", walked: its own lines, on three machines and a fourth (machines.py).

    three_machines.py           as root; needs ip, unshare, sshd, iptables, cmake, and the preset release (or LAYERD)

Judged: upstream sends one copy of what three nodes pull at once, every byte is right, a closed port is told and its
remedy works, the fourth node joins, the one thrown out is refused, who undid it is alone. The lines come out of
README.md as they stand there, so a line that does not work fails here. Not walked: apt-get (the machines have no
internet), firewall-cmd, ufw, k3s itself. Ends with 0 if all went well."""
import json
import os
import re
import shlex
import signal
import socket
import sys
import time

from machines import ROOT, Site, UPSTREAM  # it says where the next two are
import images  # noqa: E402
from lab import LAYERD  # noqa: E402

BUILD = os.path.dirname(os.path.abspath(LAYERD))
CLIENT = os.path.join(ROOT, "bench/site/client.py")
THROUGH_LAYERD = "127.0.0.1:5151?ns=docker.io"
REGISTRIES = f'mirrors:\n  docker.io:\n    endpoint: ["http://{UPSTREAM}:5000"]\n'
PATIENCE = 60  # seconds; a machine with sanitizers and two processors is slow


def readme_blocks():
    """The shell blocks of the section, without the indent of lists."""
    with open(os.path.join(ROOT, "README.md")) as file:
        section = file.read().split("\n## Sharing between nodes\n")[1].split("\n## ")[0]
    found = re.findall(r"^( *)```(?:ba)?sh\n(.*?)^ *```$", section, re.M | re.S)
    return [re.sub(f"^{indent}", "", text, flags=re.M) for indent, text in found]


class Walk:
    def __init__(self, site, folder):
        self.site, self.folder, self.faults = site, folder, []
        self.blocks = readme_blocks()
        self.control = site.upstream(folder)

    # ---- what is seen --------------------------------------------------------------------------------------------
    def judge(self, what, well, figures=""):
        print(f"{'ok' if well else 'WRONG':5}  {what}  {figures}".rstrip(), flush=True)
        if not well:
            self.faults.append(what)

    def block(self, word):
        return next(text for text in self.blocks if word in text)

    def type(self, name, script):
        """On the machine of that name, and it must go well."""
        done = self.site.machines[name].sh("set -e\n" + script)
        if done.code != 0:
            raise RuntimeError(f"on {name}:\n{script}\nended with {done.code}:\n{done.text}")
        return done.text

    def peers(self, name):
        return json.loads(self.type(name, "layerd peers --json"))

    def states(self, name):
        return {row["id"].split(":")[0]: row.get("state") for row in self.peers(name)["members"] if not row["is_self"]}

    def wait_for(self, what, seen):
        begun = time.monotonic()
        while not (last := seen()) and time.monotonic() < begun + PATIENCE:
            time.sleep(0.5)
        self.judge(what, bool(last), f"after {time.monotonic() - begun:.1f} s")
        return last

    def all_alive(self, *names):
        address = {name: self.site.machines[name].address for name in names}
        return all(self.states(name).get(address[other]) == "alive" for name in names for other in names if other != name)

    def sent_by_upstream(self, image):
        """Bytes of its configuration and layers; each node asks for the manifest itself."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.control)
            with control.makefile("rw") as lines:
                lines.write("counts\n")
                lines.flush()
                written = json.loads(lines.readline())["written"]
        return sum(written.get(digest, 0) for digest in image.blobs)

    def image(self, name, scale):
        return images.make_image(self.folder, "lab-app", scale, "library/" + name)

    def pull(self, image, *names):
        """At once on all of them; whether each has every byte, as sha256 says."""
        clients = [self.site.machines[name].popen(["/usr/bin/python3", "-B", CLIENT, image.repository, image.tag, THROUGH_LAYERD],
                                                  stdin=-1, stdout=-1, text=True) for name in names]
        for client in clients:
            client.stdout.readline()
        start = time.monotonic() + 0.5
        wanted = {**image.blobs, image.manifest: None}
        exact = True
        for client in clients:
            client.stdin.write(f"start {start}\n")
            client.stdin.flush()
        for client in clients:
            said = json.loads(client.communicate()[0])
            exact = exact and said["complete"] and said["blobs"].keys() == wanted.keys()
        return exact

    def pull_one_copy(self, what, image, *names):
        exact, size, sent = self.pull(image, *names), image.size(), self.sent_by_upstream(image)
        self.judge(f"{what}: every byte is right", exact)
        self.judge(f"{what}: upstream sent one copy", sent == size, f"{sent} of {size} bytes")

    # ---- the steps -----------------------------------------------------------------------------------------------
    def install(self):
        for name in self.site.machines:
            self.type(name, f"mkdir -p /etc/rancher/k3s && printf %s {shlex.quote(REGISTRIES)} > /etc/rancher/k3s/registries.yaml")
        self.type("n1", f"cmake --install {BUILD} && systemd-sysusers && systemd-tmpfiles --create\n"
                        "systemctl enable --now layerd.socket layerd.service && layerd setup k3s")
        for name in ("n2", "n3"):
            self.before(name)

    def before(self, name):
        lines = [line for line in self.block("DESTDIR=").splitlines() if "apt-get" not in line]
        self.type("n1", "\n".join(lines).replace("build/release", BUILD).replace("n2", name))

    def make_the_site(self):
        self.type("n1", self.block("layerd peers secret -o"))
        for name in ("n2", "n3"):
            self.type("n1", f"scp /root/invitation {name}:")
            self.type(name, self.block("layerd join invitation"))
        self.type("n1", "rm /root/invitation")
        self.wait_for("three nodes find each other alive", lambda: self.all_alive("n1", "n2", "n3"))

    def close_a_port(self):
        self.type("n3", "iptables -A INPUT -p tcp --dport 5152 -j DROP")
        self.wait_for("a closed port is told as dead", lambda: self.states("n1").get("10.0.0.3") == "dead")
        self.type("n3", "iptables -D INPUT -p tcp --dport 5152 -j DROP")
        self.wait_for("opened: alive", lambda: self.all_alive("n1", "n2", "n3"))

    def add_a_fourth(self, held):
        self.before("n4")
        self.type("n2", "layerd peers invite -o FILE && scp FILE n4: && rm FILE")
        self.type("n4", "layerd join FILE && systemctl restart layerd && rm FILE")
        before = self.sent_by_upstream(held)
        self.judge("the fourth node has every byte", self.pull(held, "n4"))
        more = self.sent_by_upstream(held) - before
        self.judge("the fourth node got them from the others", more == 0, f"{more} bytes from upstream")
        self.type("n4", "layerd peers invite -o FILE && for each in n1 n2 n3; do scp FILE $each:; done; rm FILE")
        for name in ("n1", "n2", "n3"):
            self.type(name, "layerd join FILE && systemctl reload layerd && rm FILE")
        self.wait_for("all four find each other alive", lambda: self.all_alive("n1", "n2", "n3", "n4"))

    def throw_out_the_fourth(self, held):
        # The reader copies to n3 as well, which the comment of the line says.
        rounds = [line + f"\n{line.replace('n2', 'n3')}\nsleep 3" if line.startswith("scp") else line
                  for line in self.block("layerd peers secret >>").splitlines()]
        self.type("n1", "\n".join(rounds))
        before = self.sent_by_upstream(held)
        given = sum(row.get("received_bytes", 0) for row in self.peers("n4")["members"])
        self.judge("the node thrown out still pulls", self.pull(held, "n4"))
        more = self.sent_by_upstream(held) - before
        self.judge("the node thrown out gets nothing of the others", more == held.size() and given == sum(
            row.get("received_bytes", 0) for row in self.peers("n4")["members"]), f"{more} of {held.size()} bytes from upstream")
        self.wait_for("the node thrown out is refused", lambda: set(self.states("n4").values()) == {"refused"})
        self.wait_for("and its own word counts no more", lambda: self.states("n1").get("10.0.0.4") == "refused")

    def undo(self):
        self.type("n3", "sed -i '/^peers:/,$d' /etc/layerd/config.yaml && systemctl restart layerd && rm /etc/layerd/peer.key")
        self.judge("undone: nothing is shared", "nothing is shared" in self.type("n3", "layerd peers"))
        self.type("n3", "layerd setup k3s --undo")
        kept = self.type("n3", "cat /etc/rancher/k3s/registries.yaml")
        self.judge("undone: registries.yaml is as it was", kept == REGISTRIES)

    def run(self):
        images.make_image(self.folder, "lab-app", 2000, "library/hello-world", "latest")
        first, second, third = self.image("first", 4), self.image("second", 8), self.image("third", 8)
        self.install()
        self.make_the_site()
        self.pull_one_copy("three pull at once", first, "n1", "n2", "n3")
        self.close_a_port()
        self.add_a_fourth(first)
        self.pull_one_copy("three pull at once, the fourth does not", second, "n1", "n2", "n3")
        self.throw_out_the_fourth(second)
        self.pull_one_copy("three pull at once under the new secret", third, "n1", "n2", "n3")
        self.undo()


def main():
    if os.geteuid() != 0:
        sys.exit("namespaces need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Site(["n1", "n2", "n3", "n4"]) as site:
        folder = os.path.join(site.home, "images")
        os.makedirs(folder)
        walk = Walk(site, folder)
        walk.run()
    print(f"{len(walk.faults)} wrong")
    return 1 if walk.faults else 0


if __name__ == "__main__":
    sys.exit(main())
