"""Memory (idle, 64 slow streams, 100 000 blobs indexed) and the restart with 100 000 blobs."""
import hashlib
import os
import subprocess
import time

from lab import Lab, Layerd, LAYERD, Nginx, blob_target, fetch, load, median

MIB = 2**20


def streams(lab, table):
    root = lab.folder("root")
    nginx = lab.start(Nginx(lab, root, limit_rate="300k"))
    layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}"))
    time.sleep(1)
    idle = layerd.memory()
    table.add("memory idle, RssAnon MiB", f"{idle['RssAnon'] / MIB:.1f}", "<= 5", idle["RssAnon"] <= 5 * MIB, f"VmRSS {idle['VmRSS'] / MIB:.1f}")
    lines = os.path.join(lab.home, "digests")
    open(lines, "w").write("\n".join(lab.blob(8 << 20, root) for _ in range(64)) + "\n")
    peak = {"RssAnon": 0}
    client = subprocess.Popen(
        [os.environ.get("BENCH_LOAD", os.path.join(os.path.dirname(LAYERD), "bench_load")), "hold", "127.0.0.1", str(layerd.port),
         "/v2/bench/app/blobs/{i}?ns=bench.example", "64", "12", "100000"], env=dict(os.environ, BENCH_LINES=lines), stdout=subprocess.DEVNULL)
    while client.poll() is None:
        now = layerd.memory()
        peak = now if now["RssAnon"] > peak["RssAnon"] else peak
        time.sleep(0.1)
    table.add("memory with 64 slow streams of uncached blobs, RssAnon MiB", f"{peak['RssAnon'] / MIB:.1f}", "<= 28",
              peak["RssAnon"] <= 28 * MIB, f"VmRSS {peak['VmRSS'] / MIB:.1f}")


def fill(path, count):
    """`count` small blobs written as the store's files are; the index is rebuilt from them at the first start."""
    for i in range(count):
        content = f"blob {i}\n".encode() * 10
        name = hashlib.sha256(content).hexdigest()
        folder = os.path.join(path, "blobs/sha256", name[:2])
        os.makedirs(folder, exist_ok=True)
        open(os.path.join(folder, name), "wb").write(content)


def restarts(lab, table, count, tries):
    """CPU seconds until it serves, files opened until then, and memory, with `count` blobs."""
    nginx = lab.start(Nginx(lab, lab.folder("root")))
    layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}"))
    lab.stop(layerd)
    fill(layerd.path, count)
    subprocess.run(["rm", "-rf", os.path.join(layerd.path, "index")], check=True)
    layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}", path=layerd.path))
    end = time.time() + 300
    while layerd.status()["cache"]["blobs"] < count and time.time() < end:
        time.sleep(0.5)
    assert layerd.status()["cache"]["blobs"] >= count, "the index was not rebuilt in 300 s"
    time.sleep(2)
    cpu, wall = [], []
    for _ in range(tries):
        lab.stop(layerd)
        layerd = lab.start(Layerd(lab, f"http://127.0.0.1:{nginx.port}", path=layerd.path))
        wall.append(time.monotonic() - layerd.started)
        cpu.append(layerd.cpu())
    time.sleep(2)
    memory = layerd.memory()
    lab.stop(layerd)
    trace = os.path.join(lab.home, f"trace{count}")
    process = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=openat,open", "-o", trace, LAYERD, "serve", "--config", layerd.config],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2.5)
    subprocess.run(["pkill", "-TERM", "-P", str(process.pid)], check=False)
    process.wait()
    opened = sum(1 for line in open(trace) if " = -1" not in line)
    return median(cpu), median(wall), opened, memory


def restart(lab, table):
    few = restarts(lab, table, 100, 5)
    many = restarts(lab, table, 100000, 5)
    table.add("100 000 blobs indexed, RssAnon MiB", f"{many[3]['RssAnon'] / MIB:.1f}", "<= 8", many[3]["RssAnon"] <= 8 * MIB,
              f"VmRSS {many[3]['VmRSS'] / MIB:.1f}")
    table.add("restart, CPU s with 100 000 blobs against 100", f"{many[0]:.2f} / {few[0]:.2f}", "does not grow", many[0] <= few[0] + 0.03)
    table.add("restart, files opened with 100 000 blobs against 100", f"{many[2]} / {few[2]}", "does not grow", many[2] <= few[2] + 10)
    table.add("restart with 100 000 blobs, serving after ms", f"{many[1] * 1e3:.0f}", "<= 100", many[1] <= 0.1)


def run(table):
    with Lab() as lab:
        streams(lab, table)
    with Lab() as lab:
        restart(lab, table)
