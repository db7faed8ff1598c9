// SPDX-License-Identifier: Apache-2.0
// Two readers of the same bytes: ISA-L against zlib, and our reader of tar headers against libarchive. What two readers
// see differently is where a scanner is shown one image and a host runs another. The mutations have a fixed seed.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <clocale>
#include <memory>
#include <optional>
#include <random>

#include "base/io.h"
#include "image/layer/path.h"
#include "image/layer/report.h"
#include "image/worker/decoder.h"
#include "image/worker/tar_headers.h"
#include "image/worker/unpack.h"
#include "tests/hostile/corpus.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

constexpr size_t kLargestOutput = 8 << 20;  // of a mutated stream: what is longer is compared up to here
constexpr size_t kSmallInput = 16 << 10;

// ---- gzip -------------------------------------------------------------------------------------------------------

struct Inflated {
  bool refused = false;
  std::string bytes;
  bool operator==(const Inflated&) const = default;
};
void PrintTo(const Inflated& inflated, std::ostream* out) {
  *out << (inflated.refused ? "refused" : fmt::format("{} bytes", inflated.bytes.size()));
}

Inflated Inflate(std::unique_ptr<Decoder> (*make)(LayerInput&, std::string), const std::string& stream, size_t piece) {
  const Fd file = FileOf(stream);
  LayerInput input(file.get(), stream.size(), piece);
  const std::unique_ptr<Decoder> decoder = make(input, "");
  Inflated inflated;
  while (inflated.bytes.size() < kLargestOutput) {
    const Result<std::string_view> got = decoder->Next();
    if (!got) return {.refused = true, .bytes = ""};  // how much came before does not matter: it is thrown away
    if (got->empty()) return inflated;
    inflated.bytes += *got;
  }
  inflated.bytes.resize(kLargestOutput);  // the two cut their pieces differently
  return inflated;
}

// libarchive's own gzip filter, which takes streams that we do not: it heeds no checksum.
std::optional<std::string> InflateWithLibarchive(const std::string& stream) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), stream.data(), stream.size()) != ARCHIVE_OK) return std::nullopt;
  if (archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) return std::nullopt;
  std::string bytes(kLargestOutput, '\0');
  size_t size = 0;
  while (size < bytes.size()) {
    const la_ssize_t got = archive_read_data(reader.get(), bytes.data() + size, bytes.size() - size);
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  bytes.resize(size);
  return bytes;
}

std::string HexOf(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes.substr(0, 2048)) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

class GzipDifferentialTest : public testing::Test {
 protected:
  void SetUp() override {
    const Fd nothing = FileOf("");
    LayerInput input(nothing.get(), 0);
    if (!internal::MakeIsalDecoder(input, "")) GTEST_SKIP() << "this build has no ISA-L";
    for (const HostileCase& hostile : ReadCases("layers"))
      if (hostile.expected.StringOr("compression", "") == "gzip") streams_.push_back(BytesOf("layers", hostile));
    ASSERT_GT(streams_.size(), 20u);
  }
  void ExpectTheSame(const std::string& stream, size_t piece, const std::string& what) {
    const Inflated zlib = Inflate(internal::MakeZlibDecoder, stream, piece);
    const Inflated isal = Inflate(internal::MakeIsalDecoder, stream, piece);
    ASSERT_EQ(isal, zlib) << what << ", in pieces of " << piece << ": " << HexOf(stream);
    accepted_ += !zlib.refused;
  }

  std::vector<std::string> streams_;
  int accepted_ = 0;
};

TEST_F(GzipDifferentialTest, BothSeeTheWholeCorpusAlike) {
  for (size_t i = 0; i < streams_.size(); ++i)
    for (const size_t piece : {size_t{1}, size_t{511}, size_t{65536}}) {
      if (piece == 1 && streams_[i].size() > kSmallInput) continue;
      ExpectTheSame(streams_[i], piece, fmt::format("stream {}", i));
    }
  EXPECT_GT(accepted_, 10);
}

// Changes, drops, doubles and moves some bytes.
std::string Mutated(std::string bytes, std::mt19937& random) {
  const auto below = [&random](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const size_t changes = 1 + below(3);
  for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
    // The first bytes are the header, the last ones the checksum: those decide more than others.
    const size_t place = below(2) == 0 ? below(std::min<size_t>(bytes.size(), 24)) : below(bytes.size());
    switch (below(7)) {
      case 0: bytes[place] = static_cast<char>(bytes[place] ^ 1 << below(8)); break;
      case 1: bytes[place] = static_cast<char>(below(256)); break;
      case 2: bytes.erase(place, 1 + below(4)); break;
      case 3: bytes.insert(place, 1 + below(4), static_cast<char>(below(256))); break;
      case 4: bytes.resize(place); break;
      case 5: bytes += bytes.substr(place, 1 + below(64)); break;
      case 6:
        bytes[bytes.size() - 1 - below(std::min<size_t>(bytes.size(), 8))] ^= static_cast<char>(1 << below(8));
        break;
    }
  }
  return bytes;
}

TEST_F(GzipDifferentialTest, BothSeeThousandsOfMutatedStreamsAlike) {
  constexpr int kMutations = 20'000;
  std::mt19937 random(20);
  std::vector<std::string> seeds = {MakeGzip(""), MakeGzip("a"), MakeGzip("one") + MakeGzip("two"),
                                    MakeGzip(std::string(70'000, 'r')), MakeGzip("stored", 0)};
  for (std::string& stream : streams_)
    if (stream.size() <= 2048) seeds.push_back(std::move(stream));
  std::string noise(1500, '\0');
  for (char& c : noise) c = static_cast<char>(random() % 37);
  for (const int level : {0, 1, 9}) seeds.push_back(MakeGzip(noise, level));
  for (int i = 0; i < kMutations; ++i) {
    const size_t seed = random() % seeds.size();
    const std::string stream = Mutated(seeds[seed], random);
    const size_t pieces[] = {1, 7, 100, 65536};
    ExpectTheSame(stream, pieces[random() % 4], fmt::format("mutation {} of seed {}", i, seed));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(accepted_, 100);  // or the mutations would say nothing about what is accepted
}

TEST_F(GzipDifferentialTest, LibarchivesFilterGivesTheSameBytesOfWhatIsAccepted) {
  int compared = 0;
  for (const std::string& stream : streams_) {
    const Inflated ours = Inflate(internal::MakeZlibDecoder, stream, 65536);
    if (ours.refused || ours.bytes.empty() || ours.bytes.size() >= kLargestOutput) continue;
    if (ours.bytes.starts_with("\x1f\x8b")) continue;  // it would go on with what is inside
    const std::optional<std::string> theirs = InflateWithLibarchive(stream);
    ASSERT_TRUE(theirs) << HexOf(stream);
    EXPECT_TRUE(*theirs == ours.bytes) << theirs->size() << " against " << ours.bytes.size() << " " << HexOf(stream);
    ++compared;
  }
  EXPECT_GT(compared, 5);
}

// ---- tar
// -------------------------------------------------------------------------------------------------------------

// Of each entry what both readers define: name, type, size, link. Nullopt where the archive is refused.
using Entries = std::vector<std::string>;

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

char LetterOf(TarType type) {
  switch (type) {
    case TarType::kFile: return 'f';
    case TarType::kHardLink: return 'h';
    case TarType::kSymlink: return 'l';
    case TarType::kCharDevice: return 'c';
    case TarType::kBlockDevice: return 'b';
    case TarType::kDirectory: return 'd';
    case TarType::kFifo: return 'p';
  }
  return '?';
}

std::string Line(char type, std::string_view path, std::string_view link, uint64_t size) {
  // libarchive composes accents, so that other names are compared no further.
  return fmt::format("{} {} {} {}", type, IsAscii(path) ? path : "?", IsAscii(link) ? link : "?", size);
}

std::optional<Entries> ReadByUs(const std::string& tar) {
  TarHeaders headers;
  if (!headers.Feed(tar) || !headers.Finish()) return std::nullopt;
  Entries entries;
  for (TarEntry entry; headers.Take(entry);) {
    const bool link = entry.type == TarType::kHardLink || entry.type == TarType::kSymlink;
    if (entry.path.empty() || (link && entry.link.empty())) return std::nullopt;  // refused when it is applied
    entries.push_back(Line(LetterOf(entry.type), entry.path, entry.link, entry.size));
  }
  return entries;
}

char LetterOf(archive_entry* entry) {
  if (archive_entry_hardlink(entry)) return 'h';
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG: return 'f';
    case AE_IFLNK: return 'l';
    case AE_IFCHR: return 'c';
    case AE_IFBLK: return 'b';
    case AE_IFDIR: return 'd';
    case AE_IFIFO: return 'p';
    default: return '?';
  }
}

std::optional<Entries> ReadByLibarchive(const std::string& tar) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(reader.get());
  archive_read_support_format_empty(reader.get());
  if (archive_read_open_memory(reader.get(), tar.data(), tar.size()) != ARCHIVE_OK) return std::nullopt;
  Entries entries;
  for (;;) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) return entries;
    if (result != ARCHIVE_OK) return std::nullopt;
    const char* link = archive_entry_hardlink(entry) ? archive_entry_hardlink(entry) : archive_entry_symlink(entry);
    const char* path = archive_entry_pathname(entry);
    entries.push_back(Line(LetterOf(entry), path ? path : "\xff", link ? link : "",
                           static_cast<uint64_t>(archive_entry_size(entry))));
    if (archive_read_data_skip(reader.get()) != ARCHIVE_OK) return std::nullopt;
  }
}

class TarDifferentialTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(setlocale(LC_CTYPE, "C.UTF-8"));
    for (const HostileCase& hostile : ReadCases("layers")) {
      const std::string tar = BytesOf("layers", hostile);
      if (hostile.expected.StringOr("compression", "") == "none" && tar.size() <= kSmallInput)
        archives_.push_back({hostile.name, hostile.accepted(), tar});
    }
    ASSERT_GT(archives_.size(), 200u);
  }
  struct Archive {
    std::string name;
    bool accepted;
    std::string tar;
  };
  std::vector<Archive> archives_;
};

TEST_F(TarDifferentialTest, BothReadTheSameEntriesOfWhatIsAccepted) {
  for (const Archive& archive : archives_) {
    if (!archive.accepted) continue;
    const std::optional<Entries> ours = ReadByUs(archive.tar), theirs = ReadByLibarchive(archive.tar);
    ASSERT_TRUE(ours) << archive.name;
    if (!theirs) continue;  // it warns of text that is not UTF-8, and its list ends there
    EXPECT_EQ(*ours, *theirs) << archive.name;
  }
}

// Changes bytes of a header and makes its checksum right again, or drops, doubles and swaps blocks.
std::string MutatedBlocks(std::string tar, std::mt19937& random) {
  constexpr size_t kBlock = 512;
  const auto below = [&random](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const size_t blocks = tar.size() / kBlock;
  if (blocks == 0) return tar;
  const size_t start = below(blocks) * kBlock;
  switch (below(6)) {
    case 0: return tar.erase(start, kBlock);
    case 1: return tar.insert(start, tar.substr(below(blocks) * kBlock, kBlock));
    default: break;
  }
  for (size_t i = 0; i <= below(3); ++i) {
    const size_t kFields[] = {0, 100, 108, 124, 136, 156, 157, 257, 345, 482, 500};
    size_t place = below(kBlock);
    if (below(2) == 0) {
      place = kFields[below(std::size(kFields))];
      place += below(8);  // in a statement of its own: every compiler makes the same mutations
    }
    constexpr char kLikely[] = {'\0', ' ', '/', '.', '0', '1', '5', '7', 'x', 'L', '\x80', '\xff'};
    tar[start + place] = below(3) == 0 ? static_cast<char>(below(256)) : kLikely[below(std::size(kLikely))];
  }
  tar.replace(start + 148, 8, "        ");
  unsigned sum = 0;
  for (size_t i = 0; i < kBlock; ++i) sum += static_cast<unsigned char>(tar[start + i]);
  return tar.replace(start + 148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

bool IsUnpacked(const std::string& tar) {
  const TemporaryDirectory directory;
  const Fd input = FileOf(EncodeUnpackOrder({Compression::kNone, tar.size()}) + tar);
  const Fd out = *OpenAt(AT_FDCWD, directory.path(), O_PATH | O_DIRECTORY);
  return UnpackLayer(input.get(), out.get()).has_value();
}

TEST_F(TarDifferentialTest, WhatIsUnpackedOfMutatedArchivesBothReadTheSame) {
  constexpr int kMutations = 30'000;
  std::mt19937 random(20);
  int accepted = 0, different = 0;
  for (int i = 0; i < kMutations; ++i) {
    const Archive& archive = archives_[random() % archives_.size()];
    const std::string tar = MutatedBlocks(archive.tar, random);
    const std::optional<Entries> ours = ReadByUs(tar), theirs = ReadByLibarchive(tar);
    if (!ours || !theirs) continue;
    ++accepted;
    if (*ours != *theirs && IsUnpacked(tar) && ++different <= 20)
      ADD_FAILURE() << "mutation " << i << " of " << archive.name << "\n ours: " << testing::PrintToString(*ours)
                    << "\n libarchive's: " << testing::PrintToString(*theirs);
  }
  EXPECT_EQ(different, 0);
  EXPECT_GT(accepted, kMutations / 10);
}

}  // namespace
}  // namespace caisson::image
