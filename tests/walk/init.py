#!/usr/bin/env python3
"""Process 1 of a machine of the walk, in the place of systemd: it reads layerd's own unit files and does of them what
the walk needs (sockets passed on, Type=notify, User, Environment, Restart, SIGHUP to reload) and no more: nothing is
confined. As `systemctl` it asks process 1.

    init.py                     process 1: sshd, and whatever systemctl starts
    systemctl VERB [--now] UNIT...
"""
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time

CONTROL, NOTIFY, UNITS = "/run/walk-init.sock", "/run/walk-notify", ("/usr/lib/systemd/system", "/usr/local/lib/systemd/system")
START_SECONDS = 10


class Failed(Exception):
    pass


def read_unit(name):
    """Lists of values by key; the sections do not matter here."""
    for folder in UNITS:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name)) as file:
            keys = {}
            for key, found, value in (line.strip().partition("=") for line in file if not line.startswith("#")):
                if found:
                    keys.setdefault(key, []).append(value)
            return keys
    raise Failed(f"Unit {name} not found.")


def first(keys, key, other=None):
    return keys.get(key, [other])[0]


class Socket:
    def __init__(self, name):
        keys, self.open = read_unit(name), []
        for text in keys.get("ListenStream", []):
            self.open.append(self.unix(text, socket.SOCK_STREAM, keys) if text.startswith("/") else self.tcp(text))
        for text in keys.get("ListenSequentialPacket", []):
            self.open.append(self.unix(text, socket.SOCK_SEQPACKET, keys))

    @staticmethod
    def tcp(text):
        host, _, port = text.rpartition(":")
        return socket.create_server((host, int(port)), backlog=1024)

    @staticmethod
    def unix(path, kind, keys):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        made = socket.socket(socket.AF_UNIX, kind)
        made.bind(path)
        owner = pwd.getpwnam(first(keys, "SocketUser", "root"))
        group = pwd.getpwnam(first(keys, "SocketGroup", owner.pw_name))
        os.chown(path, owner.pw_uid, group.pw_gid)
        os.chmod(path, int(first(keys, "SocketMode", "0666"), 8))
        made.listen(64)
        return made


class Service:
    def __init__(self, name, sockets):
        self.name, self.sockets, self.wanted, self.process = name, sockets, False, None
        self.ready = threading.Event()

    def start(self):
        self.wanted = True
        if not self.process or self.process.poll() is not None:
            self.spawn()
        if first(self.keys, "Type") == "notify" and not self.ready.wait(START_SECONDS):
            raise Failed(f"Job for {self.name} failed; see /var/log/{self.name}.log")

    def spawn(self):
        self.keys = read_unit(self.name)
        self.ready.clear()
        user = pwd.getpwnam(first(self.keys, "User", "root"))
        words = first(self.keys, "ExecStart").split()
        sockets = [each for made in self.sockets for each in made.open]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": NOTIFY,
                       "LISTEN_FDS": str(len(sockets))}
        environment.update(each.split("=", 1) for each in self.keys.get("Environment", []))
        for key in ("StateDirectory", "RuntimeDirectory"):
            if key in self.keys:
                folder = ("/var/lib/" if key == "StateDirectory" else "/run/") + first(self.keys, key)
                os.makedirs(folder, exist_ok=True)
                os.chown(folder, user.pw_uid, user.pw_gid)

        # A shell says its own process id, which stays when it becomes the program.
        argv = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"] + words

        def become():
            high = [os.dup2(each.fileno(), 100 + i, False) for i, each in enumerate(sockets)]
            for i, number in enumerate(high):
                os.dup2(number, 3 + i)
            os.umask(int(first(self.keys, "UMask", "0022"), 8))
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)

        with open(f"/var/log/{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(argv, env=environment, preexec_fn=become, stdout=log, stderr=log, cwd="/",
                                            close_fds=False, start_new_session=True)
        threading.Thread(target=self.watch, args=(self.process,), daemon=True).start()

    def watch(self, process):
        process.wait()
        time.sleep(0.25)
        ends_when_idle = self.name == "layerd-opener.service"  # and the next question starts it
        if self.wanted and self.process is process and (ends_when_idle or first(self.keys, "Restart") == "always"):
            self.spawn()

    def stop(self):
        self.wanted = False
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        self.process = None

    def active(self):
        return self.process is not None and self.process.poll() is None


class Init:
    def __init__(self):
        self.sockets, self.services = {}, {}
        self.lock = threading.Lock()
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(NOTIFY)
        os.chmod(NOTIFY, 0o777)
        threading.Thread(target=self.hear, daemon=True).start()

    def hear(self):
        while True:
            if b"READY=1" in self.notify.recv(4096).split(b"\n"):
                for service in self.services.values():
                    service.ready.set()

    def socket(self, name):
        if name not in self.sockets:
            self.sockets[name] = Socket(name)
        return self.sockets[name]

    def service(self, name):
        if name not in self.services:
            read_unit(name)
            mine = name.replace(".service", ".socket")
            self.services[name] = Service(name, [self.socket(mine)])
        return self.services[name]

    def start(self, name):
        if name.endswith(".socket"):
            self.socket(name)
            return
        if name == "layerd.service":
            self.service("layerd-opener.service").start()  # the real one begins with the first question
        self.service(name).start()

    def obey(self, verb, names):
        """The answer's text; raises Failed."""
        said = []
        for name in names:
            unit = name if "." in name else name + ".service"
            if verb in ("start", "enable"):
                self.start(unit)
            elif verb == "restart":
                self.service(unit).stop()
                self.start(unit)
            elif verb in ("stop", "disable"):
                if unit in self.services:
                    self.services[unit].stop()
            elif verb in ("reload", "is-active"):
                service = self.services.get(unit)
                if not service or not service.active():
                    raise Failed("inactive" if verb == "is-active" else f"{unit} is not active, cannot reload.")
                if verb == "reload":
                    service.process.send_signal(signal.SIGHUP)
                else:
                    said.append("active")
            else:
                raise Failed(f"{verb}: not known to this stand-in for systemctl")
        return "\n".join(said)

    def run(self):
        control = socket.socket(socket.AF_UNIX)
        control.bind(CONTROL)
        control.listen()
        print("ready", flush=True)
        while True:
            peer, _ = control.accept()
            with peer, peer.makefile("rw") as lines, self.lock:
                try:
                    words = json.loads(lines.readline())
                    answer = [0, self.obey(words[0], words[1:])]
                except Failed as failed:
                    answer = [1, str(failed)]
                with contextlib.suppress(OSError):
                    lines.write(json.dumps(answer) + "\n")
                    lines.flush()


def ask(words):
    now, words = "--now" in words, [word for word in words if not word.startswith("-")]
    if not words or words[0] == "daemon-reload" or words[0] in ("enable", "disable") and not now:
        return 0
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(CONTROL)
        with control.makefile("rw") as lines:
            lines.write(json.dumps(words) + "\n")
            lines.flush()
            code, said = json.loads(lines.readline())
    if said:
        print(said, file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    if os.path.basename(sys.argv[0]) == "systemctl":
        sys.exit(ask(sys.argv[1:]))
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e"], stdin=subprocess.DEVNULL, stdout=open("/var/log/sshd.log", "ab"), stderr=subprocess.STDOUT)
    Init().run()
