// SPDX-License-Identifier: Apache-2.0
#include "image/layer/path.h"

#include "base/encoding.h"
#include "image/layer/limits.h"

namespace caisson::image {

Result<std::string> NormaliseLayerPath(std::string_view raw) {
  const auto refuse = [raw](std::string_view why) {
    return Fail(ErrorCode::kInvalid, "path \"{}\" {}", EscapeForLog(raw, 120), why);
  };
  if (raw.empty()) return refuse("is empty");
  if (raw.size() > kMaxPathBytes) return refuse("is too long");
  if (raw.find('\0') != std::string_view::npos) return refuse("contains a NUL byte");
  if (raw.front() == '/') return refuse("is absolute");
  constexpr std::string_view kWhiteoutPrefix = ".wh.";
  std::string path;
  size_t depth = 0;
  while (!raw.empty()) {
    const std::string_view name = raw.substr(0, raw.find('/'));
    raw.remove_prefix(std::min(name.size() + 1, raw.size()));
    if (name.empty() || name == ".") continue;
    if (name == "..")
      return Fail(ErrorCode::kInvalid, "path \"{}\" contains \"..\"",
                  EscapeForLog(path.empty() ? ".." : path + "/..", 120));
    // A whiteout's name never reaches the disk, and what it hides may have the longest name there is.
    if (name.size() > kMaxNameBytes + (name.starts_with(kWhiteoutPrefix) ? kWhiteoutPrefix.size() : 0))
      return Fail(ErrorCode::kInvalid, "name \"{}\" is longer than {} bytes", EscapeForLog(name, 120), kMaxNameBytes);
    if (++depth > kMaxPathDepth)
      return Fail(ErrorCode::kInvalid, "path \"{}\" is deeper than {} names", EscapeForLog(path, 120), kMaxPathDepth);
    if (!path.empty()) path += '/';
    path += name;
  }
  return path;
}

bool IsLayerPath(std::string_view path) {
  if (path.empty()) return true;
  const Result<std::string> normalised = NormaliseLayerPath(path);
  return normalised && *normalised == path;
}

std::string_view ParentOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view NameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::vector<std::string_view> SplitPath(std::string_view path) {
  std::vector<std::string_view> names;
  while (!path.empty()) {
    names.push_back(path.substr(0, path.find('/')));
    path.remove_prefix(std::min(names.back().size() + 1, path.size()));
  }
  return names;
}

}  // namespace caisson::image
