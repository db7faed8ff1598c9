// SPDX-License-Identifier: Apache-2.0
#include "image/space_keeper.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace caisson::image {
namespace {

constexpr uint64_t kStepBytes = 1ull << 30;
// After a collection: the files of removed layers go away behind our back, some thousand a second.
constexpr std::chrono::seconds kRemovalPatience{30};
constexpr std::chrono::milliseconds kLookAtDisk{100};

}  // namespace

Result<std::unique_ptr<SpaceKeeper>> SpaceKeeper::Make(Collector& collector, const StoreSpace& space, uint64_t bytes,
                                                       const std::atomic<bool>* cancelled) {
  uint64_t ahead = 0;
  if (Result<void> room = space.CheckRoomFor(bytes); !room) {
    if (room.error().code != ErrorCode::kExhausted) return tl::unexpected(std::move(room).error());
    if (!TRY(collector.CouldFree(bytes))) return tl::unexpected(std::move(room).error());
    ahead = std::min(bytes, kStepBytes);
  }
  auto keeper = std::unique_ptr<SpaceKeeper>(new SpaceKeeper(collector, space, ahead, cancelled));
  TRY(keeper->Look());
  return keeper;
}

Result<void> SpaceKeeper::Look() {
  if (ahead_ == 0 || space_.CheckRoomFor(ahead_)) return space_.CheckFloor();
  const CollectReport report = TRY(collector_.Collect({.bytes_needed = ahead_}));
  if (report.bytes == 0) ahead_ = 0;  // nothing more to get
  // The disk tells nobody when a removed file's blocks are free again: it has to be looked at.
  const auto end = std::chrono::steady_clock::now() + kRemovalPatience;
  while (report.bytes > 0 && !space_.CheckRoomFor(ahead_) && std::chrono::steady_clock::now() < end &&
         !(cancelled_ && cancelled_->load()))
    std::this_thread::sleep_for(kLookAtDisk);
  return space_.CheckFloor();
}

}  // namespace caisson::image
