// SPDX-License-Identifier: Apache-2.0
#include "tests/image/tar_builder.h"

#include <fmt/core.h>

#include <cstring>

namespace caisson::image {
namespace {

void Put(std::string& block, size_t offset, std::string_view text) { block.replace(offset, text.size(), text); }

// Octal where it fits, else GNU's base-256.
void PutNumber(std::string& block, size_t offset, size_t size, uint64_t number) {
  if (number < 1ull << (3 * (size - 1))) {
    Put(block, offset, fmt::format("{:0{}o}", number, size - 1));
    return;
  }
  for (size_t i = 0; i < size; ++i) block[offset + size - 1 - i] = i < 8 ? static_cast<char>(number >> (8 * i)) : '\0';
  block[offset] = static_cast<char>(0x80);
}

}  // namespace

std::string TarBuilder::PaxRecord(const std::string& key, const std::string& value) {
  const std::string tail = " " + key + "=" + value + "\n";
  size_t length = tail.size() + 1;
  while (std::to_string(length).size() + tail.size() != length) ++length;
  return std::to_string(length) + tail;
}

std::string TarBuilder::Header(const TarItem& item, uint64_t size) {
  std::string block(512, '\0');
  Put(block, 0, std::string_view(item.path).substr(0, 100));
  PutNumber(block, 100, 8, item.mode);
  PutNumber(block, 108, 8, item.uid);
  PutNumber(block, 116, 8, item.gid);
  PutNumber(block, 124, 12, size);
  PutNumber(block, 136, 12, static_cast<uint64_t>(item.mtime));
  Put(block, 148, "        ");
  block[156] = item.type;
  Put(block, 157, std::string_view(item.link).substr(0, 100));
  Put(block, 257, item.magic);
  PutNumber(block, 329, 8, item.device_major);
  PutNumber(block, 337, 8, item.device_minor);
  if (item.patch) item.patch(block);
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  Put(block, 148, fmt::format("{:06o}", sum));
  block[154] = '\0';
  return block;
}

TarBuilder& TarBuilder::Raw(std::string_view bytes) {
  bytes_ += bytes;
  bytes_.append((512 - bytes_.size() % 512) % 512, '\0');
  return *this;
}

TarBuilder& TarBuilder::Pax(const std::string& records, char type) {
  Raw(Header({.path = "pax", .type = type}, records.size()));
  return Raw(records);
}

TarBuilder& TarBuilder::Add(const TarItem& item) {
  std::string records;
  for (const auto& [key, value] : item.pax) records += PaxRecord(key, value);
  if (item.path.size() > 100) records += PaxRecord("path", item.path);
  if (item.link.size() > 100) records += PaxRecord("linkpath", item.link);
  if (!records.empty()) Pax(records);
  Raw(Header(item, item.claimed_size >= 0 ? static_cast<uint64_t>(item.claimed_size) : item.content.size()));
  return Raw(item.content);
}

}  // namespace caisson::image
