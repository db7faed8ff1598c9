// SPDX-License-Identifier: Apache-2.0
#include "tests/hostile/tree_words.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/worker/beneath.h"

namespace caisson::image {
namespace {

constexpr time_t kUsualTime = 1'000'000'000;

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 - 1 && byte < 0x7f && c != '%' && c != '\'')
      out += c;
    else
      out += fmt::format("%{:02X}", byte);
  }
  return out;
}

class TreeWalk {
 public:
  TreeWalk(const LayerFacts& facts) : facts_(facts) {}
  std::map<std::string, std::string> Run(int root) {
    const Fd fd = *OpenBeneath(root, "", O_RDONLY | O_DIRECTORY);
    struct stat info {};
    CHECK(::fstat(fd.get(), &info) == 0);
    words_[""] = OfDirectory(fd.get(), "", info);
    Descend(fd.get(), "");
    return std::move(words_);
  }

 private:
  void Descend(int directory, const std::string& path) {
    DIR* stream = ::fdopendir(OpenBeneath(directory, "", O_RDONLY | O_DIRECTORY)->release());
    CHECK(stream);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream))
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) names.emplace_back(entry->d_name);
    ::closedir(stream);
    for (const std::string& name : names) Visit(directory, name, path.empty() ? name : path + "/" + name);
  }
  void Visit(int parent, const std::string& name, const std::string& path) {
    struct stat info {};
    CHECK(::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0);
    std::string& words = words_[Escaped(path)];
    if (S_ISDIR(info.st_mode)) {
      const Fd fd = *OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY);
      words = OfDirectory(fd.get(), path, info);
      Descend(fd.get(), path);
    } else if (S_ISREG(info.st_mode)) {
      words = OfFile(*OpenBeneath(parent, name, O_RDONLY), info);
    } else if (S_ISLNK(info.st_mode)) {
      char target[4096];
      const ssize_t size = ::readlinkat(parent, name.c_str(), target, sizeof target);
      words = Usual("link", info, 0777) + " -> " + Escaped({target, static_cast<size_t>(std::max<ssize_t>(size, 0))});
    } else if (S_ISFIFO(info.st_mode)) {
      words = Usual("fifo", info, 0644);
    } else {
      words = S_ISCHR(info.st_mode) && info.st_rdev == 0 ? "whiteout" : "a device";
    }
  }
  std::string OfDirectory(int fd, const std::string& path, const struct stat& info) const {
    const auto listed = [&path](const std::vector<std::string>& list) {
      return std::find(list.begin(), list.end(), path) != list.end();
    };
    const bool implicit = listed(facts_.implicit);
    std::string words = Usual("dir", info, 0755, !implicit) + (implicit ? " implicit" : "");
    if (listed(facts_.opaque)) words += " opaque";
    if (listed(facts_.replaced)) words += " replaced";
    if (listed(facts_.whiteouts)) words += " whiteouts";
    return words + Xattrs(fd);
  }
  static std::string OfFile(const Fd& file, const struct stat& info) {
    std::string words = Usual("file", info, 0644);
    if (info.st_nlink > 1) words += fmt::format(" links={}", info.st_nlink);
    const std::string bytes = *ReadAll(file.get(), 64 << 20);
    words += bytes.size() <= 64 ? " '" + Escaped(bytes) + "'"
                                : fmt::format(" {} bytes {}", bytes.size(), Sha256Of(bytes).hex().substr(0, 16));
    return words + Xattrs(file.get());
  }
  static std::string Usual(std::string words, const struct stat& info, mode_t usual_mode, bool with_time = true) {
    if ((info.st_mode & 07777) != usual_mode) words += fmt::format(" {:o}", info.st_mode & 07777);
    if (info.st_uid != 0 || info.st_gid != 0) words += fmt::format(" {}:{}", info.st_uid, info.st_gid);
    if (!with_time || (info.st_mtim.tv_sec == kUsualTime && info.st_mtim.tv_nsec == 0)) return words;
    words += fmt::format(" @{}", info.st_mtim.tv_sec);
    return info.st_mtim.tv_nsec == 0 ? words : words + fmt::format(".{:09}", info.st_mtim.tv_nsec);
  }
  static std::string Xattrs(int fd) {
    char names[65536];
    const ssize_t size = ::flistxattr(fd, names, sizeof names);
    std::string words;
    for (ssize_t i = 0; i < size; i += static_cast<ssize_t>(strlen(names + i)) + 1) {
      char value[65536];
      const ssize_t length = ::fgetxattr(fd, names + i, value, sizeof value);
      words += fmt::format(" {}='{}'", names + i, Escaped({value, static_cast<size_t>(std::max<ssize_t>(length, 0))}));
    }
    return words;
  }

  const LayerFacts& facts_;
  std::map<std::string, std::string> words_;
};

}  // namespace

std::map<std::string, std::string> WordsOfTree(int root, const LayerFacts& facts) { return TreeWalk(facts).Run(root); }

}  // namespace caisson::image
