// SPDX-License-Identifier: Apache-2.0
#include "image/worker/tar_writer.h"

#include <algorithm>

#include "base/check.h"
#include "base/encoding.h"

namespace caisson::image {
namespace {

constexpr size_t kBlock = 512;
constexpr size_t kNameBytes = 100;              // of a header's name and link
constexpr uint64_t kMaxOctal11 = 077777777777;  // what 12 bytes hold
constexpr uint64_t kMaxOctal7 = 07777777;       // what 8 bytes hold

void PutText(std::string& block, size_t offset, std::string_view text) {
  std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(offset));
}

// `size` bytes with the NUL.
void PutOctal(std::string& block, size_t offset, size_t size, uint64_t value) {
  PutText(block, offset, fmt::format("{:0{}o}", value, size - 1));
}

// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string PaxRecord(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;  // blank, equals sign, newline
  size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) length = rest + std::to_string(length).size();
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string Header(char type, std::string_view name, std::string_view link, const EntryAttributes& attributes,
                   uint64_t size) {
  std::string block(kBlock, '\0');
  PutText(block, 0, name.substr(0, kNameBytes));
  PutOctal(block, 100, 8, attributes.mode);
  PutOctal(block, 108, 8, std::min<uint64_t>(attributes.uid, kMaxOctal7));
  PutOctal(block, 116, 8, std::min<uint64_t>(attributes.gid, kMaxOctal7));
  PutOctal(block, 124, 12, size > kMaxOctal11 ? 0 : size);
  const auto seconds = attributes.mtime.tv_sec;
  PutOctal(block, 136, 12, seconds < 0 ? 0 : std::min(static_cast<uint64_t>(seconds), kMaxOctal11));
  block[156] = type;
  PutText(block, 157, link.substr(0, kNameBytes));
  PutText(block, 257, std::string_view("ustar\00000", 8));
  PutOctal(block, 329, 8, 0);
  PutOctal(block, 337, 8, 0);
  PutText(block, 148, "        ");
  uint64_t sum = 0;
  for (const char c : block) sum += static_cast<uint8_t>(c);
  PutText(block, 148, fmt::format("{:06o}", sum));
  block[154] = '\0';
  return block;
}

bool IsPlain(std::string_view text) {
  return text.size() <= kNameBytes &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

std::string TimeText(const timespec& time) {
  // A timespec counts upwards from the second, a decimal fraction away from zero.
  const bool borrow = time.tv_sec < 0 && time.tv_nsec > 0;
  const int64_t seconds = borrow ? time.tv_sec + 1 : time.tv_sec;
  const int64_t nanoseconds = borrow ? 1'000'000'000 - time.tv_nsec : time.tv_nsec;
  std::string text = (borrow && seconds == 0 ? "-" : "") + std::to_string(seconds);
  if (nanoseconds > 0) text += fmt::format(".{:09}", nanoseconds);
  return text;
}

std::string PaxOf(const TarWriter::Entry& entry, const std::string& name) {
  std::string records;
  bool odd = false;  // text that is not UTF-8
  const auto add_text = [&](std::string_view key, const std::string& text) {
    if (IsPlain(text)) return;
    odd = odd || !IsValidUtf8(text);
    records += PaxRecord(key, text);
  };
  add_text("path", name);
  add_text("linkpath", entry.link);
  const timespec& mtime = entry.attributes.mtime;
  if (mtime.tv_sec < 0 || static_cast<uint64_t>(mtime.tv_sec) > kMaxOctal11 || mtime.tv_nsec != 0)
    records += PaxRecord("mtime", TimeText(mtime));
  if (entry.size > kMaxOctal11) records += PaxRecord("size", std::to_string(entry.size));
  for (const auto& [key, value] : entry.attributes.xattrs) records += PaxRecord("SCHILY.xattr." + key, value);
  return (odd ? PaxRecord("hdrcharset", "BINARY") : "") + records;
}

}  // namespace

Result<void> TarWriter::Begin(const Entry& entry) {
  TRY(Pad());
  std::string name = entry.path.empty() ? "." : entry.path;
  if (entry.type == Type::kDirectory) name += "/";
  if (const std::string pax = PaxOf(entry, name); !pax.empty()) {
    TRY(out_.Write(Header('x', "PaxHeaders/entry", "", {.mode = 0644}, pax.size())));
    TRY(out_.Write(pax));
    TRY(out_.Write(std::string((kBlock - pax.size() % kBlock) % kBlock, '\0')));
  }
  TRY(out_.Write(Header(static_cast<char>(entry.type), name, entry.link, entry.attributes, entry.size)));
  left_ = entry.size;
  padding_ = (kBlock - entry.size % kBlock) % kBlock;
  return {};
}

Result<void> TarWriter::Contents(std::string_view bytes) {
  CHECK(bytes.size() <= left_);
  left_ -= bytes.size();
  return out_.Write(bytes);
}

Result<void> TarWriter::Zeros(uint64_t count) {
  static constexpr char kZeros[64 << 10] = {};
  while (count > 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(count, sizeof kZeros));
    TRY(Contents({kZeros, piece}));
    count -= piece;
  }
  return {};
}

Result<void> TarWriter::EndOfArchive() {
  TRY(Pad());
  return out_.Write(std::string(2 * kBlock, '\0'));
}

Result<void> TarWriter::Pad() {
  CHECK(left_ == 0);
  const std::string zeros(static_cast<size_t>(padding_), '\0');
  padding_ = 0;
  return out_.Write(zeros);
}

}  // namespace caisson::image
