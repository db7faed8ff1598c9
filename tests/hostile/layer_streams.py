# SPDX-License-Identifier: Apache-2.0
"""The stream as a whole: cut off, trailing bytes, empty blocks, compression, bombs, other formats in place of tar."""
import struct
import zlib

from cases import END, f, layer, refused, too_large
from streams import ZSTD_MAGIC, gzip, zstd, zstd_skippable, zstd_zeros
from tar_bytes import entry, file, gnu_long, pax, sparse_old

ONE = file("a", "x")
BIG = file("a", bytes(i * i % 251 for i in range(100_000)))
BIG_TREE = {"a": f(bytes(i * i % 251 for i in range(100_000)))}

# ---- ends of the archive ---------------------------------------------------------------------------------------------
layer("EndWithoutEmptyBlocks", [ONE], {"a": f("x")}, end=b"")
layer("EndWithOneEmptyBlock", [ONE], {"a": f("x")}, end=END[:512])
layer("EndWithThreeEmptyBlocks", [ONE], {"a": f("x")}, end=END + END[:512])
layer("EndPaddedTo10240", [ONE], {"a": f("x")}, end=b"\0" * (10240 - 1024))
layer("EndWithAPartOfABlock", [ONE], refused("cut off"), end=b"\0" * 100)
layer("EndFollowedByText", [ONE], {"a": f("x")}, end=END + b"what follows the end is hashed and not read")
layer("EndFollowedByAnotherArchive", [ONE], {"a": f("x")}, end=END + file("b", "y") + END)
layer("EmptyBlockInFrontOfAnEntry", [b"\0" * 512, ONE], refused("single empty block"))
layer("EmptyBlockBetweenEntries", [ONE, b"\0" * 512, file("b")], refused("single empty block"))
layer("EmptyStream", b"", {})
layer("EmptyArchive", [], {})

# ---- cut off ---------------------------------------------------------------------------------------------------------
def cut(name, entries, length, verdict):
    layer("CutOff" + name, b"".join(entries)[:length], verdict)


cut("InTheFirstHeader", [BIG], 300, refused("cut off"))
cut("AfterTheFirstHeader", [BIG], 512, refused("\"a\""))
cut("InTheContents", [BIG], 5000, refused("\"a\""))
cut("InThePadding", [ONE], 700, refused("\"a\""))
cut("InTheSecondHeader", [ONE, BIG], 1024 + 200, refused("cut off"))
cut("InAPaxHeader", [pax({"path": "b"}), ONE], 400, refused("cut off"))
cut("AfterAPaxHeader", [pax({"path": "b"}), ONE], 512, refused("cut off"))
cut("InAPaxBody", [pax({"path": "b" * 2000}), ONE], 1500, refused("cut off"))
cut("BetweenPaxAndItsEntry", [pax({"path": "b"}), ONE], 1024, refused("cut off"))
cut("InALongName", [gnu_long("b" * 2000), ONE], 1500, refused("cut off"))
cut("InASparseMap", [sparse_old("a", 9000, [(i * 400, 1) for i in range(22)])], 700, refused("\"a\""))
cut("InASparseFile", [sparse_old("a", 9000, [(0, 2000)])], 1500, refused("\"a\""))

# ---- compression -----------------------------------------------------------------------------------------------------
layer("GzipOfOneMember", [BIG], BIG_TREE, "gzip", gzip)
layer("GzipStored", [BIG], BIG_TREE, "gzip", lambda data: gzip(data, 0))
layer("GzipOfManyMembers", [BIG], BIG_TREE, "gzip",
      lambda data: b"".join(gzip(data[i:i + 777]) for i in range(0, len(data), 777)))
layer("GzipWithEmptyMembers", [BIG], BIG_TREE, "gzip", lambda data: gzip(b"") + gzip(data) + gzip(b"") + gzip(b""))
layer("GzipOfNothing", b"", {}, "gzip", gzip)
layer("GzipWithExtraField", [BIG], BIG_TREE, "gzip",
      lambda data: gzip(data, flags=4, extra=struct.pack("<H", 300) + b"e" * 300))
layer("GzipWithNameAndComment", [BIG], BIG_TREE, "gzip",
      lambda data: gzip(data, flags=24, extra=b"n" * 500 + b"\0" + b"c" * 500 + b"\0"))
layer("GzipWithHeaderChecksum", [BIG], BIG_TREE, "gzip",
      lambda data: gzip(data, flags=2, extra=struct.pack("<H", zlib.crc32(b"\x1f\x8b\x08\x02\0\0\0\0\0\3") & 0xffff)))
layer("GzipWithWrongHeaderChecksum", [BIG], refused("gzip"), "gzip", lambda data: gzip(data, flags=2, extra=b"zz"))
layer("GzipWithReservedFlags", [BIG], refused("gzip", "damaged"), "gzip", lambda data: gzip(data, flags=0x20))
layer("GzipOfUnknownMethod", [BIG], refused("gzip", "damaged"), "gzip", lambda data: gzip(data, method=7))
layer("GzipWithWrongChecksum", [BIG], refused("gzip", "damaged"), "gzip", lambda data: gzip(data, crc=1))
layer("GzipWithWrongLength", [BIG], refused("gzip", "damaged"), "gzip", lambda data: gzip(data, size=1))
layer("GzipWithWrongChecksumOfTheSecondMember", [BIG], refused("gzip", "damaged"), "gzip",
      lambda data: gzip(data[:5000]) + gzip(data[5000:], crc=1))
layer("GzipFollowedByText", [BIG], refused("gzip", "something else"), "gzip", lambda data: gzip(data) + b"trailing")
layer("GzipFollowedByZeros", [BIG], refused("gzip", "something else"), "gzip", lambda data: gzip(data) + b"\0" * 512)
layer("GzipFollowedByHalfAHeader", [BIG], refused("gzip"), "gzip", lambda data: gzip(data) + b"\x1f\x8b\x08")
layer("GzipFollowedByOneByteOfAHeader", [BIG], refused("gzip"), "gzip", lambda data: gzip(data) + b"\x1f")
layer("GzipFollowedByZstd", [BIG], refused("gzip", "something else"), "gzip", lambda data: gzip(data) + zstd(b"x"))
layer("GzipInsideGzip", [BIG], refused("checksum"), "gzip", lambda data: gzip(gzip(data)))
layer("GzipCalledPlain", [BIG], refused("uncompressed", "gzip"), "none", gzip)
layer("GzipCalledZstd", [BIG], refused("zstd", "gzip"), "zstd", gzip)
layer("PlainCalledGzip", [BIG], refused("gzip", "uncompressed"), "gzip", lambda data: data)
for name, length in (("InTheHeader", 5), ("AfterTheHeader", 10), ("InTheData", 200), ("InTheTrailer", -4), ("BeforeTheTrailer", -8)):
    layer("GzipCutOff" + name, [BIG], refused("gzip", "cut off"), "gzip", lambda data, n=length: gzip(data)[:n])
layer("GzipWithReservedBlock", [BIG], refused("gzip", "damaged"), "gzip",
      lambda data: gzip(b"")[:10] + b"\x07" + b"\0" * 20)
layer("GzipWithADistanceTooFar", [BIG], refused("gzip", "damaged"), "gzip",
      lambda data: gzip(b"")[:10] + b"\x4b\x04\x12\x00" + b"\0" * 20)

layer("ZstdOfOneFrame", [BIG], BIG_TREE, "zstd", zstd)
layer("ZstdOfManyFrames", [BIG], BIG_TREE, "zstd",
      lambda data: b"".join(zstd(data[i:i + 7777]) for i in range(0, len(data), 7777)))
layer("ZstdWithSkippableFrames", [BIG], BIG_TREE, "zstd",
      lambda data: zstd_skippable(b"index") + zstd(data[:500]) + zstd_skippable(b"") + zstd(data[500:]) + zstd_skippable(b"x" * 70000))
layer("ZstdOfSkippableFramesOnly", b"", {}, "zstd", lambda data: zstd_skippable(b"x"))
layer("ZstdWithAWindowOf128MiB", [BIG], BIG_TREE, "zstd", lambda data: zstd(data, 27))
layer("ZstdWithAWindowOf256MiB", [BIG], refused("zstd", "memory"), "zstd", lambda data: zstd(data, 28))
layer("ZstdWithAWindowOf2GiB", [BIG], refused("zstd", "memory"), "zstd", lambda data: zstd(data, 31))
layer("ZstdCutOffInTheData", [BIG], refused("zstd", "cut off"), "zstd", lambda data: zstd(data)[:5000])
layer("ZstdCutOffInTheHeader", [BIG], refused("zstd", "cut off"), "zstd", lambda data: zstd(data)[:5])
layer("ZstdCutOffBeforeTheLastBlock", [BIG], refused("zstd", "cut off"), "zstd", lambda data: zstd(data, end=False))
layer("ZstdCutOffInASkippableFrame", [BIG], refused("zstd", "cut off"), "zstd",
      lambda data: zstd(data) + zstd_skippable(b"x" * 9)[:12])
layer("ZstdFollowedByText", [BIG], refused("zstd"), "zstd", lambda data: zstd(data) + b"trailing")
layer("ZstdFollowedByGzip", [BIG], refused("zstd"), "zstd", lambda data: zstd(data) + gzip(b"x"))
layer("ZstdWithReservedBits", [BIG], refused("zstd"), "zstd", lambda data: ZSTD_MAGIC + b"\x08" + zstd(data)[5:])
layer("ZstdWithADictionary", [BIG], refused("zstd"), "zstd", lambda data: ZSTD_MAGIC + b"\x01\x50\x07" + zstd(data)[6:])
layer("ZstdWithABlockTooLarge", [BIG], refused("zstd"), "zstd",
      lambda data: zstd(b"")[:6] + struct.pack("<I", 1 | 0 << 1 | 200_000 << 3)[:3] + b"x" * 200_000)
layer("ZstdCalledGzip", [BIG], refused("gzip", "zstd"), "gzip", zstd)

# ---- bombs -----------------------------------------------------------------------------------------------------------
# 2.5 GiB from 2.5 MiB: no member alone is over the ratio's allowance.
layer("BombOfGzipMembers", b"", too_large("swells"), "gzip", lambda data: gzip(b"\0" * (64 << 20), 9) * 40)
layer("BombOfZstdBlocks", b"", too_large("swells"), "zstd", lambda data: zstd_zeros(20_000))
layer("BombOfZstdFrames", b"", too_large("swells"), "zstd", lambda data: zstd_zeros(100) * 200)
layer("BombBehindTheEndOfTheArchive", [ONE], too_large("swells"), "gzip",
      lambda data: gzip(data) + gzip(b"\0" * (64 << 20), 9) * 40)
layer("BombOfEntries", b"", too_large("1000000 entries"), "gzip",
      lambda data: gzip(entry("null", "3", major=1, minor=3) * 16384, 9) * 62)
layer("BombOfNestedArchivesIsAFile", [file("inner.gz", gzip(gzip(b"\0" * (1 << 20))))],
      {"inner.gz": f(gzip(gzip(b"\0" * (1 << 20))))})

# ---- other formats in place of tar -----------------------------------------------------------------------------------
layer("FormatCpio", b"070701" + b"0" * 104 + b"TRAILER!!!\0" + b"\0" * 1024, refused("no tar archive"))
layer("FormatZip", b"PK\3\4" + b"\0" * 1020, refused("no tar archive"))
layer("FormatAr", b"!<arch>\n" + b"debian-binary   0           0     0     100644  4         `\n2.0\n" + b" " * 1000,
      refused("no tar archive"))
layer("FormatXz", b"\xfd7zXZ\0" + b"\1" * 1018, refused("no tar archive"))
layer("FormatBzip2", b"BZh91AY&SY" + b"\1" * 1014, refused("no tar archive"))
layer("FormatElf", b"\x7fELF\2\1\1" + b"\0" * 1017, refused("no tar archive"))
layer("FormatIso9660", b"\0" * 32768 + b"\1CD001\1" + b"\0" * 4089, {})
layer("FormatMtree", b"#mtree\n./x type=file\n".ljust(1024, b"\n"), refused("no tar archive"))
layer("FormatText", b"<html><body>404</body></html>", refused("cut off"))
layer("FormatOneByte", b"x", refused("cut off"))
