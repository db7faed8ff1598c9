// SPDX-License-Identifier: Apache-2.0
// TarWriter writes a pax archive: ustar headers, and an extended header before an entry that does not fit into one
// (long or odd names, large sizes, parts of a second, extended attributes). The same entries give the same bytes. Owned
// by one export, on its thread.
#pragma once

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "base/result.h"
#include "image/layer/framed_output.h"
#include "image/worker/entry_attributes.h"

namespace caisson::image {

class TarWriter {
 public:
  explicit TarWriter(FramedWriter& out) : out_(out) {}  // borrowed

  enum class Type : char { kFile = '0', kHardLink = '1', kSymlink = '2', kDirectory = '5', kFifo = '6' };
  struct Entry {
    Type type = Type::kFile;
    std::string path;       // "" is the root
    std::string link = {};  // of links: the target, or the path of the file that it is
    EntryAttributes attributes = {};
    uint64_t size = 0;  // of a file
  };
  Result<void> Begin(const Entry& entry);
  // Exactly `size` bytes of a file's contents, in pieces.
  Result<void> Contents(std::string_view bytes);
  Result<void> Zeros(uint64_t count);
  Result<void> EndOfArchive();

 private:
  Result<void> Pad();
  FramedWriter& out_;
  uint64_t left_ = 0;  // of the file's contents
  uint64_t padding_ = 0;
};

}  // namespace caisson::image
