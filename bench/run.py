#!/usr/bin/env python3
"""Runs every bench and prints one table of ratios against the budgets (design: "Budgets").

    bench/run.py [serve] [pull] [footprint] [--pairs N]

Builds nothing: build/release must hold layerd and bench_load (scripts/bench.sh does both)."""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import footprint  # noqa: E402
import pull  # noqa: E402
import serve  # noqa: E402
from lab import Table  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["serve", "pull", "footprint"])
    parser.add_argument("--pairs", type=int, default=9)
    options = parser.parse_args()
    table = Table()
    for part in options.parts:
        print(f"{part}:", flush=True)
        {"serve": lambda: serve.run(table, options.pairs), "pull": lambda: pull.run(table, options.pairs),
         "footprint": lambda: footprint.run(table)}[part]()
    print("\n" + table.text())
    missed = table.missed()
    print(f"\n{len(table.rows) - len(missed)} budgets met, {len(missed)} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
