"""Machines for a walk through the README: each has a network namespace on one bridge, a mount namespace with a root of
its own (an overlay over this machine's, in memory: nothing written there outlives it), process ids, a name and a real
sshd of its own. Names begin with walk<random>. systemd is stood in for by init.py.

What is made here is ended here, also after an error and after `kill -9`: a machine is one process, with whose end the
kernel ends all others in it."""
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "bench/site")]
from lab import die_with_us  # noqa: E402
from network import Janitor  # noqa: E402

UPSTREAM = "10.0.0.254"
SSH = "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\nBatchMode yes\nConnectTimeout 5\n"

# Runs as root in the new namespaces; $1 is the machine's folder, $2 its name, $3 the folder of this file.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=4g walk "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" walk "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sys sys
rm -rf var/lib/layerd etc/layerd etc/rancher
mkdir -p root/.ssh
for each in run tmp var/log root/.ssh; do mount -t tmpfs walk "$each"; done
chmod 755 run var/log; chmod 700 root/.ssh
mkdir -p run/sshd run/walk-old
cp "$1.files"/* root/.ssh/ && chmod 600 root/.ssh/*
mv root/.ssh/hosts etc/hosts && chmod 644 etc/hosts
printf '' > etc/resolv.conf
hostname "$2"
printf '%s\\n' "$2" > etc/hostname
mkdir -p usr/local/sbin && cp "$3/init.py" usr/local/sbin/systemctl && chmod 755 usr/local/sbin/systemctl
pivot_root . run/walk-old
cd /
umount -l /run/walk-old
exec /usr/bin/python3 -B "$3/init.py"
"""


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


class Outcome:
    def __init__(self, code, text):
        self.code, self.text = code, text


class Machine:
    def __init__(self, site, name, address):
        self.name, self.address, self.started = name, address, []
        self.space, folder = f"{site.name}-{name}", os.path.join(site.home, name)
        os.makedirs(folder)
        shutil.copytree(site.keys, folder + ".files")
        self.log = open(os.path.join(site.home, name + ".log"), "ab")
        self.outer = subprocess.Popen(
            ["ip", "netns", "exec", self.space, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "sh", "-c", BOOT, "sh", folder, name, HERE],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True, preexec_fn=die_with_us)
        if self.outer.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start: {open(self.log.name).read()}")
        with open(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children") as children:
            self.init = int(children.read().split()[0])

    def entered(self, words):
        home = ["env", "-C", "/root", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", *home, *words]

    def sh(self, script, seconds=120):
        """What an admin types here, with what it said (both streams) and its exit code."""
        done = subprocess.run(self.entered(["bash", "-c", script]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=seconds)
        return Outcome(done.returncode, done.stdout)

    def popen(self, words, **more):
        """A program that ends with the machine, if not before."""
        self.started.append(subprocess.Popen(self.entered(words), preexec_fn=die_with_us, **more))
        return self.started[-1]

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        for process in [self.outer] + self.started:
            process.wait()
        self.log.close()


class Site:
    """names: of the machines; they get 10.0.0.1 and up."""

    def __init__(self, names):
        self.names, self.name = names, "walk" + secrets.token_hex(2)
        self.home = tempfile.mkdtemp(prefix="layerd-walk-")
        os.chmod(self.home, 0o755)
        self.janitor = Janitor()
        self.janitor.note("folder", self.home)
        self.spaces, self.machines, self.processes = [], {}, []

    def __enter__(self):
        try:
            self.build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for machine in self.machines.values():
            machine.stop()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def build(self):
        switch = self.add_space("sw")
        run("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", switch, "link", "set", "br0", "up")
        self.plug("up", UPSTREAM)
        addresses = {name: f"10.0.0.{i + 1}" for i, name in enumerate(self.names)}
        self.make_keys(addresses)
        for name, address in addresses.items():
            self.plug(name, address)
            self.machines[name] = Machine(self, name, address)

    def add_space(self, name):
        space = f"{self.name}-{name}"
        self.janitor.note("space", space)
        run("ip", "netns", "add", space)
        self.spaces.append(space)
        return space

    def plug(self, name, address):
        space, switch = self.add_space(name), f"{self.name}-sw"
        run("ip", "-n", switch, "link", "add", "to-" + name, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "-n", switch, "link", "set", "dev", "to-" + name, "master", "br0", "up")
        run("ip", "-n", space, "link", "set", "lo", "up")
        run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")

    def make_keys(self, addresses):
        """One key pair for all of them, as after ssh-copy-id, and their names."""
        self.keys = os.path.join(self.home, "keys")
        os.makedirs(self.keys)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self.keys, "id_ed25519"))
        shutil.copy(os.path.join(self.keys, "id_ed25519.pub"), os.path.join(self.keys, "authorized_keys"))
        for name, text in (("config", SSH), ("hosts", "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for n, a in addresses.items()))):
            with open(os.path.join(self.keys, name), "w") as file:
                file.write(text)

    def upstream(self, folder):
        """The fake registry of bench/site at UPSTREAM:5000; answers the path of its control socket."""
        control = os.path.join(self.home, "upstream.sock")
        self.processes.append(subprocess.Popen(
            ["ip", "netns", "exec", f"{self.name}-up", sys.executable, "-B", os.path.join(ROOT, "bench/site/upstream.py"), folder,
             UPSTREAM, "5000", "0.02", control], preexec_fn=die_with_us))
        end = time.monotonic() + 20
        while not os.path.exists(control) and time.monotonic() < end:
            time.sleep(0.02)
        return control
