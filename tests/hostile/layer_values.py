# SPDX-License-Identifier: Apache-2.0
"""What headers say: owners, modes, times, devices, attributes, sizes, forms of the archive, extended headers."""
from cases import END, IMPLICIT, d, f, fifo, l, layer, refused, too_large
from tar_bytes import (GNU, SPARSE_FORMS, USTAR, V7, base256, directory, entry, file, gnu_long, hard_link, header, octal,
                       padded, pax, pax_raw, symlink)

TIB = 1 << 40

# ---- owners and modes ------------------------------------------------------------------------------------------------
layer("IdsUpTo65535AreKept", [file("a", uid=33, gid=65535, mode=0o6755)], {"a": f(owner=(33, 65535), mode=0o6755)})
layer("Id65536IsStoredAsNobody", [file("a", uid=65536, mode=0o4755)], {"a": f(owner=(65534, 0), mode=0o755)}, ids=1)
layer("GroupId65536LosesSetIdBits", [file("a", gid=65536, mode=0o6755)], {"a": f(owner=(0, 65534), mode=0o755)}, ids=1)
layer("IdOf2To31IsStoredAsNobody", [file("a", uid=2**31, gid=2**31)], {"a": f(owner=(65534, 65534))}, ids=1)
layer("IdOf2To32Minus2IsStoredAsNobody", [file("a", uid=2**32 - 2)], {"a": f(owner=(65534, 0))}, ids=1)
layer("IdOf2To32Minus1", [file("a", uid=2**32 - 1, mode=0o4755)], refused("\"a\"", "owner"))
layer("IdOf2To32", [file("a", uid=2**32, mode=0o4755)], refused("\"a\"", "owner"))
layer("GroupIdOf2To32Minus1", [file("a", gid=2**32 - 1)], refused("\"a\"", "owner"))
layer("GroupIdOf2To32", [directory("a", gid=2**32)], refused("\"a\"", "owner"))
layer("IdOf2To32Minus1OfALink", [symlink("a", "b", uid=2**32 - 1)], refused("\"a\"", "owner"))
layer("IdThatIsNegative", [file("a", uid=-1)], refused("uid", "negative"))
layer("IdOf2To63", [file("a", uid=b"\x80\x7f" + b"\xff" * 6)], refused("\"a\"", "owner"))
layer("IdInPax2To16", [file("a", records={"uid": "65536"})], {"a": f(owner=(65534, 0))}, ids=1)
layer("IdInPax2To32Minus1", [file("a", records={"uid": "4294967295"})], refused("\"a\"", "owner"))
layer("IdInPax2To32", [file("a", records={"gid": "4294967296"})], refused("\"a\"", "owner"))
layer("IdInPax2To64", [file("a", records={"uid": "18446744073709551616"})], refused("uid", "not a number"))
layer("IdInPaxNegative", [file("a", records={"uid": "-1"})], refused("uid", "not a number"))
layer("IdInPaxHexadecimal", [file("a", records={"uid": "0x0"})], refused("uid", "not a number"))
layer("IdInPaxEmpty", [file("a", records={"uid": ""})], refused("uid", "empty"))
layer("IdInPaxOverridesTheHeader", [file("a", uid=7, records={"uid": "8"})], {"a": f(owner=(8, 0))})
layer("IdOfAWrongHeaderIsOverriddenByPax", [file("a", uid=-1, records={"uid": "8"})], {"a": f(owner=(8, 0))})
layer("NamesOfOwnersAreNotHeeded", [file("a", uid=7, uname="root", gname="root")], {"a": f(owner=(7, 0))})
layer("ModeWithBitsAbove7777", [file("a", mode=0o100644)], {"a": f()})
# As Docker and buildah write every entry.
layer("ModeWithTheTypeInIt", [file("a", "x", mode=0o100644), hard_link("h", "a", mode=0o100644), directory("d", 0o40755),
                              symlink("s", "a", mode=0o120777), entry("p", "6", mode=0o10644)],
      {"a": f("x", links=2), "h": f("x", links=2), "d": d(), "s": l("a"), "p": fifo()})
layer("ModeWithAnotherTypeInIt", [file("a", mode=0o120644)], {"a": f()})
layer("ModeOfAHardLinkWithAnotherTypeInIt", [file("a"), hard_link("h", "a", mode=0o120777)],
      refused("\"h\"", "two ways"))
layer("ModeOfALinkIsNotHeeded", [symlink("a", "b", mode=0)], {"a": l("b")})
layer("ModeWithSetIdAndSticky", [file("a", mode=0o7777), directory("t", 0o1777), directory("s", 0o2755)],
      {"a": f(mode=0o7777), "t": d(0o1777), "s": d(0o2755)})
layer("ModeThatIsNegative", [file("a", mode=-1)], refused("mode", "negative"))

# ---- times -----------------------------------------------------------------------------------------------------------
layer("TimeInBase256", [file("a", mtime=2**33)], {"a": f(mtime=2**33)})
layer("TimeThatIsNegative", [file("a", mtime=-5)], {"a": f(mtime=-5)})
layer("TimeInPaxWithAFraction", [file("a", records={"mtime": "123.5"})], {"a": f(mtime="123.500000000")})
layer("TimeInPaxNegativeWithAFraction", [file("a", records={"mtime": "-1.25"})], {"a": f(mtime="-2.750000000")})
layer("TimeInPaxOfTwelveDigits", [file("a", records={"mtime": "5.123456789123"})], {"a": f(mtime="5.123456789")})
layer("TimeInPaxThatIsJunk", [file("a", records={"mtime": "yesterday"})], refused("mtime", "not a number"))
layer("TimeInPaxWithAnExponent", [file("a", records={"mtime": "1e9"})], refused("mtime", "not a number"))
layer("TimeInPaxOutOfRange", [file("a", records={"mtime": "9" * 18})], refused("mtime", "out of range"))
layer("TimeInBase256OutOfRange", [file("a", mtime=b"\x80" + b"\x7f" * 11)], refused("mtime", "64 bits"))
layer("TimeOfAccessIsNotHeeded", [file("a", records={"atime": "junk", "ctime": "junk"})], {"a": f()})

# ---- devices, FIFOs, sockets -----------------------------------------------------------------------------------------
layer("DevicesAreSkipped", [entry("null", "3", major=1, minor=3), entry("dev/sda", "4", major=8)], {}, devices=2)
layer("DeviceThatIsAWhiteout", [entry("a", "3")], refused("\"a\"", "whiteout"))
layer("BlockDeviceOfNumberZero", [entry("a", "4")], {}, devices=1)
layer("DeviceWithWildNumbers", [entry("a", "3", major=2**40, minor=2**40)], {}, devices=1)
layer("DeviceWithNegativeNumbers", [entry("a", "3", major=-1)], refused("device number", "negative"))
layer("DeviceWithContents", [entry("a", "3", "body", major=1)], refused("\"a\"", "has contents"))
layer("FifoIsKept", [entry("p", "6", mode=0o620, uid=5)], {"p": fifo(0o620, (5, 0))})
layer("FifoWithContents", [entry("p", "6", "body")], refused("\"p\"", "has contents"))
layer("SocketOfCpioKind", [entry("s", "s")], refused("unknown type", "\"s\""))
for kind, what in (("A", "SolarisAcl"), ("X", "SolarisHeader"), ("D", "GnuDumpDirectory"), ("M", "GnuMultiVolume"),
                   ("V", "GnuVolumeName"), ("N", "GnuOldLongNames"), ("8", "Reserved"), ("\xff", "Wild")):
    layer("TypeOf" + what, [entry("a", kind.encode("latin-1"))], refused("unknown type"))
layer("TypeOfContiguousFile", [entry("a", "7", "x")], {"a": f("x")})
layer("TypeOfOldFile", [entry("a", "\0", "x")], {"a": f("x")})

# ---- extended attributes ---------------------------------------------------------------------------------------------
X = "SCHILY.xattr."
layer("XattrOfUserIsKept", [file("a", records={X + "user.mime": "a\0b"}), directory("e", records={X + "user.x": "1"})],
      {"a": f(xattrs=["user.mime='a%00b'"]), "e": d(xattrs=["user.x='1'"])})
layer("XattrOfUserTwiceTheLastStays", [file("a", records=[(X + "user.x", "1"), (X + "user.x", "2")])],
      {"a": f(xattrs=["user.x='2'"])})
layer("XattrTrusted", [file("a", records={X + "trusted.overlay.opaque": "y"})],
      refused("\"a\"", "trusted.overlay.opaque"))
layer("XattrTrustedRedirect", [directory("a", records={X + "trusted.overlay.redirect": "/etc"})],
      refused("\"a\"", "trusted."))
layer("XattrTrustedOfNoKnownName", [file("a", records={X + "trusted.x": "y"})], refused("\"a\"", "trusted.x"))
layer("XattrOfUserOverlayIsDropped",
      [directory("a", records={X + "user.overlay.opaque": "y", X + "user.overlay.redirect": "/etc"})], {"a": d()},
      xattrs=2)
layer("XattrOfCapabilityIsDropped", [file("a", mode=0o755, records={X + "security.capability": b"\1\0\0\2" + b"\xff" * 16})],
      {"a": f(mode=0o755)}, xattrs=1)
layer("XattrOfSecurityAndSystemIsDropped",
      [file("a", records={X + "security.selinux": "x", X + "security.ima": "x", X + "system.posix_acl_access": "x"})],
      {"a": f()}, xattrs=3)
layer("XattrOfUnknownSpaceIsDropped", [file("a", records={X + "usr.x": "1", X + "user": "1", X + "user.": "1"})],
      {"a": f()}, xattrs=3)
layer("XattrOfALinkIsDropped", [symlink("a", "b", records={X + "user.x": "1"})], {"a": l("b")}, xattrs=1)
layer("XattrOfLibarchiveIsDropped",
      [file("a", records={"LIBARCHIVE.xattr.user.x": "eA==", "LIBARCHIVE.xattr.trusted.overlay.opaque": "eQ=="})],
      {"a": f()}, xattrs=2)
layer("XattrAsAclIsDropped", [file("a", records={"SCHILY.acl.access": "user::rwx,user:lp:rw-:7,group::r--,mask::rwx,other::---"})],
      {"a": f()}, xattrs=1)
layer("XattrOfRedHatIsDropped", [file("a", records={"RHT.security.selinux": "system_u"})], {"a": f()}, xattrs=1)
layer("XattrWithoutName", [file("a", records={X: "1"})], refused("extended attribute"))
layer("XattrWithNulInItsName", [file("a", records={X + "user.a\0b": "1"})], refused("NUL"))
layer("XattrWithANameOf256Bytes", [file("a", records={X + "user." + "n" * 251: "1"})],
      refused("extended attribute", "limit"))
layer("Xattrs64OfOneEntry", [file("a", records={f"{X}security.{i}": "1" for i in range(64)})], {"a": f()}, xattrs=64)
layer("Xattrs65OfOneEntry", [file("a", records={f"{X}user.{i}": "1" for i in range(65)})],
      refused("extended attribute", "limit"))
layer("XattrValueOf64KiBAnd1", [file("a", records={X + "user.x": "v" * 65537})], refused("extended attribute", "limit"))
layer("XattrOfADroppedDevice", [entry("a", "3", major=1, records={X + "user.x": "1"})], {}, devices=1, xattrs=1)
layer("XattrDoesNotReachTheNextEntry", [file("a", records={X + "user.x": "1"}), file("b")],
      {"a": f(xattrs=["user.x='1'"]), "b": f()})

# ---- sizes -----------------------------------------------------------------------------------------------------------
layer("SizeLargerThanTheStream", [file("a", "x", size=100000)], refused("\"a\""), end=b"")
layer("SizeThatEatsTheNextEntry", [header("a", size=1024) + padded("x"), file("b")],
      {"a": f(padded("x") + file("b"))})
layer("SizeThatEatsTheEnd", [file("a", "x", size=1024)], {"a": f(padded("x") + b"\0" * 512)}, end=END[:512])
layer("SizeSmallerThanTheContents", [header("a", size=1) + padded("x" * 600)], refused("checksum"))
layer("SizeThatIsNegative", [file("a", size=-1)], refused("size", "negative"))
layer("SizeOf8EiB", [file("a", "x", size=b"\x80\0\0\0\x7f" + b"\xff" * 7)], too_large("\"a\"", "claims"))
layer("SizeOf2To64", [file("a", "x", size=b"\x80\0\0\1" + b"\0" * 8)], refused("size", "64 bits"))
layer("SizeOf8TiB", [file("a", "x", size=8 * TIB)], too_large("\"a\"", "claims", "8796093022208"))
layer("SizeOfTheLimitAnd1", [file("a", "x", size=(32 << 30) + 1)], too_large("\"a\"", "claims"))
layer("SizeInPaxWins", [pax({"size": "5"}) + header("a", size=0) + padded("hello")], {"a": f("hello")})
layer("SizeInPaxThatIsSmaller", [pax({"size": "0"}) + header("a", size=5) + padded("hello")], refused("checksum"))
layer("SizeInPaxOf8TiB", [file("a", "x", records={"size": str(8 * TIB)})], too_large("\"a\"", "claims"))
layer("SizeInPaxOf8EiB", [file("a", "x", records={"size": str(2**63)})], too_large("\"a\"", "claims"))
layer("SizeInPaxThatIsNegative", [file("a", "x", records={"size": "-1"})], refused("size", "not a number"))
layer("SizeInPaxThatIsJunk", [file("a", "x", records={"size": "1k"})], refused("size", "not a number"))
layer("SizeOfManyFilesTogether", [file(f"f{i}", "x", size=(32 << 30)) for i in range(2)], refused("\"f0\""), end=b"")
layer("DirectoryWithContents", [entry("a", "5", "body")], refused("\"a\"", "has contents"))
layer("DirectoryWithASizeInPax", [pax({"size": "5"}) + directory("a") + padded("hello")],
      refused("\"a\"", "has contents"))

# ---- sparse files ----------------------------------------------------------------------------------------------------
HOLES = b"\0" * 4096 + b"xxxxx" + b"\0" * (9000 - 4101)
for form, sparse in SPARSE_FORMS.items():
    layer(f"Sparse{form}KeepsItsHoles", [sparse("a", 9000, [(4096, 5), (9000, 0)]), file("b", "x")],
              {"a": f(HOLES), "b": f("x")})
    layer(f"Sparse{form}WithOneHoleOnly", [sparse("a", 8192, [(8192, 0)]), file("b", "x")],
          {"a": f(b"\0" * 8192), "b": f("x")})
    layer(f"Sparse{form}Of8TiB", [sparse("a", 8 * TIB, [(8 * TIB, 0)])], too_large("\"a\"", "claims"))
    layer(f"Sparse{form}BeyondItsSize", [sparse("a", 4096, [(8192, 5)])], refused("\"a\""))
    layer(f"Sparse{form}WithOverlappingMap", [sparse("a", 9000, [(0, 1000), (500, 1000)])], refused("\"a\""))
    layer(f"Sparse{form}WithDescendingMap", [sparse("a", 9000, [(5000, 100), (1000, 100)])], refused("\"a\""))
    layer(f"Sparse{form}WithPiecesBeyondTheStream", [sparse("a", 9000, [(0, 9000)], stored=b"x")], refused("\"a\""))
    layer(f"Sparse{form}WithMoreStoredThanMapped", [sparse("a", 9000, [(0, 5)], stored=b"x" * 600)], refused("\"a\""))
layer("SparseOldWithFurtherMapBlocks", [SPARSE_FORMS["Old"]("a", 9000, [(i * 400, 1) for i in range(22)] + [(9000, 0)]), file("b", "x")],
      {"a": f(b"".join((b"x" if i % 400 == 0 and i < 8800 else b"\0") for i in range(9000))), "b": f("x")})
layer("SparseOldInUstar", [header("a", "S", magic=USTAR, real_size=octal(5, 12))], refused("sparse"))
layer("SparseOldWithNegativeOffset",
      [header("a", "S", 1, magic=GNU, map=base256(-512, 12) + octal(1, 12), real_size=octal(5, 12)) + padded("x")],
      refused("\"a\""))
layer("SparseOfStar", [file("a", "x", records={"SCHILY.realsize": "5"})], refused("star"))
layer("SparsePax10WithAJunkMap",
      [pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "5"}),
       header("a", size=512), padded("many\n")], refused("\"a\""))
layer("SparsePax10WithAMapOf10To9Pieces",
      [pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "5"}),
       header("a", size=512), padded("1000000000\n0\n1\n")], refused("\"a\""))

# ---- forms of the archive --------------------------------------------------------------------------------------------
layer("FormOfVersion7", [entry("a", "\0", "x", magic=V7), entry("d/", "\0", mode=0o755, magic=V7), entry("l", "2", link="a", magic=V7)],
      {"a": f("x"), "d": d(), "l": l("a")})
layer("FormOfGnu", [file("a", "x", magic=GNU), directory("d", magic=GNU)], {"a": f("x"), "d": d()})
layer("FormOfUstarWithPrefix", [file("x", "1", prefix="p/q")], {"p": IMPLICIT, "p/q": IMPLICIT, "p/q/x": f("1")})
layer("FormOfGnuHasNoPrefix", [file("x", "1", magic=GNU, prefix="p/q")], {"x": f("1")})
layer("FormOfStar", [file("a", "x", star="tar\0")], refused("star"))
layer("FormOfUnknownMagic", [file("a", "x", magic=b"ustar\0xx")], refused("unknown kind of tar"))
layer("FormsMixed", [file("a", "1"), file("b", "2", magic=GNU), entry("c", "\0", "3", magic=V7)],
      {"a": f("1"), "b": f("2"), "c": f("3")})
layer("FieldsWithoutNul", [header("n" * 100, mode=b"00000644", uid=b"00000007", size=b"000000000001", mtime=b"07346545000 ") + padded("x")],
      {"n" * 100: f("x", owner=(7, 0))})
layer("FieldsWithLeadingBlanks", [file("a", mode=b"   644 \0", uid=b"     7 \0")], {"a": f(owner=(7, 0))})
layer("FieldsThatAreEmpty", [header("a", mode=b"\0" * 8, uid=b" " * 8, gid=b"\0" * 8, mtime=b"\0" * 12, size=b"\0" * 12)],
      {"a": f(mode=0, mtime=0)})
layer("FieldsWithJunkDigits", [file("a", uid=b"12x4567\0")], refused("uid", "not a number"))
layer("FieldsWithDigitsOf8", [file("a", mode=b"0000698\0")], refused("mode", "not a number"))
layer("FieldsWithASign", [file("a", uid=b"-000001\0")], refused("uid", "not a number"))
layer("FieldsWithABlankInside", [file("a", size=b"0000000 001\0")], refused("size", "not a number"))
layer("FieldsWithJunkBehindTheNul", [file("a", uid=b"0000007\0", mode=b"644\0junk")], refused("mode", "not a number"))
layer("ChecksumThatIsWrong", [file("a", checksum=b"0000001\0")], refused("checksum"))
layer("ChecksumThatIsJunk", [file("a", checksum=b"junkjunk")], refused("checksum"))
layer("ChecksumOfSignedBytes", [header(b"\xe9" * 4, checksum=octal(sum(header(b"\xe9" * 4, checksum=b" " * 8)) - 4 * 256, 8))],
      refused("checksum"))
layer("HeaderOfText", [b"#!/bin/sh\necho this is no archive\n".ljust(512, b" ")], refused("checksum"))

# ---- extended headers ------------------------------------------------------------------------------------------------
layer("PaxRecordLongerThanItsHeader", [pax_raw("99 path=b\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordShorterThanItsText", [pax_raw("8 path=long\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordOfLengthZero", [pax_raw("0 path=b\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordOfNegativeLength", [pax_raw("-9 path=b\n"), file("a")], refused("length of a record", "not a number"))
layer("PaxRecordOfWildLength", [pax_raw("9" * 30 + " path=b\n"), file("a")],
      refused("length of a record", "not a number"))
layer("PaxRecordWithoutLength", [pax_raw("path=b\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordWithoutEquals", [pax_raw("8 pathb\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordWithoutKey", [pax_raw("5 =b\n"), file("a")], refused("damaged extended header"))
layer("PaxRecordWithoutNewline", [pax_raw("9 path=bbb"), file("a")], refused("damaged extended header"))
layer("PaxRecordTwice", [file("a", records=[("path", "b"), ("path", "c")])], refused("path", "twice"))
layer("PaxHeaderTwice", [pax({"path": "b"}), pax({"path": "c"}), file("a")], refused("several extended headers"))
layer("PaxHeaderThatIsEmpty", [pax_raw(""), file("a", "x")], {"a": f("x")})
layer("PaxHeaderOverTheLimit", [header("pax", "x", (1 << 20) + 1)], refused("extended header", "over"))
layer("PaxHeaderOf8EiB", [header("pax", "x", size=b"\x80\0\0\0\x7f" + b"\xff" * 7)], refused("extended header", "over"))
layer("PaxHeaderAtTheEnd", [file("a"), pax({"path": "b"})], refused("followed by no entry"))
layer("PaxHeaderAtTheEndOfTheStream", [file("a"), pax({"path": "b"})], refused("cut off"), end=b"")
layer("PaxWithUnknownKeys", [file("a", "x", records={"comment": "hello", "VENDOR.key": "v\0v", "SCHILY.dev": "1", "mode": "0777"})],
      {"a": f("x")})
layer("PaxGlobalIsNotHeeded", [pax({"path": "evil", "uid": "0", "linkpath": "x"}, "g"), file("a", "x", uid=7)],
      {"a": f("x", owner=(7, 0))})
layer("PaxGlobalAndLocal", [pax({"comment": "0" * 40}, "g"), file("a", "x", records={"uid": "8"})],
      {"a": f("x", owner=(8, 0))})
layer("PaxGlobalAtTheEnd", [file("a", "x"), pax({"comment": "x"}, "g")], {"a": f("x")})
layer("PaxPathWinsOverName", [file("a", "x", records={"path": "b"})], {"b": f("x")})
layer("PaxForAGnuEntry", [pax({"path": "b"}), file("a", "x", magic=GNU)], {"b": f("x")})
layer("GnuLongNameOverTheLimit", [header("././@LongLink", "L", (1 << 20) + 1, magic=GNU)],
      refused("extended header", "over"))
layer("GnuLongNameAtTheEnd", [file("a"), gnu_long("b")], refused("followed by no entry"))
