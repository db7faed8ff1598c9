#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_corpus.py DIRECTORY: writes the corpus of hostile and odd layers, configs and manifests, and what has to become
of each. The same bytes on every host; nothing of it is kept in git. In DIRECTORY:

    layers/NAME, configs/NAME, manifests/NAME       the bytes
    layers.json, configs.json, manifests.json       one JSON object a line: the expected verdict (see cases.py)
    fuzz/{layer,config,manifest}/NAME               the small ones as the fuzz targets want them
"""
import json
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True  # this directory is the source's

import cases  # noqa: E402
import image_configs  # noqa: E402,F401
import image_manifests  # noqa: E402,F401
import layer_paths  # noqa: E402,F401
import layer_streams  # noqa: E402,F401
import layer_values  # noqa: E402,F401

FUZZ_BYTES = 16 << 10  # larger inputs slow a fuzzer down
COMPRESSION = {"none": b"\0", "gzip": b"\1", "zstd": b"\2"}  # the first byte of an input of layer_fuzz


def write(directory, kind, table, fuzz, first_byte):
    (directory / kind).mkdir()
    (directory / "fuzz" / fuzz).mkdir(parents=True)
    lines = []
    for name, (case, content) in table.items():
        (directory / kind / name).write_bytes(content)
        lines.append(json.dumps(case))
        if len(content) <= FUZZ_BYTES:
            (directory / "fuzz" / fuzz / name).write_bytes(first_byte(case) + content)
    (directory / (kind + ".json")).write_text("\n".join(lines) + "\n")


def main():
    target = pathlib.Path(sys.argv[1])
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh, "layers", cases.LAYERS, "layer", lambda case: COMPRESSION[case["compression"]])
    write(fresh, "configs", cases.CONFIGS, "config", lambda case: b"")
    write(fresh, "manifests", cases.MANIFESTS, "manifest", lambda case: b"\0")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    print(f"{len(cases.LAYERS)} layers, {len(cases.CONFIGS)} configs, {len(cases.MANIFESTS)} manifests")


main()
