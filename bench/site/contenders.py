"""What brings the images: nothing, layerd alone on each node, a central cache (nginx, distribution) on node 0, layerd
with peers. Each answers where a node's client asks, in order; the last is always the upstream, as it is for containerd."""
import base64
import os
import secrets
import socket
import subprocess
import sys
import time

from network import UPSTREAM, node_address

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lab import LAYERD, Process  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
UPSTREAM_PORT = 5000
CENTRAL = 0
REGISTRY = "registry.test"
PEER_PORT = 5152
COMPLAINTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "LAYERD_CHECK", "check failed")


class Direct:
    name = "none"
    ranges = True  # the upstream answers Range

    def __init__(self, lab, net, case):
        self.lab, self.net, self.case = lab, net, case
        self.servers = {}  # node: Process

    def start(self):
        pass

    def hosts(self, node):
        return [f"{UPSTREAM}:{UPSTREAM_PORT}"]

    def run(self, node, argv, home):
        process = self.lab.start(Process(argv, os.path.join(home, "log"), netns=self.net.node(node)))
        self.servers[node] = process
        return process

    def stores(self):
        """The folder of each node that keeps blobs as layerd does."""
        return {}

    def kept(self, node):
        """Bytes of blobs, whole and partial, that a node keeps on its disk."""
        return 0

    def complaints(self):
        return []


def file_bytes(folder):
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Central(Direct):
    """A cache on node 0 that all ask first."""

    def hosts(self, node):
        return [f"{node_address(CENTRAL)}:{UPSTREAM_PORT}"] + super().hosts(node)

    def kept(self, node):
        return file_bytes(self.cache) if node == CENTRAL else 0


class Nginx(Central):
    name = "nginx"

    def start(self):
        home = self.lab.folder("nginx")
        self.cache = os.path.join(home, "cache")
        os.makedirs(self.cache)
        path = os.path.join(home, "nginx.conf")
        with open(path, "w") as file:
            file.write(f"""daemon off; master_process off; pid {home}/pid; error_log {home}/error.log; user root;
events {{ worker_connections 1024; }}
http {{
  sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000000;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  proxy_cache_path {self.cache} levels=1:2 keys_zone=images:10m max_size=20g inactive=1d use_temp_path=off;
  upstream registry {{ server {UPSTREAM}:{UPSTREAM_PORT}; keepalive 16; }}
  server {{ listen {UPSTREAM_PORT} backlog=1024;
    location / {{
      proxy_pass http://registry; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 600s;
      proxy_cache images; proxy_cache_key $uri; proxy_cache_valid 200 1d;
      proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h; }} }}
}}""")
        self.run(CENTRAL, ["nginx", "-c", path, "-p", home], home)


class Distribution(Central):
    name = "distribution"

    def start(self):
        home = self.lab.folder("distribution")
        self.cache = os.path.join(home, "data")
        os.makedirs(self.cache)
        path = os.path.join(home, "config.yml")
        with open(path, "w") as file:
            file.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                       f"storage: {{filesystem: {{rootdirectory: {self.cache}}}, delete: {{enabled: true}}}}\n"
                       f"http: {{addr: ':{UPSTREAM_PORT}'}}\nproxy: {{remoteurl: 'http://{UPSTREAM}:{UPSTREAM_PORT}'}}\n")
        self.run(CENTRAL, ["docker-registry", "serve", path], home)


class Alone(Direct):
    """layerd on each node, no peers."""
    name = "alone"

    def __init__(self, lab, net, case):
        super().__init__(lab, net, case)
        self.homes = {}
        self.held = set()  # nodes whose socket outlives layerd, as under systemd

    def hosts(self, node):
        return [f"127.0.0.1:5151?ns={REGISTRY}"] + super().hosts(node)

    def home(self, node):
        if node not in self.homes:
            self.homes[node] = self.lab.folder(f"n{node}")
        return self.homes[node]

    def store(self, node):
        return os.path.join(self.home(node), "store")

    def stores(self):
        return {node: self.store(node) for node in self.servers}

    def kept(self, node):
        return sum(file_bytes(os.path.join(self.store(node), each)) for each in ("blobs", "partial"))

    def configuration(self, node):
        home = self.home(node)
        return (f"listen: 127.0.0.1:5151\nadmin: {{socket: {home}/admin.sock}}\n"
                f"cache: {{path: {self.store(node)}, max_size: 90%, min_free: 1%}}\nlog: {{level: info}}\n"
                f"mirrors: {{{REGISTRY}: {{endpoint: ['http://{UPSTREAM}:{UPSTREAM_PORT}'], default_endpoint: false}}}}\n")

    def start(self):
        for node in range(self.case.nodes):
            if node not in self.case.dead:
                self.start_node(node)
        for node in self.servers:
            self.wait(node)

    def start_node(self, node):
        config = os.path.join(self.home(node), "config.yaml")
        with open(config, "w") as file:
            file.write(self.configuration(node))
        held = [sys.executable, "-B", os.path.join(HERE, "held.py"), "127.0.0.1", "5151"] if node in self.held else []
        self.run(node, held + [LAYERD, "serve", "--config", config], self.home(node))

    def wait(self, node, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.servers[node].popen.poll() is None:
            try:
                with socket.socket(socket.AF_UNIX) as admin:
                    admin.connect(os.path.join(self.home(node), "admin.sock"))
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"layerd of node {node} does not come up: {self.log(node)[-2000:]}")

    def log(self, node):
        with open(os.path.join(self.home(node), "log"), errors="replace") as file:
            return file.read()

    def complaints(self):
        """Lines in which a sanitizer or a failed check speaks."""
        return [f"node {node}: {line}" for node in self.servers for line in self.log(node).splitlines() if any(sign in line for sign in COMPLAINTS)]


class Layerd(Alone):
    """layerd on each node, with peers."""
    name = "layerd"

    def __init__(self, lab, net, case):
        super().__init__(lab, net, case)
        self.secret_file = self.make_secret("site.secret")
        self.views = {}    # node: the members it lists, where they are not all
        self.secrets = {}  # node: its secret file, where it is not the site's

    def make_secret(self, name):
        path = os.path.join(self.lab.home, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path

    def members(self, node):
        return self.views.get(node, [node_address(i) for i in range(self.case.nodes)])

    def configuration(self, node):
        listed = ", ".join(f"'{address}:{PEER_PORT}'" for address in self.members(node))
        return super().configuration(node) + (
            f"peers: {{listen: '{node_address(node)}:{PEER_PORT}', site: lab, {self.proof(node)}, members: [{listed}]}}\n")

    def proof(self, node):
        """What makes it a member."""
        return f"secret_file: {self.secrets.get(node, self.secret_file)}"


class Certificates(Layerd):
    """layerd with peers that know each other by certificates of a CA of the lab."""
    name = "certificates"

    def __init__(self, lab, net, case):
        super().__init__(lab, net, case)
        self.folder = lab.folder("ca")
        self.openssl("req", "-x509", *self.new_key("ca"), "-days", "2", "-subj", "/CN=lab", "-out", self.file("ca.crt"))

    def file(self, name):
        return os.path.join(self.folder, name)

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.file(name + ".key")]

    @staticmethod
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def proof(self, node):
        name = f"n{node}"
        extensions = ["-addext", f"subjectAltName=DNS:{name}.lab.test", "-addext", "extendedKeyUsage=clientAuth,serverAuth"]
        self.openssl("req", *self.new_key(name), "-subj", f"/CN={name}", *extensions, "-out", self.file(name + ".csr"))
        self.openssl("x509", "-req", "-in", self.file(name + ".csr"), "-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"), "-CAcreateserial",
                     "-days", "2", "-copy_extensions", "copy", "-out", self.file(name + ".crt"))
        os.chmod(self.file(name + ".key"), 0o600)
        return (f"tls: {{cert_file: {self.file(name)}.crt, key_file: {self.file(name)}.key, ca_file: {self.file('ca.crt')}, "
                f"names: ['*.lab.test']}}")


class Whole(Layerd):
    """layerd with peers, before an upstream that ignores Range: every blob is one unit."""
    name = "whole"
    ranges = False


CONTENDERS = {each.name: each for each in (Direct, Alone, Distribution, Nginx, Layerd, Certificates, Whole)}
SHARING = (Layerd.name, Certificates.name)  # held to the bars
FULL = (*SHARING, Alone.name, Whole.name)   # gets the whole image
