"""Uncached blobs over a shaped link: layerd beside the direct download in the same run."""
import os
import time

from lab import Lab, Layerd, Nginx, blob_target, fetch, load, median

SIZE = 48 << 20


def upstream(lab, rate, limit_rate=None):
    root = lab.folder("root")
    space, address = lab.shaped_space(rate)
    nginx = lab.start(Nginx(lab, root, host=address, port=5000, netns=space, limit_rate=limit_rate, log=True))
    layerd = lab.start(Layerd(lab, f"http://{address}:5000"))
    warm = lab.blob(1 << 10, root)
    fetch(layerd, blob_target(warm))
    return root, nginx, layerd


def cold(lab, table, pairs):
    root, nginx, layerd = upstream(lab, "400mbit")
    times, firsts = [], []
    for _ in range(pairs):
        digest = lab.blob(SIZE, root)
        direct = load("once", nginx, blob_target(digest, False), 1)
        ours = load("once", layerd, blob_target(digest), 1)
        times.append(ours["last_done"] / direct["last_done"])
        firsts.append((ours["first_byte"] - direct["first_byte"]) * 1e3)
    table.add("uncached blob, time over direct", f"{median(times):.3f}", "<= 1.02", median(times) <= 1.02)
    table.add("uncached blob, first byte after direct's, ms", f"{median(firsts):.2f}", "<= 2", median(firsts) <= 2)


def crowd(lab, table, pairs):
    root, nginx, layerd = upstream(lab, "400mbit")
    times, copies = [], []
    for _ in range(pairs):
        digest = lab.blob(SIZE, root)
        direct = load("once", nginx, blob_target(digest, False), 1)
        before = nginx.body_bytes()
        ours = load("once", layerd, blob_target(digest), 24)
        times.append(ours["last_done"] / direct["last_done"])
        copies.append((nginx.body_bytes() - before) / SIZE)
    table.add("24 clients of one uncached blob, last done over one direct", f"{median(times):.3f}", "<= 1.02", median(times) <= 1.02)
    table.add("24 clients of one uncached blob, upstream body bytes", f"{median(copies):.3f}", "<= 1.02", median(copies) <= 1.02)


def throttled(lab, table, pairs):
    root, nginx, layerd = upstream(lab, "900mbit", limit_rate="6m")
    gains = []
    for _ in range(pairs):
        digest = lab.blob(96 << 20, root)
        begun = time.monotonic()
        load("once", layerd, blob_target(digest), 1)
        ours = time.monotonic() - begun
        begun = time.monotonic()
        load("once", nginx, blob_target(digest, False), 1)
        gains.append((time.monotonic() - begun) / ours)
        os.remove(os.path.join(root, "v2/bench/app/blobs", digest))
    table.add("upstream that throttles each connection, gain", f"{median(gains):.2f}", ">= 3", median(gains) >= 3)


def run(table, pairs=9):
    for case in (cold, crowd):
        with Lab() as lab:
            case(lab, table, pairs)
    with Lab() as lab:
        throttled(lab, table, min(pairs, 3))
