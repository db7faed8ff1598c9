// SPDX-License-Identifier: Apache-2.0
#include "image/store_space.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

namespace caisson::image {
namespace {

constexpr uint64_t kMebibyte = 1 << 20;

// Rounded up: "0 MiB needed" would read like a mistake.
uint64_t Mebibytes(uint64_t bytes) { return (bytes + kMebibyte - 1) / kMebibyte; }

// Kept free for logs, records and jobs: a twentieth, or this.
constexpr uint64_t kInodesFloor = 200'000;

double UsedPercent(uint64_t free, uint64_t total) {
  return total == 0 ? 0 : 100.0 * static_cast<double>(total - std::min(free, total)) / static_cast<double>(total);
}

constexpr std::string_view kAdvice =
    "remove images with \"caisson image rm\" or \"caisson image gc\", or make the disk larger";

}  // namespace

double SpaceInfo::used_percent() const {
  return std::max(UsedPercent(free_bytes, total_bytes), UsedPercent(free_inodes, total_inodes));
}

Result<SpaceInfo> SpaceOf(const std::string& directory) {
  struct statvfs info {};
  while (::statvfs(directory.c_str(), &info) != 0)
    if (errno != EINTR) return FailErrno(errno, "look how much space {} has", directory);
  // Blocks that only root may take count as neither: the workers' files are not root's.
  const uint64_t used = (info.f_blocks - info.f_bfree) * info.f_frsize, free = info.f_bavail * info.f_frsize;
  return SpaceInfo{
      .free_bytes = free, .total_bytes = used + free, .free_inodes = info.f_favail, .total_inodes = info.f_files};
}

Result<void> StoreSpace::CheckRoomFor(uint64_t bytes) const {
  const SpaceInfo space = TRY(Now());
  if (space.free_bytes >= floor_bytes_ && space.free_bytes - floor_bytes_ >= bytes) return {};
  return Fail(
      ErrorCode::kExhausted,
      "the image store's disk is too full: this needs about {} MiB, {} MiB are free and {} MiB of them are kept "
      "free (min_free_bytes); {}",
      Mebibytes(bytes), space.free_bytes / kMebibyte, Mebibytes(floor_bytes_), kAdvice);
}

Result<void> StoreSpace::CheckFloor() const {
  const SpaceInfo space = TRY(Now());
  if (space.free_inodes < std::min(space.total_inodes / 20, kInodesFloor))
    return Fail(ErrorCode::kExhausted, "the image store's disk has too many files: room for {} more is left; {}",
                space.free_inodes, kAdvice);
  if (space.free_bytes >= floor_bytes_) return {};
  return Fail(ErrorCode::kExhausted,
              "the image store's disk became too full: {} MiB are free, {} MiB are kept free (min_free_bytes); {}",
              space.free_bytes / kMebibyte, Mebibytes(floor_bytes_), kAdvice);
}

Error StoreSpace::Explain(Error error) const {
  if (error.code != ErrorCode::kExhausted || error.message.find(kAdvice) != std::string::npos) return error;
  const Result<SpaceInfo> space = Now();
  error.message +=
      fmt::format("; the image store's disk has {} MiB free: {}", space ? space->free_bytes / kMebibyte : 0, kAdvice);
  return error;
}

}  // namespace caisson::image
