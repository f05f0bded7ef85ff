#!/usr/bin/env python3
"""The fake registry behind the WAN: manifests and blobs (HEAD, GET, Range) of a folder made by images.py.

    upstream.py FOLDER ADDRESS PORT RTT_SECONDS CONTROL_SOCKET

There is no netem in every kernel, so the round trips are slept here: two for a new connection (TCP and TLS), one for
each request. It counts the body bytes that its sockets took, per blob; SO_SNDBUF is 256 KiB, so that what was written
and never arrived stays small. One thread for each connection.

The control socket takes one line and answers one line of JSON: `counts`; `down` resets every connection and
refuses new ones; `up` ends that; `ranges off` ignores Range from now on."""
import collections
import json
import os
import socket
import struct
import sys
import threading
import time

PART = 64 * 1024
SEND_BUFFER = 256 * 1024
SO_SNDBUFFORCE = 32
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Upstream:
    def __init__(self, folder, address, port, rtt):
        self.folder, self.where, self.rtt = folder, (address, port), rtt
        self.lock = threading.Lock()
        self.written, self.requests = collections.Counter(), collections.Counter()
        self.connections, self.listener, self.ranges = set(), None, True

    # ---- control -------------------------------------------------------------------------------------------------
    def control(self, path):
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        while True:
            peer, _ = server.accept()
            with peer, peer.makefile("rw") as lines:
                command = lines.readline().strip()
                lines.write(json.dumps(self.obey(command)) + "\n")

    def obey(self, command):
        if command == "down":
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            with self.lock:
                for connection in self.connections:
                    self.cut(connection)
        elif command == "up":
            self.listen()
        elif command == "ranges off":
            self.ranges = False
        with self.lock:
            return {"written": dict(self.written), "requests": dict(self.requests)}

    @staticmethod
    def cut(connection):
        """Wakes its thread, whose close() then resets."""
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def listen(self):
        self.listener = socket.create_server(self.where, backlog=256)
        try:
            self.listener.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
        except OSError:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    # ---- one connection ------------------------------------------------------------------------------------------
    def serve(self, connection):
        with self.lock:
            self.connections.add(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(2 * self.rtt)
            with connection.makefile("rb") as lines:
                while self.answer(connection, lines):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def answer(self, connection, lines):
        words = lines.readline(8192).decode("latin1").split()
        if len(words) != 3:
            return False
        headers = {}
        while (line := lines.readline(8192).decode("latin1").strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        method, target = words[0], words[1].partition("?")[0]
        time.sleep(self.rtt)
        if target in ("/v2", "/v2/"):
            self.head(connection, "200 OK", {"Content-Type": "application/json", "Content-Length": 2})
            connection.sendall(b"{}" if method == "GET" else b"")
            return True
        found = self.find(target)
        if not found or method not in ("GET", "HEAD"):
            self.head(connection, "404 Not Found", {"Content-Length": 0})
            return True
        self.send(connection, method, headers.get("range"), *found)
        return headers.get("connection", "").lower() != "close"

    def find(self, target):
        """(digest, media type) of what the target names, or nothing."""
        kind = "/manifests/" if "/manifests/" in target else "/blobs/"
        repository, _, reference = target.removeprefix("/v2/").partition(kind)
        if not reference or "/" in reference:
            return None
        if ":" not in reference:
            try:
                with open(os.path.join(self.folder, "tags", repository.replace("/", "_"), reference)) as file:
                    reference = file.read()
            except FileNotFoundError:
                return None
        if not os.path.exists(os.path.join(self.folder, "blobs", reference)):
            return None
        return reference, MANIFEST if kind == "/manifests/" else "application/octet-stream"

    @staticmethod
    def head(connection, status, headers):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"HTTP/1.1 {status}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n{lines}\r\n".encode())

    def send(self, connection, method, wanted, digest, media_type):
        with open(os.path.join(self.folder, "blobs", digest), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last, status = 0, size - 1, "200 OK"
            headers = {"Content-Type": media_type, "Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
            if wanted and self.ranges and wanted.startswith("bytes="):
                begin, _, end = wanted[6:].partition("-")
                first = int(begin) if begin else max(0, size - int(end))
                last = min(size - 1, int(end)) if begin and end else size - 1
                if first >= size or last < first:
                    self.head(connection, "416 Range Not Satisfiable", {"Content-Length": 0, "Content-Range": f"bytes */{size}"})
                    return
                status, headers["Content-Range"] = "206 Partial Content", f"bytes {first}-{last}/{size}"
            headers["Content-Length"] = last - first + 1
            self.head(connection, status, headers)
            with self.lock:
                self.requests[digest] += method == "GET"
            if method == "GET":
                self.body(connection, file, digest, first, last + 1)

    def body(self, connection, file, digest, at, end):
        while at < end:
            count = os.sendfile(connection.fileno(), file.fileno(), at, min(PART, end - at))
            if count == 0:
                raise OSError("the file ended early")
            at += count
            with self.lock:
                self.written[digest] += count


def main():
    folder, address, port, rtt, control = sys.argv[1:6]
    upstream = Upstream(folder, address, int(port), float(rtt))
    upstream.listen()
    upstream.control(control)


if __name__ == "__main__":
    main()
