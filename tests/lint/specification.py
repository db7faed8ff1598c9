#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every promise of docs/SPECIFICATION.md names tests that exist: `Suite.Name` of a TEST in tests/, or `lint.name`."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()


def existing_tests():
    names = set()
    for path in (ROOT / "tests").rglob("*.cc"):
        for suite, name in re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+)\s*,\s*(\w+)\s*\)", path.read_text()):
            names.add(f"{suite}.{name}")
    for path in (ROOT / "tests").rglob("CMakeLists.txt"):
        names.update(re.findall(r"add_test\(NAME ([\w.]+)", path.read_text()))
    names.update(f"fuzz.{path.stem.removesuffix('_fuzz')}" for path in (ROOT / "tests/fuzz").glob("*_fuzz.cc"))
    return names


def main():
    existing = existing_tests()
    text = (ROOT / "docs/SPECIFICATION.md").read_text()
    promises = re.findall(r"^\| ([A-Z]+-\d+) \|(.*)\|([^|]*)\|$", text, re.M)
    problems = []
    seen = set()
    for number, _, tests in promises:
        if number in seen:
            problems.append(f"{number} stands twice")
        seen.add(number)
        named = re.findall(r"`([\w.]+)`", tests)
        if not named:
            problems.append(f"{number} names no test")
        problems.extend(f"{number}: no test {name}" for name in named if name not in existing)
    for problem in problems:
        print(problem)
    print(f"{len(promises)} promises, {len(problems)} problems")
    return 1 if problems or len(promises) < 20 else 0


sys.exit(main())
