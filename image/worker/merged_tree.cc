// SPDX-License-Identifier: Apache-2.0
#include "image/worker/merged_tree.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/encoding.h"
#include "image/worker/beneath.h"

namespace caisson::image {
namespace {

bool Contains(const std::vector<std::string>& sorted, std::string_view path) {
  return std::binary_search(sorted.begin(), sorted.end(), path);
}

bool IsWhiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

}  // namespace

size_t MergedTree::Directory::shown() const {
  return static_cast<size_t>(
      std::count_if(members.begin(), members.end(), [](const Member& member) { return member.shown; }));
}

Result<MergedTree::Directory> MergedTree::Root() const {
  Directory root;
  bool shown = true;
  for (size_t i = 0; i < layers_.size(); ++i) {
    root.members.push_back({i, TRY(OpenBeneath(layers_[i], "", O_PATH | O_DIRECTORY)), shown});
    if (Contains(facts_[i].opaque, "")) shown = false;
  }
  return root;
}

Result<MergedTree::Node> MergedTree::Lookup(const Directory& directory, std::string_view name) const {
  Node node;
  Directory& found = node.directory;
  found.path = directory.path + (directory.path.empty() ? "" : "/") + std::string(name);
  const std::string name_text(name);
  bool shown = true;
  for (const Member& member : directory.members) {
    if (!member.shown) break;
    struct stat info {};
    if (::fstatat(member.fd.get(), name_text.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return FailErrno(errno, "look up \"{}\"", EscapeForLog(found.path, 120));
    }
    if (IsWhiteout(info)) break;
    if (!S_ISDIR(info.st_mode)) {
      if (found.members.empty()) {
        node.kind = Node::Kind::kOther;
        node.parent = member.fd.get();
        node.info = info;
      }
      break;
    }
    found.members.push_back({member.layer, TRY(OpenBeneath(member.fd.get(), name, O_PATH | O_DIRECTORY)), shown});
    if (Contains(facts_[member.layer].replaced, found.path)) break;
    if (Contains(facts_[member.layer].opaque, found.path)) shown = false;
  }
  if (!found.members.empty()) node.kind = Node::Kind::kDirectory;
  return node;
}

const MergedTree::Member& MergedTree::Described(const Directory& directory) const {
  for (const Member& member : directory.members)
    if (!Contains(facts_[member.layer].implicit, directory.path)) return member;
  return directory.members.front();
}

bool MergedTree::ShowsGhosts(const Directory& directory) const {
  return directory.shown() == 1 && Contains(facts_[directory.members.front().layer].whiteouts, directory.path);
}

}  // namespace caisson::image
