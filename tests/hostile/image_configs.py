# SPDX-License-Identifier: Apache-2.0
"""Configs of images: what a job would be told to run, from a hostile hand."""
import json
import platform

from cases import config, refused, too_large

HERE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
DIFF_ID = "sha256:" + "d" * 64


def text(inner=None, **outer):
    """A config with these execution parameters; `outer` replaces or adds members beside them."""
    document = {"architecture": HERE, "os": "linux", "config": inner if inner is not None else {},
                "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]}} | outer
    return json.dumps({key: value for key, value in document.items() if value is not ...})


def with_config(inner_text):
    return text({"X": 1}).replace('{"X": 1}', inner_text)


config("Usual", text({"User": "web:www", "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["date"], "Env": ["A=b"], "WorkingDir": "/srv"}),
       {"user": "web:www", "working_dir": "/srv", "entrypoint": 2, "command": 1, "env": 1, "diff_ids": 1})
config("WithoutExecutionParameters", text(config=...), {"diff_ids": 1})
config("WithNullsEverywhere", text({"User": None, "Entrypoint": None, "Cmd": None, "Env": None, "WorkingDir": None}),
      {"diff_ids": 1})
config("WithNullInPlaceOfParameters", text(config=None), {"diff_ids": 1})
config("WithUnknownMembers", text({"Volumes": {"/../etc": {}}, "OnBuild": ["RUN x"], "Healthcheck": {"Test": ["NONE"]}}, history=[{}]),
       {"diff_ids": 1})
config("WithWrongCase", text({"user": "root", "ENV": ["A=b"]}), {"user": "", "env": 0})
config("OfNoLayer", text(rootfs={"type": "layers", "diff_ids": []}), {"diff_ids": 0})
config("WithByteOrderMark", b"\xef\xbb\xbf" + text().encode(), {"diff_ids": 1})

config("DeepArrays", "[" * 100_000, refused("nested deeper"))
config("DeepObjects", '{"a":' * 100_000, refused("nested deeper"))
config("DeepInsideAnUnknownMember", text(history="X").replace('"X"', "[" * 100 + "]" * 100), refused("nested deeper"))
config("DepthJustAllowed", text(history="X").replace('"X"', "[" * 30 + "]" * 30), {"diff_ids": 1})
config("DuplicateMember", with_config('{"User": "web", "User": "root"}'), refused("duplicate", "User"))
config("DuplicateMemberByEscape", with_config('{"User": "web", "\\u0055ser": "root"}'), refused("duplicate", "User"))
config("DuplicateArchitecture", '{"architecture": "%s", ' % HERE + text()[1:], refused("duplicate", "architecture"))
config("EnvironmentOf10To6Entries", with_config('{"Env": [' + ",".join(['"A=b"'] * 1_000_000) + "]}"),
      refused("values"))
config("EnvironmentOfManyEntries", text({"Env": ["A=b"] * 100_000}), {"env": 100_000})
config("LargerThan8MiB", text({"User": "u" * (8 << 20)}), too_large("bytes"))
config("StringOf7MiB", text({"User": "u" * (7 << 20)}), {"diff_ids": 1})

for member in ("User", "WorkingDir"):
    for what, value in (("Number", 0), ("List", ["root"]), ("Object", {"uid": 0}), ("Flag", True)):
        config(f"{member}IsA{what}", text({member: value}), refused(f'"{member}"', "not text"))
    config(f"{member}WithANul", text({member: "root\0"}), refused(f'"{member}"', "NUL"))
for member in ("Entrypoint", "Cmd", "Env"):
    config(f"{member}IsAString", text({member: "/bin/sh -c date"}), refused(f'"{member}"', "not a list"))
    config(f"{member}IsAnObject", text({member: {"0": "sh"}}), refused(f'"{member}"', "not a list"))
    config(f"{member}HoldsANumber", text({member: ["a", 1]}), refused(f'"{member}"', "not text"))
    config(f"{member}HoldsAList", text({member: [["sh"]]}), refused(f'"{member}"', "not text"))
    config(f"{member}HoldsNull", text({member: [None]}), refused(f'"{member}"', "not text"))
    config(f"{member}HoldsANul", text({member: ["a\0b"]}), refused(f'"{member}"', "NUL"))
config("ParametersAreAList", text([]), refused('"config"', "not an object"))
config("ParametersAreText", text("root"), refused('"config"', "not an object"))
config("UserThatIsAbsurdIsKeptForTheResolver", text({"User": "4294967296:-1"}), {"user": "4294967296:-1"})
config("WorkingDirThatClimbsIsKeptForTheSandbox", text({"WorkingDir": "../../etc"}), {"working_dir": "../../etc"})

config("RootfsIsMissing", text(rootfs=...), refused('"rootfs"', "missing"))
config("RootfsIsAList", text(rootfs=[]), refused('"rootfs"', "missing"))
config("DiffIdsAreText", text(rootfs={"type": "layers", "diff_ids": DIFF_ID}), refused('"diff_ids"', "not a list"))
config("DiffIdsHoldANumber", text(rootfs={"type": "layers", "diff_ids": [1]}), refused('"diff_ids"', "not text"))
config("DiffIdOfAnotherAlgorithm", text(rootfs={"type": "layers", "diff_ids": ["sha512:" + "d" * 128]}),
      refused("diff_ids", "sha512"))
config("DiffIdThatClimbs", text(rootfs={"type": "layers", "diff_ids": ["sha256:../../etc/passwd"]}),
      refused("diff_ids"))
config("DiffIdInCapitals", text(rootfs={"type": "layers", "diff_ids": ["sha256:" + "D" * 64]}), refused("diff_ids"))
config("DiffIds129", text(rootfs={"type": "layers", "diff_ids": [DIFF_ID] * 129}), refused("128 diff_ids"))

config("OfAnotherArchitecture", text(architecture="s390x"), refused("linux/s390x", "this host runs"))
config("OfA32BitArchitecture", text(architecture="386"), refused("linux/386", "32-bit"))
config("OfWindows", text(os="windows"), refused("windows/", "this host runs"))
config("OfNoArchitecture", text(architecture=...), refused("this host runs"))
config("OfAnArchitectureThatIsANumber", text(architecture=64), refused('"architecture"', "not text"))
config("OfAnArchitectureWithControlBytes", text(architecture="\x1b[31m"), refused("\\x1b[31m", "this host runs"))

config("NumberTooLarge", text(history=1).replace('"history": 1', '"history": 1e999'), refused("JSON", "overflow"))
config("NumberOf100Digits", text(history=1).replace('"history": 1', '"history": ' + "9" * 100), {"diff_ids": 1})
config("BrokenUtf8", text({"User": "X"}).encode().replace(b'"X"', b'"\xff\xfe"'), refused("JSON"))
config("BrokenSurrogate", with_config('{"User": "\\ud800"}'), refused("JSON"))
config("OverlongUtf8", text({"User": "X"}).encode().replace(b'"X"', b'"\xc0\xaf"'), refused("JSON"))
config("Empty", b"", refused("JSON"))
config("CutOff", text()[:-1], refused("JSON"))
config("WithSomethingBehind", text() + "{}", refused("JSON"))
config("WithAComment", "// hello\n" + text(), refused("JSON"))
config("InUtf16", text().encode("utf-16"), refused("JSON"))
config("List", b"[]", refused("not an object"))
config("Null", b"null", refused("not an object"))
config("ManifestInPlaceOfConfig", b'{"schemaVersion":2,"config":{},"layers":[]}', refused("this host runs"))
