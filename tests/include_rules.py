#!/usr/bin/env python3
"""Fails when an #include goes up or sideways between the floors, or when a third-party header is used
outside its home. Usage: include_rules.py ROOT, or include_rules.py --self-test."""
import pathlib
import re
import sys
import tempfile

# floor -> what it may include besides itself
FLOORS = {
    "runtime": [],
    "cache": ["runtime"],
    "proxy/net": ["runtime"],
    "proxy/http": ["proxy/net", "runtime"],
    "proxy/registry": ["runtime"],
    "proxy/upstream": ["proxy/http", "proxy/net", "proxy/registry", "runtime"],
    "proxy/peers": ["proxy/http", "proxy/net", "proxy/registry", "cache", "runtime"],
    "proxy": ["proxy/peers", "proxy/upstream", "proxy/http", "proxy/net", "proxy/registry", "cache", "runtime"],
    "systemd": ["runtime"],
    "daemon": ["proxy", "proxy/peers", "proxy/upstream", "proxy/http", "proxy/net", "proxy/registry", "cache", "runtime", "systemd"],
}
# start of a third-party header -> starts of the paths that may include it
HOMES = {
    "uv.h": ["runtime/", "proxy/net/"],
    "openssl/ssl.h": ["proxy/net/"],
    "ares.h": ["proxy/net/resolver"],
    "llhttp.h": ["proxy/http/parser"],
    "lmdb.h": ["cache/index"],
    "spdlog/": ["runtime/log"],
    "re2/": ["proxy/registry/"],
    "yaml-cpp/": ["daemon/config"],
    "nlohmann/": ["runtime/json"],
    "CLI/": ["daemon/"],
    "catch2/": ["tests/support/catch.h", "tests/support/main.cc"],
}
SOURCES = ["runtime", "cache", "proxy", "daemon", "systemd", "tests", "bench"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def floor_of(path):
    """The longest floor the path lies in; tests and bench are above all floors."""
    folder = str(pathlib.PurePosixPath(path).parent)
    for floor in sorted(FLOORS, key=len, reverse=True):
        if folder == floor or folder.startswith(floor + "/"):
            return floor
    return None


def wrong_arrow(path, target):
    own, other = floor_of(path), floor_of(target)
    if own is None:
        return None  # tests and bench may include everything
    if other is None:
        return f"{own} includes {target}, which is on no floor"
    if other != own and other not in FLOORS[own]:
        return f"{own} must not include {other} ({target})"
    return None


def wrong_home(path, target):
    for start, homes in HOMES.items():
        if not target.startswith(start) or any(path.startswith(home) for home in homes):
            continue
        if path.startswith(("tests/", "bench/")) and start != "catch2/":
            continue
        return f"{target} belongs to {' and '.join(homes)}"
    return None


def check(root):
    problems = []
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in (".h", ".cc"):
                continue
            path = file.relative_to(root).as_posix()
            text = file.read_text(encoding="utf-8")
            if file.suffix == ".h" and "#pragma once" not in text:
                problems.append(f"{path}: no #pragma once")
            for number, line in enumerate(text.splitlines(), 1):
                found = INCLUDE.match(line)
                if not found:
                    continue
                quoted, target = found.group(1) == '"', found.group(2)
                problem = wrong_home(path, target)
                if problem is None and quoted:
                    problem = wrong_arrow(path, target)
                    if problem is None and not (root / target).is_file():
                        problem = f"{target} is not a path from the top of the tree"
                if problem:
                    problems.append(f"{path}:{number}: {problem}")
    return problems


def self_test():
    cases = {
        "runtime/a.h": ('#include "cache/b.h"', True),
        "cache/c.cc": ('#include <uv.h>', True),
        "proxy/registry/d.cc": ('#include "proxy/net/e.h"', True),
        "proxy/f.cc": ('#include "cache/b.h"', False),
        "proxy/net/g.cc": ("#include <openssl/ssl.h>", False),
        "daemon/h.cc": ('#include "tests/support/i.h"', True),
        "tests/unit/j.cc": ("#include <catch2/catch.hpp>", True),
    }
    for path, (line, is_wrong) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {"cache/b.h": "", "proxy/net/e.h": "", "tests/support/i.h": "", path: line}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("#pragma once\n" + text + "\n")
            if bool(check(root)) != is_wrong:
                sys.exit(f"self-test: {path} with {line} is judged wrongly: {check(root)}")
    print("self-test: every wrong arrow was found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    problems = check(pathlib.Path(sys.argv[1]))
    if problems:
        sys.exit("\n".join(problems) + f"\n{len(problems)} wrong includes")
    print("every include points down")


main()
