// SPDX-License-Identifier: Apache-2.0
#include "image/worker/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/encoding.h"
#include "image/layer/limits.h"
#include "image/layer/path.h"
#include "image/worker/layer_stream.h"
#include "image/worker/tree_sum.h"
#include "image/worker/tree_writer.h"

namespace caisson::image {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueName = ".wh..wh..opq";
constexpr uint64_t kLargeFileBytes = 1 << 20;    // from here on fallocate saves more than it costs
constexpr uint64_t kWriteBackBytes = 128 << 10;  // and early write-back: most bytes are in few files
// Space is taken so far ahead of the contents and no further: a size is but a claim, and the disk is everybody's.
constexpr uint64_t kAllocateAheadBytes = 32 << 20;

std::string Quoted(std::string_view path) { return "\"" + EscapeForLog(path, 120) + "\""; }

tl::unexpected<Error> Refuse(const TarEntry& entry, std::string_view why) {
  return Fail(ErrorCode::kInvalid, "entry {}: {}", Quoted(entry.path), why);
}

// libarchive reading from a LayerStream. An error of the stream is kept here, since it cannot pass through C.
class Archive {
 public:
  explicit Archive(LayerStream& stream) : stream_(stream), archive_(archive_read_new()) {
    archive_read_support_format_tar(archive_.get());
    archive_read_support_format_empty(archive_.get());
  }

  Result<void> Open() {
    if (archive_read_open(archive_.get(), this, nullptr, OnRead, nullptr) != ARCHIVE_OK) return Failure("open");
    return {};
  }
  // Null at the end. A warning counts as an error unless it can only be about text that is not UTF-8: names are not
  // taken from libarchive.
  Result<archive_entry*> NextHeader() {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(archive_.get(), &entry);
    if (result == ARCHIVE_EOF) return nullptr;
    warned_ = result == ARCHIVE_WARN;
    if (result == ARCHIVE_OK || warned_) return entry;
    const bool ours = error_.has_value();  // and says itself where
    Error failure = Failure("read header").value();
    return tl::unexpected(ours ? std::move(failure) : std::move(failure).Context(NextEntry()));
  }
  bool warned() const { return warned_; }
  std::string Warning() const { return EscapeForLog(archive_error_string(archive_.get()) ?: "damaged", 120); }
  struct Piece {
    std::string_view data;
    uint64_t offset = 0;
  };
  // Nothing at the end of the entry.
  Result<std::optional<Piece>> NextData() {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(archive_.get(), &data, &size, &offset);
    if (result == ARCHIVE_EOF) return std::nullopt;
    if (result != ARCHIVE_OK || offset < 0) return Failure("read contents");
    return Piece{{static_cast<const char*>(data), size}, static_cast<uint64_t>(offset)};
  }

 private:
  static la_ssize_t OnRead(archive* archive, void* user, const void** buffer) {
    auto& self = *static_cast<Archive*>(user);
    Result<std::string_view> piece = self.stream_.Next();
    if (!piece) {
      self.error_ = std::move(piece).error();
      archive_set_error(archive, EIO, "stream ended");
      return ARCHIVE_FATAL;
    }
    self.ended_ = piece->empty();
    *buffer = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  }
  // Our own reader's word first: libarchive has several for a stream that ends too early, and none that say so.
  tl::unexpected<Error> Failure(std::string_view what) {
    if (error_) return tl::unexpected(std::move(*error_));
    if (ended_)
      if (Result<void> whole = stream_.headers().Finish(); !whole) return tl::unexpected(std::move(whole).error());
    return Fail(ErrorCode::kInvalid, "tar archive: {}: {}", what, Warning());
  }
  // libarchive names no entry: it is the one whose header has passed our reader and not yet come out of libarchive.
  std::string NextEntry() {
    if (TarEntry next; stream_.headers().Take(next)) return "entry " + Quoted(next.path);
    return stream_.headers().Position();
  }

  struct Free {
    void operator()(archive* archive) const { archive_read_free(archive); }
  };
  LayerStream& stream_;
  std::unique_ptr<archive, Free> archive_;
  std::optional<Error> error_;
  bool warned_ = false;
  bool ended_ = false;
};

mode_t FileTypeOf(TarType type) {
  switch (type) {
    case TarType::kFile: return AE_IFREG;
    case TarType::kHardLink: return 0;
    case TarType::kSymlink: return AE_IFLNK;
    case TarType::kCharDevice: return AE_IFCHR;
    case TarType::kBlockDevice: return AE_IFBLK;
    case TarType::kDirectory: return AE_IFDIR;
    case TarType::kFifo: return AE_IFIFO;
  }
  return 0;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; });
}

// Names are compared where libarchive leaves them alone.
bool SameName(std::string_view ours, const char* theirs) { return !IsAscii(ours) || ours == (theirs ?: ""); }

// Whether libarchive sees the entry that TarHeaders saw.
bool Agree(const TarEntry& ours, archive_entry* theirs) {
  const char* link = archive_entry_hardlink(theirs);
  // Docker and buildah put the file's type into the mode too: a hard link then counts as the file that it is.
  const auto type = archive_entry_filetype(theirs);
  const bool same_type = type == FileTypeOf(ours.type) || (ours.type == TarType::kHardLink && type == AE_IFREG);
  return same_type && (link != nullptr) == (ours.type == TarType::kHardLink) &&
         static_cast<uint64_t>(archive_entry_size(theirs)) == ours.size &&
         // (libarchive makes the mode anew from an ACL, which we drop)
         (ours.dropped_attributes > 0 || (archive_entry_perm(theirs) & 07777) == ours.mode) &&
         static_cast<uint64_t>(archive_entry_uid(theirs)) == ours.uid &&
         static_cast<uint64_t>(archive_entry_gid(theirs)) == ours.gid &&
         SameName(ours.path, archive_entry_pathname(theirs)) && (!link || SameName(ours.link, link)) &&
         (ours.type != TarType::kSymlink || SameName(ours.link, archive_entry_symlink(theirs)));
}

// How many bytes the map of a sparse file names. libarchive shows no map where one piece covers the whole file.
uint64_t MappedBytes(archive_entry* sparse, uint64_t size) {
  if (archive_entry_sparse_reset(sparse) == 0) return size;
  la_int64_t offset = 0, length = 0;
  uint64_t bytes = 0;
  while (archive_entry_sparse_next(sparse, &offset, &length) == ARCHIVE_OK) bytes += static_cast<uint64_t>(length);
  return bytes;
}

class Unpacker {
 public:
  Unpacker(LayerStream& stream, int out, const UnpackLimits& limits)
      : limits_(limits), stream_(stream), archive_(stream), tree_(out, limits) {}

  Result<UnpackReport> Run() {
    TRY(archive_.Open());
    while (archive_entry* theirs = TRY(archive_.NextHeader())) {
      TarEntry entry;
      if (!stream_.headers().Take(entry) || !Agree(entry, theirs))
        return Refuse(entry, "its header can be read in two ways");
      if (archive_.warned() && IsAscii(entry.path) && IsAscii(entry.link)) return Refuse(entry, archive_.Warning());
      if (++report_.entries > limits_.entries)
        return Fail(ErrorCode::kTooLarge, "the layer has more than {} entries", limits_.entries);
      TRY(Apply(entry, entry.sparse ? MappedBytes(theirs, entry.size) : entry.size));
    }
    TRY(stream_.Drain());
    if (TarEntry left; stream_.headers().Take(left)) return Refuse(left, "it stands behind the end of the archive");
    TreeWriter::Finished finished = TRY(tree_.Finish());
    report_.facts = std::move(finished.facts);
    report_.tree_sum = finished.sum;
    report_.unpacked_bytes = stream_.bytes();
    report_.diff_id = stream_.TakeDigest();
    return std::move(report_);
  }

 private:
  Result<void> Apply(const TarEntry& entry, uint64_t mapped_bytes) {
    const std::string path = TRY(NormaliseLayerPath(entry.path));
    const std::string_view parent = ParentOf(path);
    for (const std::string_view name : SplitPath(parent))
      if (name.starts_with(kWhiteoutPrefix)) return Refuse(entry, "a whiteout is no directory");
    if (NameOf(path).starts_with(kWhiteoutPrefix)) return ApplyWhiteout(entry, path);
    if (path.empty() && entry.type != TarType::kDirectory) return Refuse(entry, "the root is not a directory");
    const EntryAttributes attributes = TRY(AttributesOf(entry));
    switch (entry.type) {
      case TarType::kFile: return WriteFile(entry, path, attributes, mapped_bytes);
      case TarType::kDirectory: return tree_.AddDirectory(path, attributes);
      case TarType::kSymlink: return ApplySymlink(entry, path, attributes);
      case TarType::kHardLink: return ApplyHardLink(entry, path);
      case TarType::kFifo: return tree_.AddFifo(path, attributes);
      case TarType::kCharDevice:
      case TarType::kBlockDevice: return SkipDevice(entry);
    }
    return Refuse(entry, "unknown type");
  }

  Result<void> ApplyWhiteout(const TarEntry& entry, const std::string& path) {
    const std::string_view name = NameOf(path);
    const std::string parent(ParentOf(path));
    if (name == kOpaqueName) return tree_.AddOpaque(parent);
    const std::string_view hidden = name.substr(kWhiteoutPrefix.size());
    if (hidden.starts_with(kWhiteoutPrefix)) return Refuse(entry, "unknown kind of whiteout");
    if (hidden.empty() || hidden == "." || hidden == "..") return Refuse(entry, "whiteout of no name");
    return tree_.AddWhiteout(parent.empty() ? std::string(hidden) : parent + "/" + std::string(hidden));
  }

  Result<EntryAttributes> AttributesOf(const TarEntry& entry) {
    constexpr uint64_t kNoId = 0xffffffff;  // means "leave it" to chown: a way to keep root as owner
    if (entry.uid >= kNoId || entry.gid >= kNoId) return Refuse(entry, "its owner is not a valid number");
    EntryAttributes attributes{
        .mode = entry.mode, .uid = static_cast<uint32_t>(entry.uid), .gid = static_cast<uint32_t>(entry.gid)};
    attributes.mtime = {.tv_sec = entry.mtime_seconds, .tv_nsec = entry.mtime_nanoseconds};
    if (entry.uid > kMaxStoredId || entry.gid > kMaxStoredId) {
      if (entry.uid > kMaxStoredId) attributes.uid = kOverflowId;
      if (entry.gid > kMaxStoredId) attributes.gid = kOverflowId;
      attributes.mode &= ~static_cast<uint32_t>(S_ISUID | S_ISGID);  // they would run as somebody else
      ++report_.ids_changed;
    }
    report_.xattrs_dropped += entry.dropped_attributes;
    for (const auto& [name, value] : entry.xattrs) {
      if (name.starts_with("trusted."))
        return Refuse(entry, "it sets " + EscapeForLog(name, 80) + ", which is the host's");
      const bool fits =
          entry.type == TarType::kFile || entry.type == TarType::kDirectory;  // the kernel allows no others
      const bool plain = name.find('\0') == std::string::npos;
      if (fits && plain && name.starts_with("user.") && name.size() > 5 && !name.starts_with("user.overlay.")) {
        attributes.xattrs.emplace_back(name, value);
      } else {
        ++report_.xattrs_dropped;  // security.* could not act in a job, user.overlay.* could
      }
    }
    return attributes;
  }

  Result<void> WriteFile(const TarEntry& entry, const std::string& path, const EntryAttributes& attributes,
                         uint64_t mapped_bytes) {
    file_bytes_ += entry.size;
    if (file_bytes_ > limits_.unpacked_bytes)
      return Fail(ErrorCode::kTooLarge, "the layer's files have more than {} bytes", limits_.unpacked_bytes);
    Fd file = TRY(tree_.AddFile(path, attributes));
    contents_.Reset();
    uint64_t allocated = 0, written = 0;
    while (const std::optional<Archive::Piece> piece = TRY_IN("entry " + Quoted(entry.path), archive_.NextData())) {
      TRY(AllocateAhead(file.get(), *piece, entry, allocated));
      TRY(WriteAt(file.get(), *piece, entry));
      written += piece->data.size();
    }
    if (entry.sparse && written != mapped_bytes) return Refuse(entry, "its map of pieces is not that of its contents");
    contents_.UpdateZeros(entry.size - contents_.size());
    // The disk begins now, so that the syncfs at the commit finds little to do.
    if (entry.size >= kWriteBackBytes) ::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    if (entry.sparse && ::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0)
      return FailErrno(errno, "resize {}", Quoted(path));
    return tree_.FinishFile(std::move(file), path, attributes, contents_);
  }

  Result<void> AllocateAhead(int file, const Archive::Piece& piece, const TarEntry& entry, uint64_t& allocated) {
    if (entry.sparse || entry.size < kLargeFileBytes || piece.offset + piece.data.size() <= allocated) return {};
    const uint64_t ahead = std::min(entry.size - std::min(allocated, entry.size), kAllocateAheadBytes);
    const bool full = ahead > 0 &&
                      ::fallocate(file, 0, static_cast<off_t>(allocated), static_cast<off_t>(ahead)) != 0 &&
                      errno == ENOSPC;
    if (full) return FailErrno(ENOSPC, "write {}", Quoted(entry.path));
    allocated += ahead;
    return {};
  }

  Result<void> WriteAt(int file, Archive::Piece piece, const TarEntry& entry) {
    if (piece.offset > entry.size || piece.data.size() > entry.size - piece.offset)
      return Refuse(entry, "it holds more than it says");
    if (piece.offset < contents_.size()) return Refuse(entry, "its pieces overlap");
    contents_.UpdateZeros(piece.offset - contents_.size());
    contents_.Update(piece.data);
    while (!piece.data.empty()) {
      const ssize_t written = ::pwrite(file, piece.data.data(), piece.data.size(), static_cast<off_t>(piece.offset));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return FailErrno(errno, "write {}", Quoted(entry.path));
      piece.data.remove_prefix(static_cast<size_t>(written));
      piece.offset += static_cast<uint64_t>(written);
    }
    return {};
  }

  Result<void> ApplySymlink(const TarEntry& entry, const std::string& path, const EntryAttributes& attributes) {
    if (entry.link.empty() || entry.link.size() > kMaxLinkBytes)
      return Refuse(entry, "its target is empty or too long");
    return tree_.AddSymlink(path, entry.link, attributes);  // kept as it is: nothing of ours ever follows it
  }

  Result<void> ApplyHardLink(const TarEntry& entry, const std::string& path) {
    const std::string target = TRY_IN("entry " + Quoted(entry.path) + ": hard link", NormaliseLayerPath(entry.link));
    return tree_.AddHardLink(path, target);
  }

  Result<void> SkipDevice(const TarEntry& entry) {
    if (entry.type == TarType::kCharDevice && entry.device_major == 0 && entry.device_minor == 0)
      return Refuse(entry, "it is an overlay whiteout, which no image may carry");
    ++report_.devices_skipped;
    return {};
  }

  const UnpackLimits& limits_;
  LayerStream& stream_;
  Archive archive_;
  TreeWriter tree_;
  UnpackReport report_;
  uint64_t file_bytes_ = 0;
  ContentSum contents_;  // of the file that is being written
};

}  // namespace

Result<UnpackReport> UnpackLayer(int input, int out, const UnpackLimits& limits) {
  LayerInput layer(input, kMaxLayerBytes);
  const UnpackOrder order = TRY(DecodeUnpackOrder(TRY(layer.ReadExactly(kUnpackOrderBytes))));
  layer.SetLimit(order.compressed_bytes);
  const std::unique_ptr<LayerStream> stream =
      TRY(LayerStream::Start(TRY(OpenDecoder(order.compression, layer)), layer, limits));
  UnpackReport report = TRY(Unpacker(*stream, out, limits).Run());
  if (layer.bytes_read() != order.compressed_bytes)
    return Fail(ErrorCode::kInvalid, "the layer ends after {} of {} bytes", layer.bytes_read(), order.compressed_bytes);
  return report;
}

}  // namespace caisson::image
