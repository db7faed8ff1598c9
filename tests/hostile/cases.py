# SPDX-License-Identifier: Apache-2.0
"""The words of the table: a case is a name, what it is made of, and what has to become of it.

    layer("WhiteoutBeforeTheEntry", [file(".wh.a"), file("a", "x")], {"a": f("x")})
    layer("NameIsAbsolute", [file("/x")], refused("/x", "absolute"))

A layer is either accepted with exactly this tree ("" is the root, "dir implicit" where it is not mentioned), or refused
with a reason that contains all these words. Paths are written with %XX for bytes that are not printable ASCII."""
import hashlib

from tar_bytes import raw

LAYERS, CONFIGS, MANIFESTS = {}, {}, {}
END = b"\0" * 1024


class Refused:
    def __init__(self, words, code):
        self.words, self.code = words, code


def refused(*words):
    """What is wrong with the bytes: ErrorCode::kInvalid."""
    return Refused(words, "invalid")


def too_large(*words):
    """What is over one of our limits: ErrorCode::kTooLarge."""
    return Refused(words, "too_large")


def escaped(text):
    return "".join(chr(c) if 0x20 <= c < 0x7f and c not in b"%'" else f"%{c:02X}" for c in raw(text))


# ---- what stands in a tree, in the words that the test finds for what it sees ----------------------------------------


def _words(kind, mode, usual_mode, owner, mtime, more):
    words = [kind]
    if mode != usual_mode:
        words.append(f"{mode:o}")
    if owner != (0, 0):
        words.append(f"{owner[0]}:{owner[1]}")
    if mtime != 10**9:
        words.append(f"@{mtime}")
    return " ".join(words + [word for word in more if word])


def f(content="", mode=0o644, owner=(0, 0), mtime=10**9, links=1, xattrs=()):
    content = raw(content)
    shown = f"'{escaped(content)}'" if len(content) <= 64 else f"{len(content)} bytes {hashlib.sha256(content).hexdigest()[:16]}"
    return _words("file", mode, 0o644, owner, mtime, [f"links={links}" if links > 1 else "", shown, *xattrs])


def d(mode=0o755, owner=(0, 0), mtime=10**9, facts="", xattrs=()):
    return _words("dir", mode, 0o755, owner, mtime, [facts, *xattrs])


def l(target, owner=(0, 0), mtime=10**9):
    return _words("link", 0, 0, owner, mtime, [f"-> {escaped(target)}"])


def fifo(mode=0o644, owner=(0, 0), mtime=10**9):
    return _words("fifo", mode, 0o644, owner, mtime, [])


IMPLICIT = "dir implicit"  # no entry describes it
WHITEOUT = "whiteout"


def layer(name, entries, verdict, compression="none", pack=None, end=END, devices=0, ids=0, xattrs=0, entry_count=None):
    """`entries` is a list of blocks, or the bytes of the whole stream. `pack` compresses what they give."""
    assert name not in LAYERS, name
    stream = entries if isinstance(entries, bytes) else b"".join(entries) + end
    case = {"name": name, "compression": compression}
    if isinstance(verdict, Refused):
        case |= {"verdict": "refused", "code": verdict.code, "words": list(verdict.words)}
    else:
        tree = {"": IMPLICIT} | {escaped(path): what for path, what in verdict.items()}
        case |= {"verdict": "accepted", "tree": tree, "devices_skipped": devices, "ids_changed": ids,
        "xattrs_dropped": xattrs}
        if pack is None:
            case["diff_id"] = hashlib.sha256(stream).hexdigest()
    LAYERS[name] = (case, pack(stream) if pack else stream)


def config(name, text, verdict):
    """`verdict` is refused(...), or a dict of what is read from it."""
    _document(CONFIGS, name, text, verdict)


def manifest(name, text, verdict, content_type=""):
    """`verdict` is refused(...), or a dict: {"layers": n}, or {"platform": digest's first digits} of an index."""
    _document(MANIFESTS, name, text, verdict, content_type=content_type)


def _document(table, name, text, verdict, **more):
    assert name not in table, name
    case = {"name": name} | more
    if isinstance(verdict, Refused):
        case |= {"verdict": "refused", "code": verdict.code, "words": list(verdict.words)}
    else:
        case |= {"verdict": "accepted", "found": verdict}
    table[name] = (case, raw(text))
