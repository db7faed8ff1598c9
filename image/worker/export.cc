// SPDX-License-Identifier: Apache-2.0
#include "image/worker/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/encoding.h"
#include "image/layer/limits.h"
#include "image/worker/beneath.h"
#include "image/worker/merged_tree.h"
#include "image/worker/tar_writer.h"
#include "image/worker/tree_writer.h"
#include "image/worker/verify.h"

namespace caisson::image {
namespace {

constexpr size_t kReadBytes = 256 << 10;

class Exporter {
 public:
  Exporter(std::span<const int> layers, std::span<const LayerFacts> facts, FramedWriter& out)
      : tree_(layers, facts), tar_(out) {}

  Result<void> Run() {
    TRY(ExportDirectory(TRY(tree_.Root())));
    return tar_.EndOfArchive();
  }

 private:
  using Directory = MergedTree::Directory;
  using Node = MergedTree::Node;
  using Type = TarWriter::Type;

  // The depth is bounded (kMaxPathDepth), and so are recursion and descriptors.
  Result<void> ExportDirectory(const Directory& directory) {
    TRY_IN(Quoted(directory.path), BeginDirectory(directory));
    for (const std::string& name : TRY_IN(Quoted(directory.path), NamesOf(directory))) {
      const Node node = TRY(tree_.Lookup(directory, name));
      switch (node.kind) {
        case Node::Kind::kAbsent: break;  // whited out
        case Node::Kind::kDirectory: TRY(ExportDirectory(node.directory)); break;
        case Node::Kind::kOther: TRY_IN(Quoted(node.directory.path), ExportOther(node, name)); break;
      }
    }
    return {};
  }

  // What any layer that shows here has, in the order of bytes.
  static Result<std::set<std::string>> NamesOf(const Directory& directory) {
    std::set<std::string> names;
    for (const MergedTree::Member& member : directory.members) {
      if (!member.shown) break;
      for (std::string& name : TRY(NamesIn(member.fd.get()))) names.insert(std::move(name));
    }
    return names;
  }

  Result<void> BeginDirectory(const Directory& directory) {
    TarWriter::Entry entry{Type::kDirectory, directory.path, "", {.mode = kImplicitMode}};
    if (!directory.members.empty()) {  // else an image without layers
      const Fd fd = TRY(OpenBeneath(tree_.Described(directory).fd.get(), "", O_RDONLY | O_DIRECTORY));
      struct stat info {};
      if (::fstat(fd.get(), &info) != 0) return FailErrno(errno, "stat");
      entry.attributes = TRY(ReadAttributes(fd.get(), info));
    }
    return tar_.Begin(entry);
  }

  Result<void> ExportOther(const Node& node, const std::string& name) {
    const std::string& path = node.directory.path;
    if (S_ISREG(node.info.st_mode)) return ExportFile(node, name);
    TarWriter::Entry entry{Type::kFifo, path, "", TRY(ReadAttributes(-1, node.info))};
    if (S_ISFIFO(node.info.st_mode)) return tar_.Begin(entry);
    if (!S_ISLNK(node.info.st_mode)) return Fail(ErrorCode::kCorrupt, "no layer can have what stands there");
    entry.type = Type::kSymlink;
    entry.link = std::string(kMaxLinkBytes + 1, '\0');
    const ssize_t size = ::readlinkat(node.parent, name.c_str(), entry.link.data(), entry.link.size());
    if (size < 0) return FailErrno(errno, "read link");
    entry.link.resize(static_cast<size_t>(size));
    return tar_.Begin(entry);
  }

  Result<void> ExportFile(const Node& node, const std::string& name) {
    const std::string& path = node.directory.path;
    const Fd file = TRY(OpenBeneath(node.parent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return FailErrno(errno, "stat");
    if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kCorrupt, "it was exchanged");
    TarWriter::Entry entry{Type::kFile, path, "", TRY(ReadAttributes(file.get(), info))};
    if (info.st_nlink > 1) {
      const auto [first, is_first] = TRY(NameOfFile(info, path));
      if (!is_first) {
        entry.type = Type::kHardLink;
        entry.link = *first;
        return tar_.Begin(entry);
      }
    }
    entry.size = static_cast<uint64_t>(info.st_size);
    TRY(tar_.Begin(entry));
    return ExportContents(file.get(), entry.size);
  }

  // The name that a file with several was exported under first. Layers have inode numbers of one file system, and a
  // file belongs to one layer, so that the number is enough.
  Result<std::pair<const std::string*, bool>> NameOfFile(const struct stat& info, const std::string& path) {
    const auto [known, is_first] = names_.try_emplace(info.st_ino, path);
    constexpr size_t kOverheadBytes = 160;  // of a map's node
    if (is_first) remembered_bytes_ += path.size() + kOverheadBytes;
    if (remembered_bytes_ > kMaxRememberedBytes)
      return Fail(ErrorCode::kTooLarge, "the image's hard links need too much memory");
    return std::pair<const std::string*, bool>(&known->second, is_first);
  }

  // Holes are written as zeros, without being read.
  Result<void> ExportContents(int file, uint64_t size) {
    for (uint64_t done = 0; done < size;) {
      const off_t data = ::lseek(file, static_cast<off_t>(done), SEEK_DATA);
      if (data < 0 && errno != ENXIO) return FailErrno(errno, "seek");
      const uint64_t start = data < 0 ? size : std::min(static_cast<uint64_t>(data), size);
      TRY(tar_.Zeros(start - done));
      done = start;
      if (done == size) break;
      const off_t hole = ::lseek(file, data, SEEK_HOLE);
      if (hole < 0) return FailErrno(errno, "seek");
      for (const uint64_t end = std::min(static_cast<uint64_t>(hole), size); done < end;) {
        const size_t wanted = static_cast<size_t>(std::min<uint64_t>(buffer_.size(), end - done));
        const ssize_t got = ::pread(file, buffer_.data(), wanted, static_cast<off_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return FailErrno(errno, "read");
        if (got == 0) return Fail(ErrorCode::kCorrupt, "it is cut off");
        TRY(tar_.Contents(std::string_view(buffer_).substr(0, static_cast<size_t>(got))));
        done += static_cast<uint64_t>(got);
      }
    }
    return {};
  }

  static std::string Quoted(std::string_view path) { return "\"" + EscapeForLog(path, 120) + "\""; }

  MergedTree tree_;
  TarWriter tar_;
  std::string buffer_ = std::string(kReadBytes, '\0');
  std::map<ino_t, std::string> names_;
  size_t remembered_bytes_ = 0;
};

}  // namespace

Result<void> ExportTree(const MergeOrder& order, std::span<const int> layers, FramedWriter& out) {
  if (order.layers.size() != layers.size())
    return Fail(ErrorCode::kInvalid, "{} layers are there, the order names {}", layers.size(), order.layers.size());
  const std::vector<LayerFacts> top_first(order.layers.rbegin(), order.layers.rend());
  return Exporter(layers, top_first, out).Run();
}

}  // namespace caisson::image
