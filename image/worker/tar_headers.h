// SPDX-License-Identifier: Apache-2.0
// TarHeaders reads the headers out of a tar stream while it passes by on its way to libarchive, and says what each
// entry is. Names, links and attributes come from here and contents from libarchive, and where the two disagree on an
// entry the layer is refused (image/worker/unpack.cc). Why not libarchive alone: it brings names to Unicode's composed
// form, so that two files can become one; it cuts names at a NUL, wraps ids, and reads junk numbers as 0. Strict: what
// two readers could read in two ways is kInvalid. Owned by one unpacking, on its thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::image {

enum class TarType { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

struct TarEntry {
  TarType type = TarType::kFile;
  std::string path;  // as spelled in the archive
  std::string link;  // of links
  uint32_t mode = 0;
  uint64_t uid = 0;
  uint64_t gid = 0;
  int64_t mtime_seconds = 0;
  uint32_t mtime_nanoseconds = 0;
  uint64_t size = 0;  // of the file; the archive may hold less of a sparse one
  bool sparse = false;
  uint64_t device_major = 0;
  uint64_t device_minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;  // SCHILY.xattr.NAME
  uint32_t dropped_attributes = 0;                          // ACLs and other vendors' xattrs
};

class TarHeaders {
 public:
  // Every byte of the stream, in order, in pieces of any size.
  Result<void> Feed(std::string_view bytes);
  // After the last byte: kInvalid when the stream ends inside an entry.
  Result<void> Finish() const;
  // The next entry in order, if its header has passed.
  bool Take(TarEntry& entry);
  // Where the reader stands, for the text of a refusal: behind which entry.
  std::string Position() const;

 private:
  static constexpr size_t kBlock = 512;
  enum class State { kHeader, kMetadata, kBody, kSparseMap, kLoneZeroBlock, kEnd };
  using Records = std::map<std::string, std::string, std::less<>>;

  Result<void> OnBlock(std::string_view block);  // kHeader, kSparseMap, kLoneZeroBlock
  Result<void> OnHeader(std::string_view block);
  Result<void> OnMetadata();
  Result<void> BeginMetadata(char type, uint64_t size);
  Result<void> ParsePax(std::string_view text);
  Result<void> AddPaxRecord(std::string_view key, std::string_view value);
  std::string NameIn(std::string_view block) const;
  Result<void> ReadEntry(std::string_view block, char type);
  Result<void> ApplyPax(TarEntry& entry, uint64_t& stored) const;
  void BeginBody(uint64_t stored);
  void ForgetMetadata();

  State state_ = State::kHeader;
  std::string block_;       // of a block that came in pieces
  uint64_t remaining_ = 0;  // bytes of body or metadata, without padding
  uint64_t padding_ = 0;
  uint64_t body_after_map_ = 0;  // kSparseMap: the body that follows
  char metadata_type_ = 0;
  std::string metadata_;
  // What extended headers have said of the next entry.
  bool has_pax_ = false, has_long_name_ = false, has_long_link_ = false;
  Records pax_;
  std::string long_name_, long_link_;
  std::vector<std::pair<std::string, std::string>> xattrs_;
  uint32_t dropped_attributes_ = 0;
  std::deque<TarEntry> entries_;
  std::string last_name_;
};

}  // namespace caisson::image
