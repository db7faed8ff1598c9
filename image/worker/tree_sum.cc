// SPDX-License-Identifier: Apache-2.0
#include "image/worker/tree_sum.h"

#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "image/layer/wire.h"

namespace caisson::image {
namespace {

// Keeps entries of different kinds apart.
enum class Kind : uint8_t { kFile = 1, kName, kDirectory, kSymlink, kFifo, kWhiteout, kStrange, kSameFile };

TreeSum SumOf(std::string_view bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

WireWriter Begin(Kind kind, std::string_view path) {
  WireWriter out;
  out.Number(static_cast<uint8_t>(kind));
  out.String(path);
  return out;
}

void Put(WireWriter& out, const TreeSum& sum) {
  out.Number(sum.low);
  out.Number(sum.high);
}

void Put(WireWriter& out, const EntryAttributes& attributes, bool has_mode) {
  for (const uint32_t number : {has_mode ? attributes.mode : 0, attributes.uid, attributes.gid}) out.Number(number);
  out.Number(static_cast<uint64_t>(attributes.mtime.tv_sec));
  out.Number(static_cast<uint64_t>(attributes.mtime.tv_nsec));
  // Of two values of one name the file has the last.
  std::map<std::string_view, std::string_view> xattrs;
  for (const auto& [name, value] : attributes.xattrs) xattrs[name] = value;
  for (const auto& [name, value] : xattrs) {
    out.String(name);
    out.String(value);
  }
}

}  // namespace

void ContentSum::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

ContentSum::ContentSum() : state_(XXH3_createState()) {
  CHECK(state_);
  Reset();
}

void ContentSum::Reset() {
  XXH3_128bits_reset(state_.get());
  size_ = 0;
}

void ContentSum::Update(std::string_view bytes) {
  XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
  size_ += bytes.size();
}

void ContentSum::UpdateZeros(uint64_t count) {
  static constexpr char kZeros[64 << 10] = {};
  while (count > 0) {
    const size_t piece = static_cast<size_t>(std::min<uint64_t>(count, sizeof kZeros));
    Update({kZeros, piece});
    count -= piece;
  }
}

TreeSum ContentSum::Finish() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return {hash.low64, hash.high64};
}

TreeSum TreeSummer::OfFile(const EntryAttributes& attributes, const ContentSum& contents) {
  WireWriter out = Begin(Kind::kFile, "");
  out.Number(contents.size());
  Put(out, contents.Finish());
  Put(out, attributes, true);
  return SumOf(out.bytes());
}

void TreeSummer::AddFile(std::string_view path, const TreeSum& file) {
  WireWriter out = Begin(Kind::kName, path);
  Put(out, file);
  Add(SumOf(out.bytes()));
}

void TreeSummer::AddDirectory(std::string_view path, const EntryAttributes& attributes) {
  WireWriter out = Begin(Kind::kDirectory, path);
  Put(out, attributes, true);
  Add(SumOf(out.bytes()));
}

void TreeSummer::AddSymlink(std::string_view path, std::string_view target, const EntryAttributes& attributes) {
  WireWriter out = Begin(Kind::kSymlink, path);
  out.String(target);
  Put(out, attributes, false);
  Add(SumOf(out.bytes()));
}

void TreeSummer::AddFifo(std::string_view path, const EntryAttributes& attributes) {
  WireWriter out = Begin(Kind::kFifo, path);
  Put(out, attributes, true);
  Add(SumOf(out.bytes()));
}

void TreeSummer::AddWhiteout(std::string_view path) { Add(SumOf(Begin(Kind::kWhiteout, path).bytes())); }

void TreeSummer::AddStrange(std::string_view path, uint64_t what) {
  WireWriter out = Begin(Kind::kStrange, path);
  out.Number(what);
  Add(SumOf(out.bytes()));
}

void TreeSummer::AddName(ino_t file, std::string_view path) { names_[file].emplace_back(path); }

TreeSum TreeSummer::Finish() {
  for (auto& [file, names] : names_) {
    std::sort(names.begin(), names.end());
    WireWriter out = Begin(Kind::kSameFile, "");
    for (const std::string& name : names) out.String(name);
    Add(SumOf(out.bytes()));
  }
  names_.clear();
  return sum_;
}

// Addition, not exclusive or: two equal terms must not vanish.
void TreeSummer::Add(const TreeSum& term) {
  const uint64_t low = sum_.low + term.low;
  sum_.high += term.high + (low < sum_.low ? 1 : 0);
  sum_.low = low;
}

}  // namespace caisson::image
