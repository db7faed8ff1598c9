// SPDX-License-Identifier: Apache-2.0
// LocalFiles: the files of an image on this side, by name: those of a directory, or those of a tar archive (also gzip
// or zstd), unpacked into a temporary directory under names of our own. No name from the archive is ever a path here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::cli {

class LocalFiles {
 public:
  virtual ~LocalFiles() = default;
  virtual bool Has(const std::string& name) const = 0;
  // A regular file, for reading from its start. Links inside an archive are followed inside it. kNotFound.
  virtual Result<Fd> Open(const std::string& name) const = 0;
};

// `path` is a directory or an archive; errors say what it is instead. The temporary files are gone with the object.
Result<std::unique_ptr<LocalFiles>> OpenLocalFiles(const std::string& path, const std::string& temporary_directory);

// "./a/../b//c" is "b/c"; empty for what would leave the archive. Pure.
std::string NormalName(std::string_view name);

uint64_t SizeOfFile(int fd);
// A whole small file; kTooLarge past `limit`.
Result<std::string> ReadSmall(const LocalFiles& files, const std::string& name, size_t limit);

}  // namespace caisson::cli
