// SPDX-License-Identifier: Apache-2.0
#include "image/space_keeper.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/log.h"

namespace caisson::image {
namespace {

constexpr uint64_t kStepBytes = 1ull << 30;
// After a collection: the files of removed layers go away behind our back, some thousand a second.
constexpr std::chrono::seconds kRemovalPatience{30};
constexpr std::chrono::milliseconds kLookAtDisk{100};

}  // namespace

Result<std::unique_ptr<SpaceKeeper>> SpaceKeeper::Make(Collector& collector, const StoreSpace& space, uint64_t bytes,
                                                       const std::atomic<bool>* cancelled) {
  Result<void> room = space.CheckRoomFor(bytes);
  if (!room && room.error().code != ErrorCode::kExhausted) return tl::unexpected(std::move(room).error());
  if (!room && !TRY(collector.CouldFree(bytes))) return tl::unexpected(std::move(room).error());
  auto keeper = std::unique_ptr<SpaceKeeper>(new SpaceKeeper(collector, space, room ? 0 : std::min(bytes, kStepBytes)));
  if (!room) TRY(keeper->MakeFirstStep(cancelled));
  TRY(space.CheckFloor());
  return keeper;
}

SpaceKeeper::~SpaceKeeper() {
  if (thread_.joinable()) thread_.join();
}

// Nothing is written yet, so there is time.
Result<void> SpaceKeeper::MakeFirstStep(const std::atomic<bool>* cancelled) {
  if (space_.CheckRoomFor(ahead_)) return {};
  const CollectReport report = TRY(collector_.Collect({.bytes_needed = ahead_}));
  // The disk tells nobody when a removed file's blocks are free again: it has to be looked at.
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  const auto end = std::chrono::steady_clock::now() + kRemovalPatience;
  while (report.bytes > 0 && !space_.CheckRoomFor(ahead_) && std::chrono::steady_clock::now() < end &&
         !(cancelled && cancelled->load()))
    never.wait_for(lock, kLookAtDisk);
  return space_.CheckRoomFor(ahead_);
}

Result<void> SpaceKeeper::Look() {
  if (ahead_ > 0 && !nothing_left_ && !collecting_ && !space_.CheckRoomFor(ahead_)) {
    if (thread_.joinable()) thread_.join();  // it has ended
    collecting_ = true;
    thread_ = std::thread([this] { Collect(); });
  }
  return space_.CheckFloor();
}

void SpaceKeeper::Collect() {
  const Result<CollectReport> report = collector_.Collect({.bytes_needed = ahead_});
  if (!report) LogWarn("images_not_collected", {{"error", report.error().message}, {"effect", "a pull may stop"}});
  if (!report || report->bytes == 0) nothing_left_ = true;
  collecting_ = false;
}

}  // namespace caisson::image
