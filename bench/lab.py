"""What every bench needs: processes with their CPU time, free ports, blobs, peers. Loopback and own
network namespaces only; everything started here is ended here, by pid."""
import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["PATH"] += ":/usr/sbin:/sbin"  # an ordinary user has no nginx in his
LAYERD = os.environ.get("LAYERD", os.path.join(ROOT, "build/release/layerd"))
LOAD = os.environ.get("BENCH_LOAD", os.path.join(os.path.dirname(LAYERD), "bench_load"))


def free_port(host="127.0.0.1"):
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def wait_port(host, port, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.01)
    raise RuntimeError(f"nothing listens on {host}:{port}")


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def die_with_us():
    """In a child: killed when the bench is, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    def __init__(self, argv, log, netns=None, env=None, **more):
        if netns:
            argv = ["ip", "netns", "exec", netns] + argv
        self.log = open(log, "ab")
        self.popen = subprocess.Popen(argv, env=env, preexec_fn=die_with_us, **{"stdout": self.log, "stderr": self.log, **more})
        self.pid = self.popen.pid

    def stat_pids(self):
        return [self.pid]

    def cpu(self):
        """CPU seconds so far, user and system: of the threads that run, to the nanosecond."""
        total = 0
        for pid in self.stat_pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    total += int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0])
        return total / 1e9

    def memory(self):
        """RssAnon, VmRSS and VmHWM in bytes."""
        rows = dict(line.split(":", 1) for line in open(f"/proc/{self.pid}/status") if ":" in line)
        return {k: int(rows[k].split()[0]) * 1024 for k in ("RssAnon", "VmRSS", "VmHWM")}

    def stop(self, sig=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(10)
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self.log.close()


class Nginx(Process):
    """One worker, sendfile; access log off but for `log`, which counts body bytes."""

    def __init__(self, lab, root, host="127.0.0.1", port=None, netns=None, limit_rate=None, log=False):
        self.host, self.port = host, port or free_port()
        home = lab.folder("nginx")
        self.access = os.path.join(home, "access.log") if log else None
        rate = f"limit_rate {limit_rate};" if limit_rate else ""
        access = f"access_log {self.access} bytes buffer=4k flush=50ms;" if log else "access_log off;"
        conf = f"""daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log; user root;
events {{ worker_connections 4096; }}
http {{
  log_format bytes '$request_method $body_bytes_sent $uri';
  sendfile on; tcp_nopush on; keepalive_requests 1000000000; {access}
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  default_type application/octet-stream;
  server {{ listen {host}:{self.port} backlog=1024; root {root}; {rate}
    location = /v2/ {{ default_type application/json; return 200 '{{}}'; }}
    location / {{ }} }}
}}"""
        path = os.path.join(home, "nginx.conf")
        open(path, "w").write(conf)
        super().__init__(["nginx", "-c", path, "-p", home], os.path.join(home, "log"), netns)
        time.sleep(0.2)

    def stat_pids(self):
        kids = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True).stdout.split()
        return [int(k) for k in kids] or [self.pid]

    def body_bytes(self):
        time.sleep(0.2)
        return sum(int(line.split()[1]) for line in open(self.access)) if os.path.exists(self.access) else 0


class Registry(Process):
    """A real docker-registry on a folder."""

    def __init__(self, lab):
        self.host, self.port = "127.0.0.1", free_port()
        home = lab.folder("registry")
        path = os.path.join(home, "config.yml")
        open(path, "w").write(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {home}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n")
        super().__init__(["docker-registry", "serve", path], os.path.join(home, "log"))
        wait_port(self.host, self.port)

    def push(self, repository, content):
        base = f"http://127.0.0.1:{self.port}"
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        ask = urllib.request.Request(f"{base}/v2/{repository}/blobs/uploads/", method="POST", data=b"")
        where = urllib.request.urlopen(ask).headers["Location"]
        put = urllib.request.Request(where + ("&" if "?" in where else "?") + "digest=" + digest, method="PUT", data=content)
        put.add_header("Content-Type", "application/octet-stream")
        urllib.request.urlopen(put)
        return digest


class Layerd(Process):
    def __init__(self, lab, endpoint, path=None, wait=True, extra=""):
        self.host, self.port = "127.0.0.1", free_port()
        home = lab.folder("layerd")
        self.path = path or os.path.join(home, "store")
        self.socket = os.path.join(home, "admin.sock")
        self.config = os.path.join(home, "config.yaml")
        open(self.config, "w").write(
            f"listen: 127.0.0.1:{self.port}\nadmin: {{socket: {self.socket}}}\n"
            f"cache: {{path: {self.path}, max_size: 90%, min_free: 1%}}\nlog: {{level: warn}}\n"
            f"mirrors: {{bench.example: {{endpoint: ['{endpoint}'], default_endpoint: false}}}}\n{extra}")
        self.started = time.monotonic()
        super().__init__([LAYERD, "serve", "--config", self.config], os.path.join(home, "log"))
        if wait:
            wait_port(self.host, self.port)

    def status(self):
        out = subprocess.run([LAYERD, "--config", self.config, "status", "--json"], capture_output=True, text=True, check=True)
        return json.loads(out.stdout)


class Lab:
    """A temporary folder, the processes and the namespaces of one bench."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="layerd-bench-")
        self.processes, self.spaces = [], []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def folder(self, name):
        path = tempfile.mkdtemp(prefix=name + "-", dir=self.home)
        os.chmod(path, 0o755)
        return path

    def start(self, process):
        self.processes.append(process)
        return process

    def stop(self, process):
        process.stop()
        self.processes.remove(process)

    def shaped_space(self, rate):
        """A namespace whose way out is shaped to `rate` (tbf). Answers (name, address inside)."""
        name = f"lbench{os.getpid() % 10000}x{len(self.spaces)}"
        net = f"10.{200 + os.getpid() % 50}.{len(self.spaces)}"
        out = f"lb{os.getpid() % 10000}x{len(self.spaces)}"
        for line in (f"ip netns add {name}", f"ip link add {out} type veth peer name eth0 netns {name}",
                     f"ip addr add {net}.1/24 dev {out}", f"ip link set {out} up",
                     f"ip -n {name} addr add {net}.2/24 dev eth0", f"ip -n {name} link set eth0 up",
                     f"ip -n {name} link set lo up",
                     f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate {rate} burst 128k latency 50ms"):
            subprocess.run(line.split(), check=True)
        self.spaces.append(name)
        return name, f"{net}.2"

    def blob(self, size, root):
        """A random file served by a static server as a blob of bench/app. Answers its digest."""
        folder = os.path.join(root, "v2/bench/app/blobs")
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, "new")
        digest = hashlib.sha256()
        with open(temporary, "wb") as file:
            left = size
            while left:
                part = os.urandom(min(left, 1 << 20))
                digest.update(part)
                file.write(part)
                left -= len(part)
        name = "sha256:" + digest.hexdigest()
        os.rename(temporary, os.path.join(folder, name))
        return name


def load(mode, server, target, clients, seconds=None, extra=None, lines=None):
    argv = [LOAD, mode, server.host, str(server.port), target, str(clients)]
    argv += [str(seconds)] if seconds is not None else []
    argv += [str(extra)] if extra is not None else []
    env = dict(os.environ, BENCH_LINES=lines) if lines else None
    done = subprocess.run(argv, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def blob_target(digest, through_layerd=True):
    return f"/v2/bench/app/blobs/{digest}" + ("?ns=bench.example" if through_layerd else "")


def fetch(server, target):
    with urllib.request.urlopen(f"http://{server.host}:{server.port}{target}") as answer:
        return answer.read(), answer.headers


def median(values):
    return statistics.median(values)


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, measured, budget, ok, note=""):
        self.rows.append((what, measured, budget, "ok" if ok else "MISSED", note))
        print(f"  {what}: {measured} (budget {budget}) {'ok' if ok else 'MISSED'} {note}", flush=True)

    def text(self):
        head = ("what", "measured", "budget", "verdict", "figures")
        rows = [head] + self.rows
        widths = [max(len(r[i]) for r in rows) for i in range(5)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)

    def missed(self):
        return [r for r in self.rows if r[3] != "ok"]
