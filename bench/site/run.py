#!/usr/bin/env python3
"""The site lab: cases L1 to L10 against no sharing, layerd alone, central caches and layerd with peers; one table.

    bench/site/run.py                        all cases, all contenders, under half an hour
    bench/site/run.py --short                what CI runs: L1, L7 and L9 with layerd alone, under three minutes
    bench/site/run.py --cases L4 --only layerd,nginx --full --repeat 3

Comparators get an image eight times smaller (every time of the case eight times shorter) unless --full: what counts is the
ratio to the bound of the same run, which hardly depends on the size, and their full times add up to an hour and a half.
Needs root; builds nothing (build/release/layerd, or $LAYERD). Ends with 1 when a bar of layerd was missed or bytes
were wrong."""
import argparse
import dataclasses
import json
import os
import signal
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.dont_write_bytecode = True
import cases  # noqa: E402
from contenders import CONTENDERS, FULL, SHARING  # noqa: E402
from images import Gallery  # noqa: E402
from lab import LAYERD, Lab  # noqa: E402
from network import Janitor  # noqa: E402
from trial import Trial  # noqa: E402

DEFAULT = ("layerd", "none", "nginx", "distribution")
COMPARATOR_SCALE = 8
SHORT_SCALE = 8
SHORT_SLOWER = 4          # links, so that even a build with sanitizers on two processors has time to spare
SHORT_BAR = 3.0           # makespan over bound where the machine is shared and the image small
SHORT_CASES = ("L1", "L7", "L9")
STARVED = 0.6             # of the time somebody waited for a processor: the short form does not judge times then, and
STARVED_SHARE = 0.5       # copies by what so many nodes would have brought without sharing: members answer late and seem dead
KEPT_BAR = 64 * 1024      # what "nothing" may be on a node that did not pull, all of them together
MIB = 1 << 20


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in cases.CASES]
    parser.add_argument("--cases", help="L1,L7,...; default: all, or " + ",".join(SHORT_CASES) + " with --short")
    parser.add_argument("--only", help="of " + ",".join(CONTENDERS) + "; default: " + ",".join(DEFAULT) + ", or layerd with --short")
    parser.add_argument("--short", action="store_true", help="a small image over slow links, judged on bytes and on generous factors")
    parser.add_argument("--full", action="store_true", help="the whole image for comparators, too")
    parser.add_argument("--real", action="store_true", help="a real docker-registry instead of the fake one; its bytes are read off its cable")
    parser.add_argument("--slower", type=int, default=1, help="links so many times slower: where processors are the limit (see starved)")
    parser.add_argument("--repeat", type=int, default=1, help="medians of so many runs")
    parser.add_argument("--seed", type=int, default=1, help="for the order in which nodes start")
    parser.add_argument("--json", help="writes every outcome to this file")
    parser.add_argument("--logs", help="keeps logs and configurations in this folder")
    chosen = parser.parse_args()
    wanted = chosen.cases.split(",") if chosen.cases else SHORT_CASES if chosen.short else names
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    chosen.cases = [case for case in cases.CASES if case.name in wanted]
    chosen.only = chosen.only.split(",") if chosen.only else ["layerd"] if chosen.short else list(DEFAULT)
    if unknown := [name for name in chosen.only if name not in CONTENDERS]:
        parser.error(f"no contender {', '.join(unknown)}; there are {', '.join(CONTENDERS)}")
    if chosen.real and not all(CONTENDERS[name].ranges for name in chosen.only):
        parser.error("--real: a docker-registry answers Range")
    return chosen


def scale_of(contender, chosen):
    if chosen.short:
        return SHORT_SCALE
    return 1 if chosen.full or contender in FULL else COMPARATOR_SCALE


def copies_bar(case, outcome, chosen):
    if chosen.short and outcome.starved > STARVED:
        return STARVED_SHARE * len(case.pulling())
    return case.short_wan_bar if chosen.short else case.wan_bar


def judge(case, outcome, chosen):
    """What was missed; empty when all is well. Comparators are only printed, but for wrong bytes."""
    missed = list(outcome.wrong)
    if outcome.contender not in SHARING:
        return missed
    bar = SHORT_BAR if chosen.short and case.bar else case.bar
    copies = copies_bar(case, outcome, chosen)
    if chosen.real and copies:
        copies += 0.03  # heads, acknowledgements and repeated segments are on the cable, too
    if bar and outcome.ratio() > bar and not (chosen.short and outcome.makespan and outcome.starved > STARVED):
        missed.append(f"time {outcome.ratio():.2f} > {bar:.2f}")
    if copies and outcome.copies() > copies:
        missed.append(f"WAN {outcome.copies():.3f} > {copies:.2f}")
    if case.keeps_nothing and outcome.kept_elsewhere > KEPT_BAR:
        missed.append(f"{outcome.kept_elsewhere} bytes kept by nodes that did not pull")
    return missed


HEAD = ("case", "", "contender", "MB", "makespan s", "bound s", "ratio", "bar", "WAN copies", "bar", "most up", "kept MB",
        "CPU s mean/max", "RSS MiB", "reopened/direct", "starved", "verdict")


def row(case, outcome, missed, chosen):
    bar = (SHORT_BAR if chosen.short and case.bar else case.bar) if outcome.contender in SHARING else 0
    copies = copies_bar(case, outcome, chosen) if outcome.contender in SHARING else 0
    cpu = list(outcome.cpu.values())
    return (case.name, case.what, outcome.contender, f"{outcome.size / 1e6:.0f}",
            f"{outcome.makespan:.1f}" if outcome.makespan else "-", f"{outcome.bound:.1f}",
            f"{outcome.ratio():.2f}" if outcome.makespan else "-", f"<= {bar:.2f}" if bar else "",
            f"{outcome.copies():.3f}", f"<= {copies:.2f}" if copies else "", f"{max(outcome.uploads.values()) / outcome.size:.2f}",
            f"{outcome.kept_elsewhere / 1e6:.1f}", f"{statistics.mean(cpu):.1f}/{max(cpu):.1f}" if cpu else "-",
            f"{max(outcome.memory.values()) / MIB:.0f}" if outcome.memory else "-", f"{outcome.reopened()}/{outcome.fallbacks()}",
            f"{outcome.starved:.0%}",
            ("MISSED: " + "; ".join(missed)[:300]) if missed else "ok" if outcome.contender in SHARING else "")


def text_of(rows):
    widths = [max(len(each[i]) for each in rows) for i in range(len(HEAD) - 1)]
    return "\n".join("  ".join([cell.ljust(width) for cell, width in zip(each, widths)] + [each[-1]]).rstrip() for each in rows)


def middle(outcomes):
    """The outcome of the median ratio; what any of them saw that must not be seen goes with it."""
    chosen = sorted(outcomes, key=lambda outcome: outcome.ratio())[(len(outcomes) - 1) // 2]
    return dataclasses.replace(chosen, wrong=sum((outcome.wrong for outcome in outcomes), []),
                               wan_bytes=statistics.median_low([outcome.wan_bytes for outcome in outcomes]))


def one(case, contender, pictures, janitor, chosen, seed):
    scale = scale_of(contender, chosen)
    folder, image = pictures.get(case.image, scale)
    slower = chosen.slower * (SHORT_SLOWER if chosen.short else 1)
    with Trial(case.scaled(scale, slower), CONTENDERS[contender], folder, image, janitor, seed, chosen.real, chosen.logs) as trial:
        return trial.run()


def run(chosen):
    rows, failed, everything, begun = [HEAD], 0, [], time.monotonic()
    with Lab() as lab:
        janitor = Janitor()
        janitor.note("folder", lab.home)
        pictures = Gallery(lab.home)
        for case in chosen.cases:
            for contender in chosen.only:
                outcomes = [one(case, contender, pictures, janitor, chosen, chosen.seed + i) for i in range(chosen.repeat)]
                everything += outcomes
                outcome = middle(outcomes)
                missed = judge(case, outcome, chosen)
                failed += bool(missed)
                rows.append(row(case, outcome, missed, chosen))
                print("  ".join(each for each in rows[-1] if each), flush=True)
    print("\n" + text_of(rows))
    print(f"\n{len(rows) - 1 - failed} as wanted, {failed} not; {time.monotonic() - begun:.0f} s")
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump([dataclasses.asdict(outcome) for outcome in everything], file, indent=1)
    return 1 if failed else 0


def main():
    chosen = options()
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    if set(FULL) & set(chosen.only) and not os.path.exists(LAYERD):
        sys.exit(f"{LAYERD} is missing: build the preset release, or set LAYERD")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return run(chosen)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
