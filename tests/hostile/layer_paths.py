# SPDX-License-Identifier: Apache-2.0
"""Names, links, whiteouts, duplicates and changes of type: where entries go, and where they must not."""
from cases import IMPLICIT, WHITEOUT, d, f, fifo, l, layer, refused
from tar_bytes import GNU, directory, entry, file, gnu_long, hard_link, header, padded, pax, symlink

OPAQUE = ".wh..wh..opq"
DEEP = "/".join(["d"] * 256)  # 256 names
LONG = "/".join(["n" * 255] * 16)  # 4095 bytes

# ---- whiteouts -------------------------------------------------------------------------------------------------------
layer("WhiteoutOfANameBelow", [directory("d"), file("d/.wh.x")], {"d": d(facts="whiteouts"), "d/x": WHITEOUT})
layer("WhiteoutInTheRoot", [file(".wh.x")], {"": "dir implicit whiteouts", "x": WHITEOUT})
layer("WhiteoutBeforeTheEntry", [file(".wh.a"), file("a", "x")], {"a": f("x")})
layer("WhiteoutAfterTheEntry", [file("a", "x"), file(".wh.a")], {"a": f("x")})
layer("WhiteoutTwice", [file(".wh.a"), file(".wh.a")], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutBeforeTheDirectory", [file(".wh.a"), directory("a"), file("a/x", "1")],
      {"a": d(facts="replaced"), "a/x": f("1")})
layer("WhiteoutAfterTheDirectory", [directory("a"), file("a/x", "1"), file(".wh.a")],
      {"a": d(facts="replaced"), "a/x": f("1")})
layer("WhiteoutBeforeAnImplicitDirectory", [file(".wh.a"), file("a/x", "1")],
      {"a": "dir implicit replaced", "a/x": f("1")})
layer("WhiteoutInAnImplicitDirectory", [file("a/b/.wh.x")],
      {"a": IMPLICIT, "a/b": "dir implicit whiteouts", "a/b/x": WHITEOUT})
layer("WhiteoutBeforeALink", [file(".wh.a"), symlink("a", "/etc")], {"a": l("/etc")})
layer("WhiteoutAfterALinkIsNotFollowed", [symlink("a", "/etc"), file(".wh.a")], {"a": l("/etc")})
layer("WhiteoutOfAHardLinksTarget", [file("a", "x"), hard_link("h", "a"), file(".wh.a")],
      {"a": f("x", links=2), "h": f("x", links=2)})
layer("WhiteoutBeforeItsHardLink", [file(".wh.a"), hard_link("h", "a")],
      refused("\"h\"", "\"a\"", "not a regular file"))
layer("WhiteoutOfANameOf251Bytes", [file(".wh." + "n" * 251)], {"": "dir implicit whiteouts", "n" * 251: WHITEOUT})
# The file below may have the longest name there is: its whiteout's is four bytes longer.
layer("WhiteoutOfANameOf255Bytes", [file("d/.wh." + "n" * 255)],
      {"d": "dir implicit whiteouts", "d/" + "n" * 255: WHITEOUT})
layer("WhiteoutOfANameOf256Bytes", [file(".wh." + "n" * 256)], refused("nnn", "longer than"))
layer("WhiteoutOfANameThatIsNotUtf8", [file(b".wh.caf\xe9")], {"": "dir implicit whiteouts", b"caf\xe9": WHITEOUT})
layer("WhiteoutWithContents", [file(".wh.a", "text")], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutThatIsALink", [symlink(".wh.a", "/etc/shadow")], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutThatIsADirectory", [directory(".wh.a")], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutThatIsADirectoryWithAChild", [directory(".wh.a"), file(".wh.a/x")], refused(".wh.a/x", "no directory"))
layer("WhiteoutThatIsADevice", [entry(".wh.a", "3", major=1, minor=3)], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutWithWildOwner", [file(".wh.a", uid=2**40)], {"": "dir implicit whiteouts", "a": WHITEOUT})
layer("WhiteoutOfNoName", [file("d/.wh.")], refused("d/.wh.", "no name"))
layer("WhiteoutOfDot", [file("d/.wh..")], refused("d/.wh..", "no name"))
layer("WhiteoutOfDotDot", [file("d/.wh...")], refused("d/.wh...", "no name"))
layer("WhiteoutOfThreeDots", [file(".wh....")], {"": "dir implicit whiteouts", "...": WHITEOUT})
layer("WhiteoutOfAWhiteout", [file("d/.wh..wh.x")], refused("d/.wh..wh.x", "unknown kind of whiteout"))
layer("WhiteoutOfAufsLinks", [directory(".wh..wh.plnk")], refused(".wh..wh.plnk", "unknown kind of whiteout"))
layer("WhiteoutOfAufsOrphans", [directory(".wh..wh.orph")], refused(".wh..wh.orph", "unknown kind of whiteout"))
layer("WhiteoutSpelledAlmostOpaque", [file(".wh..wh..opqx")], refused(".wh..wh..opqx", "unknown kind of whiteout"))
layer("WhiteoutBelowALink", [symlink("a", "/"), file("a/.wh.etc")], refused("\"a\"", "symbolic link"))
layer("WhiteoutBelowAFile", [file("a"), file("a/.wh.x")], refused("\"a\"", "not a directory"))
layer("WhiteoutBelowAWhiteout", [file(".wh.a"), file("a/.wh.x")],
      {"a": "dir implicit replaced whiteouts", "a/x": WHITEOUT})
layer("WhiteoutInADirectoryThatVanishes", [file("a/.wh.x"), file("a", "file")], {"a": f("file")})
layer("WhiteoutThatClimbs", [file("../.wh.x")], refused("..", "\"..\""))
layer("OrdinaryNameWithTheWhiteoutsDots", [file(".whx", "1"), file("x.wh.y", "2")], {".whx": f("1"), "x.wh.y": f("2")})
layer("OpaqueRoot", [file(OPAQUE), file("a", "x")], {"": "dir implicit opaque", "a": f("x")})
layer("OpaqueRootByDot", [directory("./"), file("./" + OPAQUE)], {"": d(facts="opaque")})
layer("OpaqueImplicitDirectory", [file("a/b/" + OPAQUE)], {"a": IMPLICIT, "a/b": "dir implicit opaque"})
layer("OpaqueBeforeTheChildren", [directory("a"), file("a/" + OPAQUE), file("a/x", "1")],
      {"a": d(facts="opaque"), "a/x": f("1")})
layer("OpaqueAfterTheChildren", [directory("a"), file("a/x", "1"), file("a/" + OPAQUE)],
      {"a": d(facts="opaque"), "a/x": f("1")})
layer("OpaqueBeforeItsDirectory", [file("a/" + OPAQUE), directory("a", 0o700)], {"a": d(0o700, facts="opaque")})
layer("OpaqueTwice", [file("a/" + OPAQUE), file("a/" + OPAQUE)], {"a": "dir implicit opaque"})
layer("OpaqueWithAWhiteout", [file("a/" + OPAQUE), file("a/.wh.x")],
      {"a": "dir implicit opaque whiteouts", "a/x": WHITEOUT})
layer("OpaqueAndReplaced", [file(".wh.a"), directory("a"), file("a/" + OPAQUE)], {"a": d(facts="opaque replaced")})
layer("OpaqueBelowALink", [symlink("a", "/"), file("a/" + OPAQUE)], refused("\"a\"", "symbolic link"))
layer("OpaqueBelowAFile", [file("a"), file("a/" + OPAQUE)], refused("\"a\"", "not a directory"))
layer("OpaqueInADirectoryThatVanishes", [file("a/" + OPAQUE), symlink("a", "/etc")], {"a": l("/etc")})
layer("OpaqueAsDirectoryWithAChild", [directory("a/" + OPAQUE), file("a/" + OPAQUE + "/x")],
      refused("a/.wh..wh..opq/x", "no directory"))

# ---- escapes ---------------------------------------------------------------------------------------------------------
layer("DotDotAlone", [file("..")], refused("..", "\"..\""))
layer("DotDotFirst", [file("../canary/x")], refused("..", "\"..\""))
layer("DotDotInside", [directory("a"), file("a/../../canary/x")], refused("a/..", "\"..\""))
layer("DotDotThatStaysInside", [directory("a"), file("a/../b")], refused("a/..", "\"..\""))
layer("DotDotLast", [directory("a/..")], refused("a/..", "\"..\""))
layer("DotDotInPax", [file("a", records={"path": "../canary/x"})], refused("..", "\"..\""))
layer("DotDotInGnuName", [gnu_long("../canary/x"), file("a", magic=GNU)], refused("..", "\"..\""))
layer("DotDotInUstarPrefix", [file("x", prefix="../canary")], refused("..", "\"..\""))
layer("DotDotInSparseName", [pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "../x",
                                  "GNU.sparse.realsize": "0"}), header("a", size=512), padded("0\n")],
      refused("..", "\"..\""))
layer("DotDotWithBackslashesIsAName", [file("..\\..\\x", "1")], {"..\\..\\x": f("1")})
layer("AbsoluteName", [file("/canary/x")], refused("/canary/x", "absolute"))
layer("AbsoluteNameWithTwoSlashes", [file("//canary/x")], refused("//canary/x", "absolute"))
layer("AbsoluteRoot", [directory("/")], refused("\"/\"", "absolute"))
layer("AbsoluteNameInPax", [file("a", records={"path": "/canary/x"})], refused("/canary/x", "absolute"))
layer("AbsoluteDriveLetterIsAName", [file("C:/x", "1")], {"C:": IMPLICIT, "C:/x": f("1")})
layer("SymlinkThenFileThroughIt", [symlink("a", "/"), file("a/x")], refused("\"a\"", "symbolic link"))
layer("SymlinkToTheNeighbourThenFileThroughIt", [symlink("a", "../canary"), file("a/x")],
      refused("\"a\"", "symbolic link"))
layer("SymlinkToDotThenFileThroughIt", [symlink("a", "."), file("a/x")], refused("\"a\"", "symbolic link"))
layer("SymlinkChainThenFileThroughIt", [symlink("a", "b"), symlink("b", "/"), file("a/x")],
      refused("\"a\"", "symbolic link"))
layer("SymlinkBelowADirectoryThenFileThroughIt", [directory("d"), symlink("d/up", "../.."), file("d/up/canary/x")],
      refused("\"d/up\"", "symbolic link"))
layer("SymlinkThenDirectoryThroughIt", [symlink("a", "/tmp"), directory("a/x")], refused("\"a\"", "symbolic link"))
layer("SymlinkThenSymlinkThroughIt", [symlink("a", "/tmp"), symlink("a/x", "y")], refused("\"a\"", "symbolic link"))
layer("SymlinkThenFifoThroughIt", [symlink("a", "/tmp"), entry("a/x", "6")], refused("\"a\"", "symbolic link"))
layer("SymlinkThenHardLinkThroughIt", [file("f"), symlink("a", "/tmp"), hard_link("a/x", "f")],
      refused("\"a\"", "symbolic link"))
layer("SymlinkThenFileInItsPlace", [symlink("a", "../canary/inside"), file("a", "x")], {"a": f("x")})
layer("SymlinkThenFifoInItsPlace", [symlink("a", "../canary/inside"), entry("a", "6")], {"a": fifo()})
layer("SymlinkThenDirectoryInItsPlace", [symlink("a", "../canary"), directory("a", 0o777), file("a/x", "1")],
      {"a": d(0o777), "a/x": f("1")})
layer("SymlinkThenSparseFileInItsPlace", [symlink("a", "../canary/inside"), file("a", "1", records={"mtime": "5"})],
      {"a": f("1", mtime=5)})
layer("SymlinkToAnywhereIsKept",
      [symlink("a", "/etc/shadow"), symlink("b", "../../../../x"), symlink("c", "c"), symlink("e", "/proc/self/root")],
      {"a": l("/etc/shadow"), "b": l("../../../../x"), "c": l("c"), "e": l("/proc/self/root")})
layer("SymlinkToNothing", [symlink("a", "")], refused("\"a\"", "empty"))
layer("SymlinkOf4095Bytes", [symlink("a", "x", records={"linkpath": "t" * 4095})], {"a": l("t" * 4095)})
layer("SymlinkOf4096Bytes", [symlink("a", "x", records={"linkpath": "t" * 4096})], refused("\"a\"", "too long"))
layer("SymlinkThatIsTheRoot", [symlink("./", "/")], refused("the root is not a directory"))
layer("SymlinkWithContents", [entry("a", "2", "body", link="x")], refused("\"a\"", "has contents"))
layer("FileThatIsTheRoot", [file(".", "x")], refused("the root is not a directory"))
layer("HardLinkToAFileBefore", [file("a/one", "x"), hard_link("two", "a/one")],
      {"a": IMPLICIT, "a/one": f("x", links=2), "two": f("x", links=2)})
layer("HardLinkSpelledWithDots", [file("a", "x"), hard_link("b", "./a")], {"a": f("x", links=2), "b": f("x", links=2)})
layer("HardLinkToALink", [file("a", "x"), hard_link("b", "a"), hard_link("c", "b")],
      {"a": f("x", links=3), "b": f("x", links=3), "c": f("x", links=3)})
layer("HardLinkToDotDot", [hard_link("x", "../canary/inside")], refused("\"x\"", "\"..\""))
layer("HardLinkThroughDotDot", [directory("a"), hard_link("x", "a/../../canary/inside")], refused("\"x\"", "\"..\""))
layer("HardLinkToAnAbsoluteName", [hard_link("x", "/etc/passwd")], refused("\"x\"", "absolute"))
layer("HardLinkThroughASymlink", [symlink("etc", "/etc"), hard_link("x", "etc/passwd")],
      refused("\"x\"", "does not have"))
layer("HardLinkToASymlink", [symlink("l", "/etc/passwd"), hard_link("x", "l")], refused("\"x\"", "not a regular file"))
layer("HardLinkToALayerBelow", [hard_link("x", "usr/bin/env")], refused("\"x\"", "usr/bin/env", "does not have"))
layer("HardLinkToALaterEntry", [hard_link("x", "later"), file("later")], refused("\"x\"", "does not have"))
layer("HardLinkToItself", [file("x"), hard_link("x", "x")], refused("\"x\"", "itself"))
layer("HardLinkToItselfInAnotherSpelling", [file("x"), hard_link("./x", "x")], refused("\"x\"", "itself"))
layer("HardLinkToADirectory", [directory("d"), hard_link("x", "d")], refused("\"x\"", "not a regular file"))
layer("HardLinkToTheRoot", [hard_link("x", ".")], refused("\"x\"", "does not have"))
layer("HardLinkToAFifo", [entry("p", "6"), hard_link("x", "p")], refused("\"x\"", "not a regular file"))
layer("HardLinkToASkippedDevice", [entry("null", "3", major=1, minor=3), hard_link("x", "null")],
      refused("\"x\"", "does not have"))
layer("HardLinkToNothing", [hard_link("x", "")], refused("\"x\"", "two ways"))
layer("HardLinkInPlaceOfAFile", [file("a", "x"), file("b", "y"), hard_link("b", "a")],
      {"a": f("x", links=2), "b": f("x", links=2)})
layer("HardLinkInPlaceOfTheTargetsDirectory", [file("d/a", "x"), hard_link("d", "d/a")], refused("\"d\"", "below it"))
layer("HardLinkWithContents", [file("a", "x"), entry("b", "1", "body", link="a")], refused("\"b\"", "has contents"))
layer("HardLinkThenFileThroughIt", [file("a", "x"), hard_link("b", "a"), file("b/x")],
      refused("\"b\"", "not a directory"))
layer("HardLinkThenItsFileAgain", [file("a", "x"), hard_link("b", "a"), file("a", "y")], {"a": f("y"), "b": f("x")})

# ---- spellings -------------------------------------------------------------------------------------------------------
layer("NameWithDotSlash", [file("./a", "x"), directory("./d/")], {"a": f("x"), "d": d()})
layer("NameWithDoubleSlashes", [directory("a//b"), file("a//b///c", "x")], {"a": IMPLICIT, "a/b": d(), "a/b/c": f("x")})
layer("NameWithDotsInside", [file("a/./b/./c", "x")], {"a": IMPLICIT, "a/b": IMPLICIT, "a/b/c": f("x")})
layer("NameWithTrailingSlashIsADirectory", [file("d/")], {"d": d(0o644)})
layer("NameWithTrailingSlashAndContents", [file("d/", "body")], refused("d/", "has contents"))
layer("NameOfTheRoot", [directory("./", 0o700, uid=5)], {"": d(0o700, (5, 0))})
layer("NameOfTheRootTwice", [directory(".", 0o700), directory("./", 0o711)], {"": d(0o711)})
layer("NameThatIsEmpty", [file("")], refused("empty"))
layer("NameThatIsEmptyInPax", [file("a", records={"path": ""})], refused("path", "empty"))
layer("NameWithNulInPax", [file("a", records={"path": "a\0b"})], refused("path", "NUL"))
layer("NameWithNulInPaxLink", [symlink("a", "b", records={"linkpath": "a\0b"})], refused("linkpath", "NUL"))
layer("NameWithNulInGnuForm", [gnu_long("good\0evil"), file("a", magic=GNU)], refused("NUL"))
layer("NameWithoutEndInGnuForm", [gnu_long("n" * 150, end=b""), file("a", "x", magic=GNU)], {"n" * 150: f("x")})
layer("NameOfGnuFormThatIsEmpty", [gnu_long(""), file("a", magic=GNU)], refused("long name", "empty"))
layer("NameOfGnuFormTwice", [gnu_long("a"), gnu_long("b"), file("c", magic=GNU)], refused("several extended headers"))
layer("NameOfGnuFormBesidePax", [gnu_long("a"), pax({"path": "b"}), file("c")], refused("several extended headers"))
layer("NameOfPaxBesideGnuForm", [pax({"path": "b"}), gnu_long("a"), file("c", magic=GNU)],
      refused("several extended headers"))
layer("NameAndLinkInGnuForm", [gnu_long("t" * 200, "K"), gnu_long("n" * 200), symlink("a", "b", magic=GNU)],
      {"n" * 200: l("t" * 200)})
layer("NameOf100Bytes", [file("n" * 100, "x")], {"n" * 100: f("x")})
layer("NameOf255Bytes", [file("a", "x", records={"path": "n" * 255})], {"n" * 255: f("x")})
layer("NameOf256Bytes", [file("a", records={"path": "n" * 256})], refused("nnn", "longer than 255"))
layer("NameOf256BytesInADirectory", [file("a", records={"path": "n" * 256 + "/x"})], refused("nnn", "longer than 255"))
layer("PathOf4095Bytes", [file("a", "x", records={"path": LONG})],
      {LONG[:256 * i - 1]: IMPLICIT for i in range(1, 16)} | {LONG: f("x")})
layer("PathOf4096Bytes", [file("a", records={"path": LONG + "/"})], refused("too long"))
layer("PathOf256Names", [file("a", "x", records={"path": DEEP})],
      {DEEP[:2 * i - 1]: IMPLICIT for i in range(1, 256)} | {DEEP: f("x")})
layer("PathOf257Names", [file("a", records={"path": DEEP + "/f"})], refused("deeper than 256"))
layer("PathOf257NamesAsDirectory", [directory("a", records={"path": DEEP + "/d/"})], refused("deeper than 256"))
layer("NameThatIsLatin1", [file(b"caf\xe9", "x")], {b"caf\xe9": f("x")})
layer("NameThatIsLatin1InPax", [file("a", "x", records={"path": b"caf\xe9"})], {b"caf\xe9": f("x")})
layer("NameThatIsLatin1WithBinaryCharset",
      [file("a", "x", records=[("hdrcharset", "BINARY"), ("path", b"caf\xe9")])], {b"caf\xe9": f("x")})
layer("NameThatIsBrokenUtf8", [file(b"\xf0\x28\x8c\x28\xff", "x")], {b"\xf0\x28\x8c\x28\xff": f("x")})
layer("NameThatIsASurrogate", [file(b"\xed\xa0\x80", "x")], {b"\xed\xa0\x80": f("x")})
layer("NamesThatDifferInNormalisation",
      [file("a", "1", records={"path": "e\u0301"}), file("a", "2", records={"path": "\u00e9"}), file("e\u0301x", "3"),
       file("\u00e9x", "4")], {"e\u0301": f("1"), "\u00e9": f("2"), "e\u0301x": f("3"), "\u00e9x": f("4")})
layer("NamesThatDifferInCase", [file("README", "1"), file("readme", "2"), directory("Readme")],
      {"README": f("1"), "readme": f("2"), "Readme": d()})
layer("NamesThatDifferInTheSharpS", [file("stra\u00dfe", "1"), file("strasse", "2")],
      {"stra\u00dfe": f("1"), "strasse": f("2")})
layer("NameWithControlBytes", [file("a\nb\x1b[31m\x7f", "x")], {"a\nb\x1b[31m\x7f": f("x")})
layer("NameWithControlBytesIsEscapedInTheReason", [file("/\x1b[31m\n")], refused("\\x1b[31m\\x0a", "absolute"))
layer("NameWithSpacesAndDots", [file(" ", "1"), file("...", "2"), file("a.", "3"), file("-rf", "4")],
      {" ": f("1"), "...": f("2"), "a.": f("3"), "-rf": f("4")})

# ---- duplicates and changes of type ----------------------------------------------------------------------------------
layer("TwiceAFile", [file("a", "first"), file("a", "second")], {"a": f("second")})
layer("TwiceADirectory", [directory("a", 0o700), file("a/x", "1"), directory("a", 0o711, uid=7)],
      {"a": d(0o711, (7, 0)), "a/x": f("1")})
layer("TwiceALink", [symlink("a", "x"), symlink("a", "y")], {"a": l("y")})
layer("TwiceInTwoSpellings", [file("a/x", "first"), file("./a//x", "second")], {"a": IMPLICIT, "a/x": f("second")})
layer("FileThenDirectory", [file("a", "x"), directory("a"), file("a/x", "1")], {"a": d(), "a/x": f("1")})
layer("DirectoryThenFile", [directory("a"), file("a/x"), file("a/y/z"), file("a", "now a file")],
      {"a": f("now a file")})
layer("DirectoryThenLink", [directory("a"), file("a/x"), symlink("a", "/etc")], {"a": l("/etc")})
layer("DirectoryThenLinkThenFileThroughIt", [file("a/x"), symlink("a", "/etc"), file("a/y")],
      refused("\"a\"", "symbolic link"))
layer("DirectoryThenFileThenDirectory", [file("a/x"), file("a", "f"), directory("a", 0o700), file("a/y", "2")],
      {"a": d(0o700), "a/y": f("2")})
layer("DirectoryThenFifo", [file("a/x"), entry("a", "6")], {"a": fifo()})
layer("DirectoryThenDeviceThatIsSkipped", [file("a/x", "1"), entry("a", "3", major=1, minor=3)],
      {"a": IMPLICIT, "a/x": f("1")}, devices=1)
layer("FileThenChild", [file("a", "x"), file("a/b")], refused("\"a\"", "not a directory"))
layer("FileThenGrandchild", [file("a", "x"), file("a/b/c")], refused("\"a\"", "not a directory"))
layer("FifoThenChild", [entry("a", "6"), file("a/b")], refused("\"a\"", "not a directory"))
layer("ChildThenFile", [file("a/b/c", "1"), file("a/b", "2")], {"a": IMPLICIT, "a/b": f("2")})
layer("ParentAfterItsChildren", [file("a/b", "1"), directory("a", 0o500, mtime=5)],
      {"a": d(0o500, mtime=5), "a/b": f("1")})
layer("ParentWithoutAnyMode", [directory("a", 0), file("a/b/c", "1")], {"a": d(0), "a/b": IMPLICIT, "a/b/c": f("1")})
