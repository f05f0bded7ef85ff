#!/usr/bin/env python3
"""Pulls one image the way containerd does, from inside a node's namespace.

    client.py REPOSITORY TAG HOST...      HOST: address:port, or address:port?ns=registry for a mirror

The manifest first (HEAD by tag, GET by digest), then the configuration and the layers in manifest order, three at a
time, each hashed as it comes. As containerd does it, each open goes through the hosts in their order, and a body that
breaks off is opened again at its offset. A pull that fails is tried again after a second, as the kubelet does (it
waits longer). Nothing is kept.

Says `ready` when the first host listens, waits for `start SECONDS` (of the monotonic clock) on stdin, and prints one
object of JSON at the end."""
import hashlib
import http.client
import json
import queue
import socket
import sys
import threading
import time

PARALLEL = 3
BUFFER = 256 * 1024
SILENCE = 60  # seconds without a byte until it is opened again; containerd itself gives a pull up after 300
TRIES = 60


class Host:
    """Connections to one host, kept for the next request as Go's transport keeps them."""

    def __init__(self, text):
        self.place, _, self.query = text.partition("?")
        self.idle = queue.SimpleQueue()

    def request(self, method, path, offset=0):
        try:
            connection = self.idle.get_nowait()
        except queue.Empty:
            connection = http.client.HTTPConnection(self.place, timeout=SILENCE)
        headers = {"Accept": "application/vnd.oci.image.manifest.v1+json, */*", "User-Agent": "containerd/1.6"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        connection.request(method, path + ("?" + self.query if self.query else ""), headers=headers)
        return connection, connection.getresponse()


class Pull:
    def __init__(self, repository, tag, hosts):
        self.base, self.tag = f"/v2/{repository}", tag
        self.hosts = [Host(text) for text in hosts]
        self.lock = threading.Lock()
        self.done, self.errors = {}, []
        self.reopened = self.refused = self.fallbacks = 0

    def note(self, what, **counts):
        with self.lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)
            if what and len(self.errors) < 20:
                self.errors.append(f"{time.monotonic() - self.begun:.2f} {what}")

    def open(self, method, path, offset=0):
        """The first host that answers well. Raises OSError when none does."""
        last = "no host"
        for rank, host in enumerate(self.hosts):
            try:
                connection, reply = host.request(method, path, offset)
            except (OSError, http.client.HTTPException) as problem:
                last = f"{host.place}: {problem!r}"
                self.note(last, refused=1)
                continue
            if reply.status == (206 if offset else 200):
                self.note(None, fallbacks=rank > 0)
                return host, connection, reply
            reply.read()
            connection.close()
            last = f"{host.place} {path[-20:]}: {reply.status} {reply.reason}"
            self.note(last, refused=1)
        raise OSError(last)

    def manifest(self):
        _, _, reply = self.open("HEAD", f"{self.base}/manifests/{self.tag}")
        reply.read()
        digest = reply.headers["Docker-Content-Digest"]
        host, connection, reply = self.open("GET", f"{self.base}/manifests/{digest}")
        body = reply.read()
        host.idle.put(connection)
        if "sha256:" + hashlib.sha256(body).hexdigest() != digest:
            raise OSError("the manifest does not have its digest")
        self.done[digest] = len(body)
        return json.loads(body)

    def blob(self, digest, size):
        path, offset, hashed = f"{self.base}/blobs/{digest}", 0, hashlib.sha256()
        view = memoryview(bytearray(BUFFER))
        fruitless = 0
        while offset < size:
            before = offset
            try:
                host, connection, reply = self.open("GET", path, offset)
                while offset < size and (count := reply.readinto(view)):
                    hashed.update(view[:count])
                    offset += count
                if offset == size:
                    reply.read()
                    host.idle.put(connection)
                    break
                self.note(f"{digest[7:15]} ends at {offset} of {size}", reopened=1)
                connection.close()
            except (OSError, http.client.HTTPException) as problem:
                self.note(f"{digest[7:15]} at {offset} of {size}: {problem!r}", reopened=1)
            fruitless = 0 if offset > before else fruitless + 1
            if fruitless == 4:
                raise OSError(f"{digest}: no progress at {offset}")
            if fruitless:
                time.sleep(0.2 * fruitless)
        if "sha256:" + hashed.hexdigest() != digest:
            raise OSError(f"{digest}: the bytes are not those of the digest")
        self.done[digest] = size

    def layers(self, manifest):
        wanted = queue.SimpleQueue()
        for each in [manifest["config"]] + manifest["layers"]:
            if each["digest"] not in self.done:
                wanted.put(each)
        failed = []

        def work():
            while not failed:
                try:
                    each = wanted.get_nowait()
                except queue.Empty:
                    return
                try:
                    self.blob(each["digest"], each["size"])
                except OSError as problem:
                    failed.append(problem)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(PARALLEL)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def run(self):
        self.begun = time.monotonic()
        for tries in range(1, TRIES + 1):
            try:
                self.layers(self.manifest())
                return True, tries
            except (OSError, http.client.HTTPException, KeyError, ValueError) as problem:
                self.note(f"pull {tries} failed: {problem!r}")
                time.sleep(1)
        return False, TRIES


def wait_for(place, seconds=30):
    host, _, port = place.partition("?")[0].rpartition(":")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nothing listens on {place}")


def main():
    repository, tag, hosts = sys.argv[1], sys.argv[2], sys.argv[3:]
    wait_for(hosts[0])
    print("ready", flush=True)
    start = float(sys.stdin.readline().split()[1])
    time.sleep(max(0, start - time.monotonic()))
    pull = Pull(repository, tag, hosts)
    complete, tries = pull.run()
    print(json.dumps({"complete": complete, "start": pull.begun, "end": time.monotonic(), "tries": tries, "blobs": pull.done,
                      "reopened": pull.reopened, "refused": pull.refused, "fallbacks": pull.fallbacks, "errors": pull.errors}), flush=True)


if __name__ == "__main__":
    main()
