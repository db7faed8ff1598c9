// SPDX-License-Identifier: Apache-2.0
// TarBuilder writes tar archives byte by byte, so that tests can write wrong ones too.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace caisson::image {

struct TarItem {
  std::string path;
  char type = '0';
  std::string link = {};
  std::string content = {};
  uint32_t mode = 0644;
  uint64_t uid = 0;
  uint64_t gid = 0;
  int64_t mtime = 1'000'000'000;
  uint64_t device_major = 0;
  uint64_t device_minor = 0;
  std::vector<std::pair<std::string, std::string>> pax = {};
  // Overrides what the header says; the content stays.
  int64_t claimed_size = -1;
  std::string magic = std::string("ustar\00000", 8);
  std::function<void(std::string& block)> patch = {};  // changes the header before its checksum is made
};

class TarBuilder {
 public:
  TarBuilder& Add(const TarItem& item);
  TarBuilder& File(const std::string& path, const std::string& content) {
    return Add({.path = path, .content = content});
  }
  TarBuilder& Directory(const std::string& path, uint32_t mode = 0755) {
    return Add({.path = path, .type = '5', .mode = mode});
  }
  TarBuilder& Symlink(const std::string& path, const std::string& target) {
    return Add({.path = path, .type = '2', .link = target});
  }
  TarBuilder& HardLink(const std::string& path, const std::string& target) {
    return Add({.path = path, .type = '1', .link = target});
  }
  TarBuilder& Raw(std::string_view bytes);  // padded to a block
  TarBuilder& Pax(const std::string& records, char type = 'x');

  // With the two empty blocks at the end.
  std::string Finish() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& bytes() const { return bytes_; }

  static std::string PaxRecord(const std::string& key, const std::string& value);
  static std::string Header(const TarItem& item, uint64_t size);

 private:
  std::string bytes_;
};

}  // namespace caisson::image
