// SPDX-License-Identifier: Apache-2.0
// The bytes between service and store worker: little-endian integers, length-prefixed strings, nothing else. WireReader
// treats every byte as hostile: the first thing that does not fit makes it fail for good, and every later read gives
// zeros or empty strings, so that a decoder can read straight through and ask once. Plain values.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace caisson::image {

class WireWriter {
 public:
  template <typename T>
  void Number(T value) {
    static_assert(std::is_unsigned_v<T>);
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
  }
  void Raw(std::string_view bytes) { bytes_.append(bytes); }
  void String(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    Raw(text);
  }
  const std::string& bytes() const { return bytes_; }
  std::string Take() && { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Number() {
    static_assert(std::is_unsigned_v<T>);
    const std::string_view raw = Raw(sizeof(T));
    uint64_t value = 0;
    for (size_t i = 0; i < raw.size(); ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(raw[i])) << (8 * i);
    return static_cast<T>(value);
  }
  // Exactly `size` bytes, or none.
  std::string_view Raw(size_t size) {
    if (failed_ || size > bytes_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view raw = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return raw;
  }
  std::string_view String(size_t limit) {
    const uint32_t size = Number<uint32_t>();
    if (size > limit) failed_ = true;
    return Raw(size);
  }
  // How many items follow: never more than `limit`, nor than could be there with `smallest` bytes each.
  uint32_t Count(size_t limit, size_t smallest) {
    const uint32_t count = Number<uint32_t>();
    if (count > limit || count > bytes_.size() / smallest) failed_ = true;
    return failed_ ? 0 : count;
  }
  void Fail() { failed_ = true; }
  bool failed() const { return failed_; }
  bool AtEnd() const { return !failed_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool failed_ = false;
};

}  // namespace caisson::image
