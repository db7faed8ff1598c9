#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of CONTRIBUTING.md that a machine can hold: the licence line first, and calls that are banned with the
reason and what to use instead."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
FOLDERS = ["base", "queue", "image", "sandbox", "executor", "api", "triggers", "daemon", "cli"]

BANNED = {
    r"\bsystem\s*\(|\bpopen\s*\(": "runs a shell: use fork and exec with an argument vector",
    r"\bstrcpy\s*\(|\bstrcat\s*\(|\bsprintf\s*\(": "no bound: use std::string or fmt",
    r"\.detach\s*\(\)": "a detached thread outlives what it uses: join it",
    r"sleep_for|sleep_until|\busleep\s*\(": "sleeping is no synchronisation: wait for what you need",
    r"\bthrow\b(?!\s*\()": "our code throws nothing: return a Result",
    r"std::filesystem::canonical": "resolves names that may change: hold a directory descriptor",
    r"\brand\s*\(\)|\bsrand\s*\(": "predictable: use FillRandom",
}
MAX_LINES = 600


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    return re.sub(r'"(?:\\.|[^"\\])*"|//[^\n]*', lambda m: '""' if m.group().startswith('"') else "", text)


def main():
    problems = []
    files = [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*")) if p.suffix in (".h", ".cc")]
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text()
        if not text.startswith("// SPDX-License-Identifier: Apache-2.0\n"):
            problems.append(f"{name}: the first line is not the SPDX line")
        lines = text.count("\n")
        if lines > MAX_LINES:
            problems.append(f"{name}: {lines} lines; over {MAX_LINES} it is two files")
        code = without_comments(text)
        for pattern, why in BANNED.items():
            for match in re.finditer(pattern, code):
                line = code[:match.start()].count("\n") + 1
                problems.append(f"{name}: near line {line}: {match.group().strip()} {why}")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems")
    return 1 if problems or len(files) < 20 else 0


sys.exit(main())
