#!/usr/bin/env python3
"""Takes each rule of tests/rules.txt out of a copy of the code and says whether its tests notice.

  scripts/rules.py            every rule; some minutes for the first build, then about half a minute each
  scripts/rules.py NAME...    these rules
  scripts/rules.py --list     their names, in words, with the tests that must turn red
  scripts/rules.py --check    only that every text is where the list says, and every rule named in a test

A rule's line says `red` when every test it names fails without it, `GREEN` when one does not notice.
Exit status 1 when anything is not red. The tree itself is never changed: see --scratch."""
import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "tests/rules.txt"
MARK = ".rules-scratch"  # in a folder that this script may overwrite
LONGEST = 180  # seconds of one test; one that hangs has noticed
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1"}


class Edit:  # one text of a file, and what stands in its place when the rule is taken out
    def __init__(self, file, line):
        self.file, self.line, self.text, self.instead = file, line, [], []


class Rule:
    def __init__(self, name, line):
        self.name, self.line, self.says, self.edits, self.tests = name, line, "", [], []


def read_rules():
    """The rules of the list, and what is wrong with its form."""
    rules, errors = [], []
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if key == "rule":
            rules.append(Rule(value, number))
        elif key == "says" and rules:
            rules[-1].says = value
        elif key == "file" and rules:
            rules[-1].edits.append(Edit(value, number))
        elif key == "text" and rules and rules[-1].edits:
            rules[-1].edits[-1].text.append(value)
        elif key == "with" and rules and rules[-1].edits:
            rules[-1].edits[-1].instead.append(value)
        elif key == "red" and rules:
            rules[-1].tests.append([part.strip() for part in value.split(" | ")])
        else:
            errors.append(f"{LIST}:{number}: \"{key}\" is no key, or not at its place")
    return rules, errors


def check(rules):
    """What does not agree between the list, the code and the notes in the tests."""
    errors, names, notes = [], set(), set()
    for file in (ROOT / "tests").rglob("*.cc"):
        for found in re.findall(r"// rules: ([a-z0-9, -]+)", file.read_text()):
            notes.update(name.strip() for name in found.split(","))
    for rule in rules:
        where = f"{LIST}:{rule.line}: {rule.name}"
        if rule.name in names:
            errors.append(f"{where}: a rule of this name stands above")
        names.add(rule.name)
        if not rule.says or not rule.edits or not rule.tests:
            errors.append(f"{where}: a rule needs says, file, text and red")
        if rule.name not in notes:
            errors.append(f"{where}: no test has a note \"// rules: {rule.name}\"")
        for edit in rule.edits:
            path = ROOT / edit.file
            count = path.read_text().count("\n".join(edit.text)) if path.is_file() and edit.text else 0
            if count != 1:
                errors.append(f"{LIST}:{edit.line}: {rule.name}: stands {count} times in {edit.file}, not once")
    errors += [f"tests: a note names the rule {name}, which is not in {LIST}" for name in sorted(notes - names)]
    return errors


def files_of(root):
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "build", "__pycache__")]
        found += [pathlib.Path(folder) / name for name in files if name != ".git"]
    return found


def copy_tree(scratch):
    """Makes `scratch` equal to the tree; files that are equal stay as they are, so that builds are short."""
    scratch.mkdir(parents=True, exist_ok=True)
    if any(scratch.iterdir()) and not (scratch / MARK).exists():
        sys.exit(f"{scratch} is neither empty nor a copy made by this script; give another --scratch")
    (scratch / MARK).touch()
    keep = {scratch / MARK}
    for source in files_of(ROOT):
        target = scratch / source.relative_to(ROOT)
        keep.add(target)
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for old in set(files_of(scratch)) - keep:
        old.unlink()


class Copy:
    """The copy of the tree with its build folder."""

    def __init__(self, scratch, build, jobs):
        self.scratch, self.folder, self.jobs = scratch, build, jobs
        copy_tree(scratch)
        if said := self.cmake(["--preset", "dev", "-B", str(build)]):
            sys.exit(said)

    def cmake(self, arguments):
        """What it said if it failed; else nothing."""
        ended = subprocess.run(["cmake", *arguments], cwd=self.scratch, text=True, capture_output=True)
        return ended.stdout + ended.stderr if ended.returncode else ""

    def build(self, programs):
        return self.cmake(["--build", str(self.folder), "-j", str(self.jobs), "--target", *programs])

    def fails(self, test):
        """Why the test failed, or nothing if it passed."""
        program, case, *section = test
        command = [str(self.folder / program), "--use-colour", "no", case.replace(",", "\\,")]
        command += [word for name in section for word in ("-c", name)]
        run = subprocess.Popen(command, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, **ENVIRONMENT}, start_new_session=True)
        try:
            output, _ = run.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # the session that was begun for this test alone
            return f"no end within {LONGEST} s"
        if "No tests ran" in output or "assertions: - none -" in output:
            sys.exit(f"{' | '.join(test)}: there is no such test")
        if run.returncode == 0:
            return ""
        failed = re.search(r"(?<=FAILED:\n).*|Sanitizer: .*|due to .*", output)
        return failed[0].strip() if failed else f"exit status {run.returncode}"

    def try_rule(self, rule):
        """(is it red, why)."""
        before = {edit.file: (self.scratch / edit.file).read_text() for edit in rule.edits}
        try:
            for edit in rule.edits:
                path = self.scratch / edit.file
                path.write_text(path.read_text().replace("\n".join(edit.text), "\n".join(edit.instead)))
            if said := self.build(sorted({test[0] for test in rule.tests})):
                return False, "does not build:\n" + said
            whys = [self.fails(test) for test in rule.tests]
            unseen = [" | ".join(test) for test, why in zip(rule.tests, whys) if not why]
            return not unseen, "not noticed by " + "; ".join(unseen) if unseen else whys[0]
        finally:
            for file, content in before.items():
                (self.scratch / file).write_text(content)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME")
    for flag in ("--list", "--check"):
        options.add_argument(flag, action="store_true")
    options.add_argument("--scratch", type=pathlib.Path, help="the copy of the tree (default: a temporary folder)")
    options.add_argument("--build", type=pathlib.Path, help="its build folder (default: build/dev in the copy)")
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    given = options.parse_args()
    rules, errors = read_rules()
    unknown = [f"there is no rule {name}" for name in set(given.names) - {rule.name for rule in rules}]
    if errors := errors + check(rules) + unknown:
        sys.exit("\n".join(errors))
    rules = [rule for rule in rules if not given.names or rule.name in given.names]
    if given.list:
        print(*("\n    ".join([f"{rule.name}: {rule.says}", *map(" | ".join, rule.tests)]) for rule in rules), sep="\n")
    if given.list or given.check:
        return
    with tempfile.TemporaryDirectory(prefix="layerd-rules-") as temporary:
        scratch = (given.scratch or pathlib.Path(temporary)).absolute()
        copy = Copy(scratch, (given.build or scratch / "build/dev").absolute(), given.jobs)
        if said := copy.build(sorted({test[0] for rule in rules for test in rule.tests})):
            sys.exit(said)
        for test in sorted({tuple(test) for rule in rules for test in rule.tests}):
            if why := copy.fails(test):
                sys.exit(f"{' | '.join(test)} fails with every rule in: {why}")
        bad = 0
        for rule in rules:
            is_red, why = copy.try_rule(rule)
            bad += not is_red
            print(f"{'red' if is_red else 'GREEN':6}{rule.name}: {why}", flush=True)
    print(f"{len(rules) - bad} red, {bad} not")
    sys.exit(bad > 0)


main()
