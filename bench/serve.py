"""Cached blobs and manifests out of layerd, beside nginx (one worker, sendfile) and docker-registry.
Interleaved pairs, medians; the ratio is what counts."""
import itertools
import os
import time

from lab import Lab, Layerd, Nginx, Registry, blob_target, fetch, load, median


def rate_and_cost(server, target, clients, seconds):
    before = server.cpu()
    seen = load("stream", server, target, clients, seconds)
    gigabytes = seen["bytes"] / 1e9
    return gigabytes / seen["seconds"], (server.cpu() - before) / max(gigabytes, 1e-9)


def settle(layerd, digest):
    """A blob asked for again right after it was served is verified in the background, once an hour; that is no part of serving."""
    fetch(layerd, blob_target(digest))
    quiet = 0
    while quiet < 4:
        before = layerd.cpu()
        time.sleep(0.25)
        quiet = quiet + 1 if layerd.cpu() - before <= 0.01 else 0


def big_blobs(lab, table, pairs, seconds):
    root = lab.folder("root")
    digests = [lab.blob(256 << 20, root) for _ in range(4)]
    nginx = lab.start(Nginx(lab, root))
    registry = lab.start(Registry(lab))
    layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}"))
    for digest in digests:
        content = open(os.path.join(root, "v2/bench/app/blobs", digest), "rb").read()
        registry.push("bench/app", content)
        assert fetch(layerd, blob_target(digest))[0] == content
        del content
        settle(layerd, digest)
    for clients in (1, 4, 64):
        ours, theirs, other = [], [], []
        # Where a file's pages happen to lie is worth several per cent: each pair takes another file.
        for digest in itertools.islice(itertools.cycle(digests), pairs):
            ours.append(rate_and_cost(layerd, blob_target(digest), clients, seconds))
            theirs.append(rate_and_cost(nginx, blob_target(digest, False), clients, seconds))
            other.append(rate_and_cost(registry, blob_target(digest, False), clients, seconds))
        speed = median([a[0] / b[0] for a, b in zip(ours, theirs)])
        cost = median([a[1] / b[1] for a, b in zip(ours, theirs)])
        note = "GB/s {:.2f} nginx {:.2f} docker-registry {:.2f}".format(*(median([x[0] for x in s]) for s in (ours, theirs, other)))
        table.add(f"cached blob, {clients} clients, GB/s over nginx", f"{speed:.2f}", ">= 0.95", speed >= 0.95, note)
        note = "CPU s/GB {:.3f} nginx {:.3f} docker-registry {:.3f}".format(*(median([x[1] for x in s]) for s in (ours, theirs, other)))
        table.add(f"cached blob, {clients} clients, CPU per GB over nginx", f"{cost:.2f}", "<= 1.00", cost <= 1.0, note)
    table.add("peak memory while serving, MiB", f"{layerd.memory()['VmHWM'] / 2**20:.1f}", "printed", True,
              f"docker-registry {registry.memory()['VmHWM'] / 2**20:.1f}")


def small_objects(lab, table, pairs, seconds):
    """A manifest of usual size by digest, 16 keep-alive connections."""
    import hashlib
    import json as js
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 10, "digest": "sha256:" + "1" * 64}
    manifest = js.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                         "config": dict(layer, mediaType="application/vnd.oci.image.config.v1+json"),
                         "layers": [dict(layer, digest="sha256:" + f"{i:064x}") for i in range(8)]}).encode()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    root = lab.folder("root")
    folder = os.path.join(root, "v2/bench/app/manifests")
    os.makedirs(folder)
    open(os.path.join(folder, digest), "wb").write(manifest)
    nginx = lab.start(Nginx(lab, root))
    layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}"))
    target = f"/v2/bench/app/manifests/{digest}"
    assert fetch(layerd, target + "?ns=bench.example")[0] == manifest
    for method in ("HEAD", "GET"):
        cost, tail, notes = [], [], []
        for _ in range(pairs):
            figures = []
            for server, path in ((layerd, target + "?ns=bench.example"), (nginx, target)):
                before = server.cpu()
                seen = load("small", server, path, 16, seconds, method)
                figures.append(((server.cpu() - before) / seen["answers"], seen["p99"], seen["answers"] / seen["seconds"]))
            cost.append(figures[0][0] / figures[1][0])
            tail.append(figures[0][1] / figures[1][1])
            notes.append(figures)
        mine, theirs = notes[len(notes) // 2]
        table.add(f"cached manifest {method}, CPU per request over nginx", f"{median(cost):.2f}", "<= 1.00", median(cost) <= 1.0,
                  f"us {mine[0] * 1e6:.1f} nginx {theirs[0] * 1e6:.1f}; {mine[2]:.0f}/s nginx {theirs[2]:.0f}/s")
        table.add(f"cached manifest {method}, p99 over nginx", f"{median(tail):.2f}", "<= 1.50", median(tail) <= 1.5,
                  f"ms {mine[1] * 1e3:.3f} nginx {theirs[1] * 1e3:.3f}")


def run(table, pairs=9, seconds=1.0):
    with Lab() as lab:
        big_blobs(lab, table, pairs, seconds)
    with Lab() as lab:
        small_objects(lab, table, pairs, seconds)
