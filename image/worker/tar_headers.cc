// SPDX-License-Identifier: Apache-2.0
#include "image/worker/tar_headers.h"

#include <algorithm>
#include <limits>

#include "base/encoding.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

// A field of the 512-byte header (POSIX.1-1988 ustar; GNU's differs from byte 345 on).
struct Field {
  size_t offset;
  size_t size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kMtime{136, 12},
    kChecksum{148, 8}, kLink{157, 100}, kMagic{257, 8}, kDeviceMajor{329, 8}, kDeviceMinor{337, 8}, kPrefix{345, 155},
    kGnuRealSize{483, 12}, kStarTrailer{508, 4};
constexpr size_t kTypeOffset = 156;
constexpr size_t kGnuMoreMapOffset = 482;  // in an old GNU sparse header: further map blocks follow
constexpr size_t kMapMoreMapOffset = 504;  // in a map block

constexpr std::string_view kUstarMagic{"ustar\00000", 8};
constexpr std::string_view kGnuMagic{"ustar  \0", 8};

std::string_view Raw(std::string_view block, Field field) { return block.substr(field.offset, field.size); }

std::string_view Text(std::string_view block, Field field) {
  const std::string_view raw = Raw(block, field);
  return raw.substr(0, raw.find('\0'));
}

tl::unexpected<Error> Refuse(std::string_view what) { return Fail(ErrorCode::kInvalid, "tar header: {}", what); }

// GNU's base-256 form: the top bit of the first byte, then a big-endian two's complement number.
Result<int64_t> ParseBase256(std::string_view raw, std::string_view what) {
  const bool negative = static_cast<uint8_t>(raw[0]) & 0x40;
  uint64_t value = negative ? ~0ull : 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    uint8_t byte = static_cast<uint8_t>(raw[i]);
    if (i == 0) byte = negative ? byte : byte & 0x7f;
    const uint8_t lost = static_cast<uint8_t>(value >> 56);
    if (i > 0 && lost != (negative ? 0xff : 0)) return Refuse(fmt::format("{} does not fit in 64 bits", what));
    value = value << 8 | byte;
  }
  if ((static_cast<int64_t>(value) < 0) != negative) return Refuse(fmt::format("{} does not fit in 64 bits", what));
  return static_cast<int64_t>(value);
}

Result<int64_t> ParseNumber(std::string_view block, Field field, std::string_view what) {
  std::string_view raw = Raw(block, field);
  if (static_cast<uint8_t>(raw[0]) & 0x80) return ParseBase256(raw, what);
  const std::string_view blanks(" \0", 2);
  const size_t first = raw.find_first_not_of(blanks);
  if (first == std::string_view::npos) return int64_t{0};
  raw = raw.substr(first, raw.find_last_not_of(blanks) - first + 1);
  int64_t value = 0;  // 12 octal digits have 36 bits
  for (const char c : raw) {
    if (c < '0' || c > '7') return Refuse(fmt::format("{} is not a number", what));
    value = value * 8 + (c - '0');
  }
  return value;
}

Result<uint64_t> ParseUnsigned(std::string_view block, Field field, std::string_view what) {
  const int64_t value = TRY(ParseNumber(block, field, what));
  if (value < 0) return Refuse(fmt::format("{} is negative", what));
  return static_cast<uint64_t>(value);
}

Result<void> CheckChecksum(std::string_view block) {
  uint64_t sum = kChecksum.size * ' ';
  for (size_t i = 0; i < block.size(); ++i)
    if (i < kChecksum.offset || i >= kChecksum.offset + kChecksum.size) sum += static_cast<uint8_t>(block[i]);
  const Result<uint64_t> said = ParseUnsigned(block, kChecksum, "checksum");
  if (!said || *said != sum) return Refuse("wrong checksum, this is no tar archive or it is damaged");
  return {};
}

// Digits only: no sign, no space, no exponent.
Result<uint64_t> ParseDecimal(std::string_view text, std::string_view what) {
  if (text.empty() || text.size() > 19) return Refuse(fmt::format("{} is not a number", what));
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return Refuse(fmt::format("{} is not a number", what));
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

// "[-]seconds[.fraction]"
Result<void> ParseTime(std::string_view text, TarEntry& entry) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t dot = text.find('.');
  const uint64_t seconds = TRY(ParseDecimal(text.substr(0, dot), "mtime"));
  if (seconds > (1ull << 40)) return Refuse("mtime is out of range");
  uint32_t nanoseconds = 0;
  if (dot != std::string_view::npos) {
    std::string fraction(text.substr(dot + 1, 9));
    fraction.resize(9, '0');
    nanoseconds = static_cast<uint32_t>(TRY(ParseDecimal(fraction, "mtime")));
    if (!std::all_of(text.begin() + dot + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return Refuse("mtime is not a number");
  }
  entry.mtime_seconds = negative ? -static_cast<int64_t>(seconds) : static_cast<int64_t>(seconds);
  entry.mtime_nanoseconds = nanoseconds;
  if (negative && nanoseconds > 0) {  // the fraction counts away from zero, a timespec counts upwards
    --entry.mtime_seconds;
    entry.mtime_nanoseconds = 1'000'000'000 - nanoseconds;
  }
  return {};
}

bool IsAllZero(std::string_view block) { return block.find_first_not_of('\0') == std::string_view::npos; }

Result<TarType> TypeOf(char flag) {
  switch (flag) {
    case '0':
    case '\0':
    case '7':  // contiguous file: no file system of ours has them
    case 'S': return TarType::kFile;
    case '1': return TarType::kHardLink;
    case '2': return TarType::kSymlink;
    case '3': return TarType::kCharDevice;
    case '4': return TarType::kBlockDevice;
    case '5': return TarType::kDirectory;
    case '6': return TarType::kFifo;
    default: return Refuse(fmt::format("entry of unknown type \"{}\"", EscapeForLog({&flag, 1})));
  }
}

}  // namespace

Result<void> TarHeaders::Feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (state_ == State::kEnd) return {};  // what follows the end of the archive is hashed and not read
    if (state_ == State::kBody || state_ == State::kMetadata) {
      const size_t content = static_cast<size_t>(std::min<uint64_t>(remaining_, bytes.size()));
      if (state_ == State::kMetadata) metadata_.append(bytes.substr(0, content));
      bytes.remove_prefix(content);
      remaining_ -= content;
      const size_t padding = remaining_ > 0 ? 0 : static_cast<size_t>(std::min<uint64_t>(padding_, bytes.size()));
      bytes.remove_prefix(padding);
      padding_ -= padding;
      if (remaining_ > 0 || padding_ > 0) continue;
      const bool was_metadata = state_ == State::kMetadata;
      state_ = State::kHeader;
      if (was_metadata) TRY(OnMetadata());
      continue;
    }
    if (block_.empty() && bytes.size() >= kBlock) {
      TRY(OnBlock(bytes.substr(0, kBlock)));
      bytes.remove_prefix(kBlock);
      continue;
    }
    const size_t missing = std::min(kBlock - block_.size(), bytes.size());
    block_.append(bytes.substr(0, missing));
    bytes.remove_prefix(missing);
    if (block_.size() < kBlock) continue;
    TRY(OnBlock(block_));
    block_.clear();
  }
  return {};
}

Result<void> TarHeaders::Finish() const {
  const bool at_boundary =
      state_ == State::kHeader && block_.empty() && !has_pax_ && !has_long_name_ && !has_long_link_;
  if (at_boundary || state_ == State::kEnd || (state_ == State::kLoneZeroBlock && block_.empty())) return {};
  return Fail(ErrorCode::kInvalid, "the tar archive is cut off inside an entry");
}

bool TarHeaders::Take(TarEntry& entry) {
  if (entries_.empty()) return false;
  entry = std::move(entries_.front());
  entries_.pop_front();
  return true;
}

Result<void> TarHeaders::OnBlock(std::string_view block) {
  if (state_ == State::kSparseMap) {
    if (block[kMapMoreMapOffset] == 0) BeginBody(body_after_map_);
    return {};
  }
  if (IsAllZero(block)) {
    if (has_pax_ || has_long_name_ || has_long_link_) return Refuse("an extended header is followed by no entry");
    state_ = state_ == State::kLoneZeroBlock ? State::kEnd : State::kLoneZeroBlock;
    return {};
  }
  if (state_ == State::kLoneZeroBlock)
    return Refuse("a single empty block in front of an entry");  // some readers stop there
  return OnHeader(block);
}

Result<void> TarHeaders::OnHeader(std::string_view block) {
  TRY_IN(Position(), CheckChecksum(block));
  const std::string_view magic = Raw(block, kMagic);
  if (magic != kUstarMagic && magic != kGnuMagic && !IsAllZero(magic)) return Refuse("unknown kind of tar archive");
  if (magic == kUstarMagic && Raw(block, kStarTrailer) == std::string_view("tar\0", 4))
    return Refuse("star archives are not read");
  const char type = block[kTypeOffset];
  if (type == 'x' || type == 'g' || type == 'L' || type == 'K')
    return BeginMetadata(type, TRY(ParseUnsigned(block, kSize, "size")));
  TRY_IN(fmt::format("entry \"{}\"", EscapeForLog(NameIn(block), 120)), ReadEntry(block, type));
  return {};
}

std::string TarHeaders::Position() const {
  return last_name_.empty() ? "the first entry" : fmt::format("behind entry \"{}\"", EscapeForLog(last_name_, 120));
}

// The name as the block has it, or as an extended header has said it.
std::string TarHeaders::NameIn(std::string_view block) const {
  for (const char* key : {"GNU.sparse.name", "path"})
    if (const auto name = pax_.find(key); name != pax_.end()) return name->second;
  if (has_long_name_) return long_name_;
  const std::string_view prefix = Raw(block, kMagic) == kUstarMagic ? Text(block, kPrefix) : std::string_view();
  return std::string(prefix) + (prefix.empty() ? "" : "/") + std::string(Text(block, kName));
}

Result<void> TarHeaders::BeginMetadata(char type, uint64_t size) {
  if (size > kMaxPaxBytes) return Refuse(fmt::format("extended header of {} bytes is over {}", size, kMaxPaxBytes));
  // One of each, and GNU's not beside pax: readers disagree on which of two wins.
  const bool twice = (type == 'x' && has_pax_) || (type == 'L' && has_long_name_) || (type == 'K' && has_long_link_);
  const bool mixed = (type == 'x' && (has_long_name_ || has_long_link_)) || ((type == 'L' || type == 'K') && has_pax_);
  if (twice || mixed) return Refuse("several extended headers for one entry");
  metadata_type_ = type;
  metadata_.clear();
  state_ = State::kMetadata;
  remaining_ = size;
  padding_ = (kBlock - size % kBlock) % kBlock;
  if (size > 0) return {};
  state_ = State::kHeader;
  return OnMetadata();
}

Result<void> TarHeaders::OnMetadata() {
  if (metadata_type_ == 'g') return {};  // applies to all that follow, and no reader of images heeds it
  if (metadata_type_ == 'x') {
    has_pax_ = true;
    return ParsePax(metadata_);
  }
  std::string text = std::move(metadata_);
  while (!text.empty() && text.back() == '\0') text.pop_back();
  if (text.empty() || text.find('\0') != std::string::npos) return Refuse("a long name is empty or contains a NUL");
  (metadata_type_ == 'L' ? has_long_name_ : has_long_link_) = true;
  (metadata_type_ == 'L' ? long_name_ : long_link_) = std::move(text);
  return {};
}

// Records of "LENGTH KEY=VALUE\n", where LENGTH counts the whole record.
Result<void> TarHeaders::ParsePax(std::string_view text) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return Refuse("damaged extended header");
    const uint64_t length = TRY(ParseDecimal(text.substr(0, space), "length of a record"));
    if (length > text.size() || length < space + 3 || text[length - 1] != '\n')
      return Refuse("damaged extended header");
    const std::string_view record = text.substr(space + 1, length - space - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos || equals == 0) return Refuse("damaged extended header");
    TRY(AddPaxRecord(record.substr(0, equals), record.substr(equals + 1)));
    text.remove_prefix(length);
  }
  return {};
}

Result<void> TarHeaders::AddPaxRecord(std::string_view key, std::string_view value) {
  constexpr std::string_view kXattr = "SCHILY.xattr.";
  if (key.find('\0') != std::string_view::npos) return Refuse("a record's key contains a NUL");
  if (key.starts_with(kXattr)) {
    const std::string_view name = key.substr(kXattr.size());
    if (name.empty() || name.size() > kMaxNameBytes || value.size() > kMaxXattrValueBytes ||
        xattrs_.size() >= kMaxXattrs)
      return Refuse("extended attribute over its limits");
    xattrs_.emplace_back(name, value);
    return {};
  }
  if (key.starts_with("LIBARCHIVE.xattr.") || key.starts_with("SCHILY.acl.") || key.starts_with("RHT.security.")) {
    ++dropped_attributes_;  // nobody else who reads images sees them: a scanner would not either
    return {};
  }
  if (key == "SCHILY.realsize") return Refuse("star's sparse files are not read");
  constexpr std::string_view kHeeded[] = {
      "path", "linkpath", "size", "uid", "gid", "mtime", "GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.realsize"};
  if (std::find(std::begin(kHeeded), std::end(kHeeded), key) == std::end(kHeeded)) return {};
  if (value.empty() || value.find('\0') != std::string_view::npos)
    return Refuse(fmt::format("record \"{}\" is empty or contains a NUL", key));
  if (!pax_.emplace(key, value).second) return Refuse(fmt::format("record \"{}\" stands twice", key));
  return {};
}

Result<void> TarHeaders::ReadEntry(std::string_view block, char type) {
  TarEntry entry;
  entry.type = TRY(TypeOf(type));
  entry.path = NameIn(block);
  entry.link = has_long_link_ ? long_link_ : std::string(Text(block, kLink));
  entry.mode = static_cast<uint32_t>(TRY(ParseUnsigned(block, kMode, "mode")) & 07777);
  // pax overrides uid and gid: what stands in the header then need not be a number that fits.
  if (!pax_.contains("uid")) entry.uid = TRY(ParseUnsigned(block, kUid, "uid"));
  if (!pax_.contains("gid")) entry.gid = TRY(ParseUnsigned(block, kGid, "gid"));
  entry.mtime_seconds = TRY(ParseNumber(block, kMtime, "mtime"));
  if (entry.type == TarType::kCharDevice || entry.type == TarType::kBlockDevice) {
    entry.device_major = TRY(ParseUnsigned(block, kDeviceMajor, "device number"));
    entry.device_minor = TRY(ParseUnsigned(block, kDeviceMinor, "device number"));
  }
  uint64_t stored = TRY(ParseUnsigned(block, kSize, "size"));
  entry.size = stored;
  TRY(ApplyPax(entry, stored));
  entry.xattrs = std::move(xattrs_);
  entry.dropped_attributes = dropped_attributes_;
  if (entry.type == TarType::kFile && entry.path.ends_with('/') && type != 'S')
    entry.type = TarType::kDirectory;  // as old archives say it
  if (entry.type != TarType::kFile && (stored != 0 || entry.sparse))
    return Refuse("it is not a file and has contents");  // some skip them, some do not
  if (entry.type != TarType::kHardLink && entry.type != TarType::kSymlink) entry.link.clear();

  if (type == 'S') {
    if (Raw(block, kMagic) != kGnuMagic) return Refuse("sparse file of unknown form");
    entry.sparse = true;
    entry.size = TRY(ParseUnsigned(block, kGnuRealSize, "size"));
  }
  if (entry.size > kMaxUnpackedBytes || stored > kMaxUnpackedBytes)
    return Fail(ErrorCode::kTooLarge, "it claims {} bytes, over the limit of {}", std::max(entry.size, stored),
                kMaxUnpackedBytes);
  last_name_ = entry.path;
  entries_.push_back(std::move(entry));
  ForgetMetadata();
  if (type == 'S' && block[kGnuMoreMapOffset] != 0) {
    state_ = State::kSparseMap;
    body_after_map_ = stored;
    return {};
  }
  BeginBody(stored);
  return {};
}

Result<void> TarHeaders::ApplyPax(TarEntry& entry, uint64_t& stored) const {
  for (const auto& [key, value] : pax_) {
    if (key == "linkpath") entry.link = value;
    if (key == "size") entry.size = stored = TRY(ParseDecimal(value, "size"));
    if (key == "uid") entry.uid = TRY(ParseDecimal(value, "uid"));
    if (key == "gid") entry.gid = TRY(ParseDecimal(value, "gid"));
    if (key == "mtime") TRY(ParseTime(value, entry));
  }
  // GNU's sparse files: the name and size of the file beside those of its stored form.
  for (const auto& [key, value] : pax_) {
    if (!key.starts_with("GNU.sparse.")) continue;
    entry.sparse = true;
    if (key == "GNU.sparse.name") {
      entry.path = value;
    } else {
      entry.size = TRY(ParseDecimal(value, "size"));
    }
  }
  return {};
}

void TarHeaders::BeginBody(uint64_t stored) {
  remaining_ = stored;
  padding_ = (kBlock - stored % kBlock) % kBlock;
  state_ = stored > 0 ? State::kBody : State::kHeader;
}

void TarHeaders::ForgetMetadata() {
  has_pax_ = has_long_name_ = has_long_link_ = false;
  pax_.clear();
  long_name_.clear();
  long_link_.clear();
  xattrs_.clear();
  dropped_attributes_ = 0;
}

}  // namespace caisson::image
