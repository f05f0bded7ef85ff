#!/usr/bin/env python3
"""Fails when the code logs an event at info or above that docs/logging.md does not name.
Usage: log_docs.py ROOT, or log_docs.py --self-test."""
import pathlib
import re
import sys
import tempfile

SOURCES = ["runtime", "cache", "proxy", "daemon", "systemd"]
LOG = ["runtime/log.h", "runtime/log.cc"]  # what a line is, and not one of them
# What writes a line: its first argument is the level, the second the event.
CALL = re.compile(r"\b(?:LogLine(?:\s+\w+)?|log_problems)\s*\(")
TEXT = re.compile(r'"([a-z_]+)"')
# Where the event is a variable: what in the same file says which there are; None: the callers do.
ELSEWHERE = {
    "daemon/serve.cc": None,
    "proxy/exchange_log.cc": re.compile(r"\bkKindNames\b[^={;]*=?\s*\{([^}]*)\}"),
}


def arguments(text, start):
    """Those of the call whose first argument begins at `start`."""
    found, depth, begin, quoted, at = [], 0, start, False, start
    while at < len(text):
        c = text[at]
        if quoted and c == "\\":
            at += 1
        elif c == '"':
            quoted = not quoted
        elif not quoted:
            if c in "({[":
                depth += 1
            elif c in ")}]":
                depth -= 1
            if depth < 0 or (depth == 0 and c == ","):
                found.append(text[begin:at])
                begin = at + 1
            if depth < 0:
                break
        at += 1
    return found


def events_of(path, text):
    """The events that the file logs at info or above, and what is wrong with the file."""
    events, problems = set(), []
    for call in CALL.finditer(text):
        given = arguments(text, call.end())
        if len(given) < 2 or re.match(r"\s*LogLevel\s+\w+$", given[0]):
            continue  # a declaration
        levels = re.findall(r"LogLevel::(\w+)", given[0])
        if levels and set(levels) == {"debug"}:
            continue
        names = TEXT.findall(given[1])
        if not names and path not in ELSEWHERE:
            number = text.count("\n", 0, call.start()) + 1
            problems.append(f"{path}:{number}: which event is it? Say it in the call, or here in ELSEWHERE")
        events.update(names)
    table = ELSEWHERE.get(path)
    if table:
        found = table.search(text)
        names = TEXT.findall(found.group(1)) if found else []
        if not names:
            problems.append(f"{path}: the table of its events is not found")
        events.update(names)
    return events, problems


def check(root):
    docs = (root / "docs/logging.md").read_text(encoding="utf-8")
    problems, count = [], 0
    for folder in SOURCES:
        for file in sorted((root / folder).rglob("*")):
            path = file.relative_to(root).as_posix()
            if file.suffix not in (".h", ".cc") or path in LOG:
                continue
            events, wrong = events_of(path, file.read_text(encoding="utf-8"))
            problems += wrong
            count += len(events)
            problems += [f"docs/logging.md: no `{event}`, which {path} logs" for event in sorted(events)
                         if f"`{event}`" not in docs]
    if count == 0:
        problems.append("no event was found in the code")
    return problems


def self_test():
    cases = {
        'LogLine(LogLevel::info, "told").field("x", 1);': False,
        'LogLine(LogLevel::info, "untold").field("x", 1);': True,
        'LogLine(LogLevel::warn,\n        "untold");': True,
        'LogLine line(level, "untold");': True,
        'LogLine(is_bad(a, b) ? LogLevel::warn : LogLevel::debug, "untold");': True,
        'LogLine(LogLevel::warn, is_bad ? "told" : "untold");': True,
        'LogLine(LogLevel::debug, "untold");': False,
        'LogLine(LogLevel::warn, event);': True,
        'log_problems(LogLevel::error, "untold", errors);': True,
        'void log_problems(LogLevel level, const char* event);': False,
    }
    for line, is_wrong in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {
                "docs/logging.md": "`told` (info)",
                "cache/a.cc": 'LogLine(LogLevel::info, "told");',
                "daemon/b.cc": line,
            }.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text + "\n")
            if bool(check(root)) != is_wrong:
                sys.exit(f"self-test: {line} is judged wrongly: {check(root)}")
    print("self-test: every event that is not told was found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    problems = check(pathlib.Path(sys.argv[1]))
    if problems:
        sys.exit("\n".join(problems) + f"\n{len(problems)} things to mend")
    print("docs/logging.md names every event")


main()
