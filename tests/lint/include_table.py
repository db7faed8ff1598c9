#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds every #include against the table of docs/ARCHITECTURE.md: which folder may see which, which third-party
headers are costly and in how many files of a program they may stand, and that no public header shows one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()

ALLOWED = {
    "base": {"base"},
    "queue": {"base", "queue"},
    "image": {"base", "image"},
    "sandbox": {"base", "sandbox"},
    "executor": {"base", "queue", "image", "sandbox", "executor"},
    "api": {"base", "queue", "api"},
    "triggers": {"base", "queue", "triggers"},
    "cli": {"base", "cli"},
    "daemon": {"base", "queue", "image", "sandbox", "executor", "api", "triggers", "cli", "daemon"},
}

# Folders within a folder that are programs of their own: what they may see of their siblings.
NARROWER = {
    "image/worker": {"base", "image/worker", "image/layer"},      # hostile bytes: nothing of the service
    "image/layer": {"base", "image/layer"},
    # No libc, so nothing of ours either but these two headers, which need none.
    "sandbox/init": {"sandbox/init", "sandbox/init_protocol.h", "sandbox/raw_syscall.h"},
    "daemon/settings": {"base", "daemon/settings"},
}

# Third-party headers that cost seconds to compile: in how many files of one program they may stand.
COSTLY = {
    r"boost/asio": 6,
    r"boost/beast": 1,
    r"nlohmann/": 1,
    r"CLI/": 1,
    r"toml\+\+/": 1,
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def main():
    problems = []
    costly = {pattern: [] for pattern in COSTLY}
    files = [p for folder in ALLOWED for p in sorted((ROOT / folder).rglob("*")) if p.suffix in (".h", ".cc")]
    if len(files) < 20:
        problems.append(f"only {len(files)} files found below {ROOT}: this check would hold nothing")
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        folder = name.split("/")[0]
        narrow = next((n for n in NARROWER if name.startswith(n + "/")), None)
        for kind, target in INCLUDE.findall(path.read_text()):
            for pattern in COSTLY:
                if re.match(pattern, target):
                    costly[pattern].append(name)
                    if path.suffix == ".h" and COSTLY[pattern] == 1:
                        problems.append(f"{name}: header includes {target}: keep it in one .cc file")
            if kind == "<":
                continue
            other = target.split("/")[0]
            if other not in ALLOWED:
                problems.append(f'{name}: #include "{target}" is not written from the repository\'s root')
            elif other not in ALLOWED[folder]:
                problems.append(f"{name}: {folder}/ may not include {target}")
            elif narrow and not any(target == seen or target.startswith(seen + "/") for seen in NARROWER[narrow]):
                problems.append(f"{name}: {narrow}/ may not include {target}")
    for pattern, users in costly.items():
        if len(set(users)) > COSTLY[pattern]:
            problems.append(f"{pattern} in {len(set(users))} files, at most {COSTLY[pattern]}: {', '.join(sorted(set(users)))}")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files held against the include table, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
