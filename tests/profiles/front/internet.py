"""The outside world of tests/profiles in one process: hosts by name, each a registry, a token server or a storage.

Every port takes TLS and plain HTTP; who answers is decided by scheme and Host, as behind one big load balancer. What is
asked is written to a record, one line a request. Behind the registries stands one real docker-registry that serves the
bytes. This file knows no product; what the products differs. It shares nothing with layerd.

It runs in a network namespace of its own. FOLDER/storage is the real registry's; the front writes into FOLDER: record,
public-ca.crt and site-ca.crt, hosts (name and address, for DNS) and, once all ports are open, ready.

usage: internet.py FOLDER
"""
import base64
import ctypes
import http.client
import http.server
import itertools
import os
import re
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

REGISTRY_PORT = 5999  # the real docker-registry, on the loopback of this namespace
# Where hosts are: on the internet, inside the site, and behind the site's ingress.
PUBLIC, SITE, INGRESS = "52.90.0.1", "10.0.24.28", "192.168.10.100"
INGRESS_SERVER = """
  server {
    listen %(address)s:443 ssl;
    server_name %(host)s;
    ssl_certificate %(folder)s/site.crt;
    ssl_certificate_key %(folder)s/site.key;
    client_max_body_size 0;
    location / {
      proxy_pass http://%(site)s:80;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https;
    }
  }
"""


class Reply:
    def __init__(self, status, body=b"", headers=(), kind="application/json"):
        self.status, self.headers = status, list(headers)
        self.body = body.encode() if isinstance(body, str) else body
        if kind and not any(name.lower() == "content-type" for name, _ in self.headers):
            self.headers.append(("Content-Type", kind))


def error(status, code, message, headers=()):
    return Reply(status, '{"errors":[{"code":"%s","message":"%s","detail":null}]}' % (code, message), headers)


class Request:
    def __init__(self, handler, body):
        self.method, self.target, self.headers = handler.command, handler.path, handler.headers
        self.path, _, query = handler.path.partition("?")
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        self.form = urllib.parse.parse_qs(body.decode(), keep_blank_values=True)
        self.body = body.decode()
        self.scheme = "https" if handler.is_tls else "http"
        host = handler.headers.get("Host", "")
        self.host = re.sub(":443$" if handler.is_tls else ":80$", "", host)
        self.origin = self.scheme + "://" + self.host
        self.authorization = handler.headers.get("Authorization", "")
        self.is_read = self.method in ("GET", "HEAD")

    @property
    def basic(self):
        """(user, password), or None."""
        if not self.authorization.lower().startswith("basic "):
            return None
        user, _, password = base64.b64decode(self.authorization[6:]).decode().partition(":")
        return user, password

    @property
    def bearer(self):
        return self.authorization[7:] if self.authorization.lower().startswith("bearer ") else None

    def credential(self):
        """For the record: what a reader wants to see, on one line."""
        if self.basic:
            return "Basic " + ":".join(self.basic).replace("\n", "\\n")
        return self.authorization

    def object(self, prefix="/v2/"):
        """(repository, "manifests" or "blobs", reference), or None."""
        found = re.match(re.escape(prefix) + r"(.+)/(manifests|blobs|tags|referrers)/([^/]+)$", self.path)
        return found.groups() if found else None


def from_registry(rq, path=None):
    """What the real docker-registry says to this request."""
    connection = http.client.HTTPConnection("127.0.0.1", REGISTRY_PORT, timeout=20)
    headers = {name: rq.headers[name] for name in ("Accept", "Range", "If-None-Match") if rq.headers.get(name)}
    connection.request(rq.method, path or rq.path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    dropped = ("connection", "date", "transfer-encoding") + (() if rq.method == "HEAD" else ("content-length",))
    kept = [(name, value) for name, value in response.getheaders() if name.lower() not in dropped]
    connection.close()
    return Reply(response.status, body, kept, None)


class Storage:
    """Object storage behind signed URLs, which refuses whoever brings an Authorization besides (protocol.md §3.3)."""
    S3 = (400, "<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism allowed; only the X-Amz-Algorithm "
               "query parameter, Signature query string parameter or the Authorization header should be specified"
               "</Message></Error>")
    AZURE = (400, "<Error><Code>InvalidAuthenticationInfo</Code><Message>Authentication information is not given in "
                  "the correct format. Check the value of Authorization header.</Message></Error>")
    SIGNED = {}
    COUNT = itertools.count(1)

    def __init__(self, host, path="/{hex}", refusal=S3, takes_head=False, parameter="X-Amz-Signature"):
        self.hosts, self.host, self.path, self.refusal = ["https://" + host], host, path, refusal
        self.takes_head, self.parameter = takes_head, parameter

    def location(self, rq, digest):
        signature = "signed%d" % next(self.COUNT)
        self.SIGNED[signature] = (self.host, rq.path)
        path = self.path.format(hex=digest.partition(":")[2], digest=digest)
        return "https://%s%s?%s=%s" % (self.host, path, self.parameter, signature)

    def answer(self, rq):
        if rq.authorization:
            return Reply(*self.refusal, kind="application/xml")
        host, path = self.SIGNED.get(rq.query.get(self.parameter, [""])[0], (None, None))
        if host != self.host or not (rq.method == "GET" or (rq.method == "HEAD" and self.takes_head)):
            return Reply(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>", kind="application/xml")
        reply = from_registry(rq, path)
        # A bucket knows no registry's headers, and its objects are only bytes.
        reply.headers = [(name, value) for name, value in reply.headers if not name.lower().startswith("docker-")]
        return reply


class Realm:
    """A host of its own for tokens; the registry it belongs to judges."""
    def __init__(self, host, registry):
        self.hosts, self.registry = [host], registry

    def answer(self, rq):
        return self.registry.token(rq)


class World:
    def __init__(self, folder, members):
        self.folder, self.lock = folder, threading.Lock()
        self.by_origin = {origin: member for member in members for origin in member.hosts}
        self.contexts = {}
        for kind in ("public", "site"):
            names = [urllib.parse.urlsplit(origin).hostname for origin, member in self.by_origin.items()
                     if getattr(member, "certificate", "public") == kind]
            extra = ["cache.corp.example"] if kind == "site" else []
            make_certificate(folder, kind, sorted(set(names + extra)))
            self.contexts[kind] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.contexts[kind].load_cert_chain(folder + "/%s.crt" % kind, folder + "/%s.key" % kind)

        def choose(connection, name, _):
            connection.context = self.contexts[self.certificate_of(name)]
        self.contexts["public"].sni_callback = choose

    def certificate_of(self, name):
        for origin, member in self.by_origin.items():
            if urllib.parse.urlsplit(origin).hostname == name:
                return getattr(member, "certificate", "public")
        return "public"

    def places(self):
        """(name, address to tell, port, whether behind the ingress) of every host."""
        for origin, member in self.by_origin.items():
            url = urllib.parse.urlsplit(origin)
            is_behind = getattr(member, "ingress", False)
            address = SITE if getattr(member, "certificate", "public") == "site" else PUBLIC
            yield url.hostname, address, url.port or (443 if url.scheme == "https" else 80), is_behind

    def answer(self, rq):
        member = self.by_origin.get(rq.origin)
        if member is None:
            return Reply(404, "404 page not found\n", kind="text/plain")
        return member.answer(rq)

    def note(self, rq, reply):
        fields = (rq.origin, rq.method, rq.target, str(reply.status), rq.credential(), rq.body)
        with self.lock, open(self.folder + "/record", "a", encoding="utf-8") as record:
            record.write("\t".join(field.replace("\n", "\\n") for field in fields) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "front", ""
    world = None

    def setup(self):
        self.request.settimeout(120)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_tls = self.request.recv(1, socket.MSG_PEEK) == b"\x16"
        if self.is_tls:
            self.request = self.world.contexts["public"].wrap_socket(self.request, server_side=True)
        super().setup()

    def every(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        rq = Request(self, body)
        try:
            reply = self.world.answer(rq)
        except Exception as failure:  # the test sees it as what it is
            reply = Reply(500, "front: %r" % failure, kind="text/plain")
        self.world.note(rq, reply)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in reply.headers):
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_POST = do_PUT = every

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads, request_queue_size, allow_reuse_address = True, 64, True

    def handle_error(self, request, client_address):
        pass  # a client that does not like the certificate hangs up


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def make_certificate(folder, kind, names):
    """An authority and one certificate for all names of this kind."""
    base, authority = "%s/%s" % (folder, kind), "%s/%s-ca" % (folder, kind)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    with open(base + ".ext", "w", encoding="utf-8") as extensions:
        extensions.write("basicConstraints=CA:FALSE\nsubjectAltName=" + ",".join("DNS:" + name for name in names))
    for command in (
            ["req", "-x509", *new_key, "-days", "2", "-subj", "/CN=%s authority" % kind, "-keyout", authority + ".key",
             "-addext", "basicConstraints=critical,CA:TRUE", "-out", authority + ".crt"],
            ["req", *new_key, "-subj", "/CN=" + kind, "-keyout", base + ".key", "-out", base + ".csr"],
            ["x509", "-req", "-in", base + ".csr", "-CA", authority + ".crt", "-CAkey", authority + ".key",
             "-CAcreateserial", "-days", "2", "-extfile", base + ".ext", "-out", base + ".crt"]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)


def start(folder, name, *command):
    with open("%s/%s.log" % (folder, name), "ab") as log:
        subprocess.Popen(command, preexec_fn=die_with_parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wait_for(address, port):
    for _ in range(400):
        with socket.socket() as probe:
            if probe.connect_ex((address, port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("nothing comes up at %s:%d" % (address, port))


def start_registry(folder):
    with open(folder + "/registry.yml", "w", encoding="utf-8") as config:
        config.write("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s/storage}\n"
                     "http: {addr: 127.0.0.1:%d}\n" % (folder, REGISTRY_PORT))
    start(folder, "registry", "docker-registry", "serve", folder + "/registry.yml")
    wait_for("127.0.0.1", REGISTRY_PORT)


def start_cache(folder):
    """The regional cache of the site: docker-registry in front of another registry, with the site's certificate."""
    with open(folder + "/cache.yml", "w", encoding="utf-8") as config:
        config.write("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s/cache}\n"
                     "http:\n  addr: %s:5443\n  tls: {certificate: %s/site.crt, key: %s/site.key}\n"
                     "proxy: {remoteurl: \"http://127.0.0.1:%d\"}\n" % (folder, SITE, folder, folder, REGISTRY_PORT))
    start(folder, "cache", "docker-registry", "serve", folder + "/cache.yml")
    wait_for(SITE, 5443)


def start_ingress(folder, names):
    servers = [INGRESS_SERVER % {"address": INGRESS, "host": name, "folder": folder, "site": SITE} for name in names]
    temporary = "".join("  %s_temp_path %s/%s;\n" % (kind, folder, kind)
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(folder + "/nginx.conf", "w", encoding="utf-8") as config:
        config.write("daemon off;\nmaster_process off;\npid %s/nginx.pid;\nevents { worker_connections 256; }\n"
                     "http {\n  access_log off;\n%s%s}\n" % (folder, temporary, "".join(servers)))
    start(folder, "nginx", "nginx", "-p", folder, "-c", folder + "/nginx.conf", "-e", folder + "/nginx.log")
    wait_for(INGRESS, 443)


def main(folder):
    import registries
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (PUBLIC, SITE, INGRESS):
        subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
    start_registry(folder)
    world = Handler.world = World(folder, registries.members(folder))
    places = list(world.places())
    for address, port in sorted({(address, port) for _, address, port, _ in places}):
        server = Server((address, port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    start_ingress(folder, sorted({name for name, _, _, is_behind in places if is_behind}))
    start_cache(folder)
    with open(folder + "/hosts", "w", encoding="utf-8") as hosts:
        for name, address, _, is_behind in places + [("cache.corp.example", SITE, 5443, False)]:
            hosts.write("%s %s\n" % (name, INGRESS if is_behind else address))
    with open(folder + "/ready", "w", encoding="utf-8") as ready:
        ready.write("ready\n")
    signal.pause()


if __name__ == "__main__":
    sys.modules["internet"] = sys.modules["__main__"]
    main(sys.argv[1])
