// SPDX-License-Identifier: Apache-2.0
// StoreSpace: how much of the file system below the image store is free, and whether a pull may take some of it: never
// below a floor, which belongs to jobs' logs, the queue and whoever shares the disk. Safe on any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"

namespace caisson::image {

struct SpaceInfo {
  uint64_t free_bytes = 0;   // that an unprivileged process may take
  uint64_t total_bytes = 0;  // used and free
  uint64_t free_inodes = 0;
  uint64_t total_inodes = 0;    // 0: the file system has as many as it has space for
  double used_percent() const;  // of bytes or of inodes, whichever is scarcer
};

Result<SpaceInfo> SpaceOf(const std::string& directory);  // statvfs

class StoreSpace {
 public:
  using Look = std::function<Result<SpaceInfo>(const std::string& directory)>;
  StoreSpace(std::string directory, uint64_t floor_bytes, Look look = SpaceOf)
      : directory_(std::move(directory)), floor_bytes_(floor_bytes), look_(std::move(look)) {}

  Result<SpaceInfo> Now() const { return look_(directory_); }
  // kExhausted, with how much is needed and free and what to do, unless `bytes` fit above the floor.
  Result<void> CheckRoomFor(uint64_t bytes) const;
  // kExhausted when less than the floor is free, of bytes or of inodes: what a pull asks while it runs.
  Result<void> CheckFloor() const;
  // Of an error of kind kExhausted, which a writer met: the same advice, unless the error has it already.
  Error Explain(Error error) const;
  uint64_t floor_bytes() const { return floor_bytes_; }

 private:
  const std::string directory_;
  const uint64_t floor_bytes_;
  const Look look_;
};

}  // namespace caisson::image
