// SPDX-License-Identifier: Apache-2.0
#include "image/worker/merge.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <set>

#include "base/encoding.h"
#include "base/io.h"
#include "image/layer/limits.h"
#include "image/layer/path.h"
#include "image/worker/beneath.h"
#include "image/worker/merged_tree.h"
#include "image/worker/tree_writer.h"

namespace caisson::image {
namespace {

// user.* attributes of a directory: the fix-up layer's copy hides the original's.
Result<void> ReadXattrs(int directory, EntryAttributes& attributes) {
  std::string names(kMaxXattrs * (kMaxNameBytes + 1), '\0');
  const ssize_t size = ::flistxattr(directory, names.data(), names.size());
  if (size < 0 && errno == ENOTSUP) return {};
  if (size < 0) return FailErrno(errno, "list extended attributes");
  names.resize(static_cast<size_t>(size));
  for (size_t start = 0; start < names.size(); start = names.find('\0', start) + 1) {
    const std::string name = names.c_str() + start;
    if (!name.starts_with("user.")) continue;
    std::string value(kMaxXattrValueBytes, '\0');
    const ssize_t value_size = ::fgetxattr(directory, name.c_str(), value.data(), value.size());
    if (value_size < 0) return FailErrno(errno, "read extended attribute {}", EscapeForLog(name, 80));
    value.resize(static_cast<size_t>(value_size));
    attributes.xattrs.emplace_back(name, std::move(value));
  }
  return {};
}

class Merger {
 public:
  Merger(std::span<const int> layers, std::span<const LayerFacts> facts, int out)
      : tree_(layers, facts), facts_(facts), fixup_(out) {}

  Result<MergeReport> Run() {
    root_ = TRY(tree_.Root());
    for (const std::string& path : Candidates()) TRY(Consider(path));
    TRY(fixup_.AddDirectory("", TRY(AttributesOf(root_))));
    report_.tree_sum = TRY(fixup_.Finish()).sum;
    TRY(ReportDirectories());
    report_.passwd = TRY(ReadAccountFile("etc/passwd"));
    report_.group = TRY(ReadAccountFile("etc/group"));
    return std::move(report_);
  }

 private:
  using Directory = MergedTree::Directory;
  using Node = MergedTree::Node;

  // The only directories that overlayfs can show wrongly. Parents come before children.
  std::set<std::string> Candidates() const {
    std::set<std::string> paths;
    for (const LayerFacts& facts : facts_) {
      paths.insert(facts.implicit.begin(), facts.implicit.end());
      paths.insert(facts.whiteouts.begin(), facts.whiteouts.end());
    }
    paths.erase("");  // the root's attributes go into the job's upper
    return paths;
  }

  Result<void> Consider(const std::string& path) {
    if (!TRY(Enter(path))) return {};
    const Directory& directory = chain_.back();
    const bool wrong_attributes = &tree_.Described(directory) != &directory.members.front();
    if (wrong_attributes || tree_.ShowsGhosts(directory)) TRY(Restore());
    return {};
  }

  // Makes chain_ the merged directories on the way to `path`; false where something else is shown there.
  Result<bool> Enter(const std::string& path) {
    const std::vector<std::string_view> names = SplitPath(path);
    size_t shared = 0;
    while (shared < names.size() && shared < chain_.size() && NameOf(chain_[shared].path) == names[shared]) ++shared;
    chain_.resize(shared);
    for (size_t i = shared; i < names.size(); ++i) {
      Node node = TRY(tree_.Lookup(chain_.empty() ? root_ : chain_.back(), names[i]));
      if (node.kind != Node::Kind::kDirectory) return false;
      chain_.push_back(std::move(node.directory));
    }
    return true;
  }

  // Puts chain_ into the fix-up layer; its parents too, with the attributes that they have anyway.
  Result<void> Restore() {
    for (const Directory& directory : chain_) {
      if (!restored_.insert(directory.path).second) continue;
      TRY(fixup_.AddDirectory(directory.path, TRY(AttributesOf(directory))));
      ++report_.directories_written;
    }
    return {};
  }

  Result<EntryAttributes> AttributesOf(const Directory& directory) const {
    EntryAttributes attributes{.mode = kImplicitMode};
    if (directory.members.empty()) return attributes;  // an image without layers
    const Fd fd = TRY(OpenBeneath(tree_.Described(directory).fd.get(), "", O_RDONLY | O_DIRECTORY));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return FailErrno(errno, "stat \"{}\"", EscapeForLog(directory.path, 120));
    attributes.mode = info.st_mode & 07777;
    attributes.uid = info.st_uid;
    attributes.gid = info.st_gid;
    attributes.mtime = info.st_mtim;
    TRY(ReadXattrs(fd.get(), attributes));
    return attributes;
  }

  Result<void> ReportDirectories() {
    for (const std::string_view path : kReportedDirectories) {
      if (!path.empty() && !TRY(Enter(std::string(path)))) continue;
      const EntryAttributes attributes = TRY(AttributesOf(path.empty() ? root_ : chain_.back()));
      report_.directories[std::string(path)] = {attributes.mode, attributes.uid, attributes.gid};
    }
    return {};
  }

  // The file as a program inside would read it: links are resolved here, in the merged tree, so that none can lead
  // out. "" where there is none. What is no regular file is refused: reading a FIFO or a device could hang or worse
  // (CVE-2024-9676).
  Result<std::string> ReadAccountFile(std::string_view path) {
    std::vector<Directory> parents;
    std::deque<std::string> names;
    const auto prepend = [&names](std::string_view text) {
      std::vector<std::string_view> parts = SplitPath(text);
      for (auto part = parts.rbegin(); part != parts.rend(); ++part) names.emplace_front(*part);
    };
    prepend(path);
    int links = 0;
    while (!names.empty()) {
      const std::string name = std::move(names.front());
      names.pop_front();
      if (name.empty() || name == ".") continue;
      if (name == "..") {
        if (!parents.empty()) parents.pop_back();  // above the root is the root
        continue;
      }
      Node node = TRY(tree_.Lookup(parents.empty() ? root_ : parents.back(), name));
      if (node.kind == Node::Kind::kAbsent) return "";
      if (node.kind == Node::Kind::kDirectory) {
        parents.push_back(std::move(node.directory));
        continue;
      }
      if (!S_ISLNK(node.info.st_mode)) return names.empty() ? ReadRegular(node, name, path) : std::string();
      if (++links > kMaxLinksFollowed) return "";
      std::string target(kMaxLinkBytes + 1, '\0');
      const ssize_t size = ::readlinkat(node.parent, name.c_str(), target.data(), target.size());
      if (size < 0) return FailErrno(errno, "read link {}", path);
      target.resize(static_cast<size_t>(size));
      if (target.starts_with('/')) parents.clear();
      prepend(target);
      if (names.size() > kMaxPathDepth * 2) return "";
    }
    return Fail(ErrorCode::kInvalid, "{} of the image is a directory, not a regular file", path);
  }

  static Result<std::string> ReadRegular(const Node& node, const std::string& name, std::string_view path) {
    if (!S_ISREG(node.info.st_mode)) return Fail(ErrorCode::kInvalid, "{} of the image is not a regular file", path);
    const Fd fd = TRY(OpenBeneath(node.parent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) return FailErrno(errno, "stat {}", path);
    if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalid, "{} of the image is not a regular file", path);
    if (static_cast<uint64_t>(info.st_size) > kMaxAccountFileBytes)
      return Fail(ErrorCode::kInvalid, "{} of the image is larger than {} bytes", path, kMaxAccountFileBytes);
    return ReadAll(fd.get(), kMaxAccountFileBytes);
  }

  MergedTree tree_;
  std::span<const LayerFacts> facts_;
  TreeWriter fixup_;
  Directory root_;
  std::vector<Directory> chain_;
  std::set<std::string> restored_;
  MergeReport report_;
};

}  // namespace

Result<MergeReport> MergeLayers(const MergeOrder& order, std::span<const int> layers, int out) {
  if (order.layers.size() != layers.size())
    return Fail(ErrorCode::kInvalid, "{} layers are there, the order names {}", layers.size(), order.layers.size());
  const std::vector<LayerFacts> top_first(order.layers.rbegin(), order.layers.rend());
  return Merger(layers, top_first, out).Run();
}

}  // namespace caisson::image
