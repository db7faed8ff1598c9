# SPDX-License-Identifier: Apache-2.0
"""Writes tar archives byte by byte, so that wrong ones can be written too. Text may be str or bytes."""
BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = b"\0" * 8

# Where the fields of a header stand: offset and size (POSIX.1-1988; the last three are GNU's).
FIELDS = {"name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
          "checksum": (148, 8), "type": (156, 1), "link": (157, 100), "magic": (257, 8), "uname": (265, 32),
          "gname": (297, 32), "major": (329, 8), "minor": (337, 8), "prefix": (345, 155), "map": (386, 96),
          "more": (482, 1), "real_size": (483, 12), "star": (508, 4)}


def raw(text):
    return text if isinstance(text, bytes) else text.encode()


def octal(number, size):
    return b"%0*o\0" % (size - 1, number)


def base256(number, size):
    """GNU's form: the top bit of the first byte, then a big-endian two's complement number."""
    digits = (number % (1 << (8 * size - 1))).to_bytes(size, "big")
    return bytes([digits[0] | 0x80]) + digits[1:]


def number(value, size):
    if isinstance(value, bytes):
        return value
    return octal(value, size) if 0 <= value < 1 << (3 * (size - 1)) else base256(value, size)


def header(name, type="0", size=0, mode=0o644, uid=0, gid=0, mtime=10**9, link="", magic=USTAR, major=0, minor=0,
      **fields):
    """One block. `fields` are bytes put over the fields of that name; "checksum" then is not made to fit."""
    block = bytearray(BLOCK)

    def put(field, text):
        offset, room = FIELDS[field]
        block[offset:offset + min(room, len(text))] = text[:room]

    put("name", raw(name))
    put("link", raw(link))
    put("type", raw(type))
    put("magic", magic)
    for field, value in (("mode", mode), ("uid", uid), ("gid", gid), ("size", size), ("mtime", mtime), ("major", major),
                         ("minor", minor)):
        put(field, number(value, FIELDS[field][1]))
    for field, text in fields.items():
        put(field, raw(text))
    if "checksum" not in fields:
        put("checksum", b" " * 8)
        put("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


def padded(content):
    content = raw(content)
    return content + b"\0" * (-len(content) % BLOCK)


def record(key, value):
    """A record of an extended header: its length counts itself."""
    tail = b" " + raw(key) + b"=" + raw(value) + b"\n"
    length = len(tail) + 1
    while len(b"%d" % length) + len(tail) != length:
        length += 1
    return b"%d" % length + tail


def pax_raw(text, type="x", **more):
    return header("pax", type, len(raw(text)), **more) + padded(text)


def pax(records, type="x"):
    """`records` is a dict, or a list of pairs where a key stands twice."""
    pairs = records.items() if isinstance(records, dict) else records
    return pax_raw(b"".join(record(key, value) for key, value in pairs), type)


def entry(name, type="0", content="", records=None, **more):
    content = raw(content)
    more.setdefault("size", len(content))
    if len(raw(name)) > 100:  # does not fit in the header
        records = {"path": name, **(records or {})}
    head = pax(records) if records else b""
    return head + header(name, type, **more) + padded(content)


def file(name, content="", **more):
    return entry(name, "0", content, **more)


def directory(name, mode=0o755, **more):
    return entry(name, "5", mode=mode, **more)


def symlink(name, target, **more):
    return entry(name, "2", link=target, **more)


def hard_link(name, target, **more):
    return entry(name, "1", link=target, **more)


def gnu_long(text, type="L", end=b"\0"):
    text = raw(text) + end
    return header("././@LongLink", type, len(text), magic=GNU) + padded(text)


# ---- the four forms of sparse files; `holes` is a list of (offset, bytes) --------------------------------------------


def sparse_old(name, real_size, pieces, stored=None):
    table = b"".join(octal(offset, 12) + octal(size, 12) for offset, size in pieces)
    first, further = table[:96], table[96:]
    more = b"\1" if further else b"\0"
    data = stored if stored is not None else b"".join(b"x" * size for _, size in pieces)
    blocks = b""
    while further:
        part, further = further[:504], further[504:]
        blocks += part.ljust(504, b"\0") + (b"\1" if further else b"\0") + b"\0" * 7
    head = header(name, "S", len(data), magic=GNU, map=first, more=more, real_size=number(real_size, 12))
    return head + blocks + padded(data)


def sparse_00(name, real_size, pieces, stored=None):
    records = [("GNU.sparse.size", str(real_size)), ("GNU.sparse.numblocks", str(len(pieces)))]
    for offset, size in pieces:
        records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(size))]
    data = stored if stored is not None else b"".join(b"x" * size for _, size in pieces)
    return pax(records) + header(name, "0", len(data)) + padded(data)


def sparse_01(name, real_size, pieces, stored=None):
    table = ",".join(f"{offset},{size}" for offset, size in pieces)
    data = stored if stored is not None else b"".join(b"x" * size for _, size in pieces)
    records = {"GNU.sparse.name": name, "GNU.sparse.size": str(real_size), "GNU.sparse.numblocks": str(len(pieces)),
               "GNU.sparse.map": table}
    return pax(records) + header("GNUSparseFile.1/" + name, "0", len(data)) + padded(data)


def sparse_10(name, real_size, pieces, stored=None):
    table = b"%d\n" % len(pieces) + b"".join(b"%d\n%d\n" % piece for piece in pieces)
    data = padded(table) + (stored if stored is not None else b"".join(b"x" * size for _, size in pieces))
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
               "GNU.sparse.realsize": str(real_size)}
    return pax(records) + header("GNUSparseFile.1/" + name, "0", len(data)) + padded(data)


SPARSE_FORMS = {"Old": sparse_old, "Pax00": sparse_00, "Pax01": sparse_01, "Pax10": sparse_10}
