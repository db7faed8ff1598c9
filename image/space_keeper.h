// SPDX-License-Identifier: Apache-2.0
// SpaceKeeper: the disk's floor during one pull. Where the pull fits as it is, it only watches the floor. Where it
// would fit without unused images, these go step by step ahead of the bytes that really come: what a manifest only
// claims evicts nobody's image. Belongs to the pull's thread; collects on one of its own, so that the floor is watched
// meanwhile.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "base/result.h"
#include "image/gc.h"
#include "image/store_space.h"

namespace caisson::image {

class SpaceKeeper {
 public:
  // kExhausted, before anything is written, where `bytes` would not fit even without every unused image.
  static Result<std::unique_ptr<SpaceKeeper>> Make(Collector& collector, const StoreSpace& space, uint64_t bytes,
                                                   const std::atomic<bool>* cancelled);
  SpaceKeeper(const SpaceKeeper&) = delete;
  SpaceKeeper& operator=(const SpaceKeeper&) = delete;
  ~SpaceKeeper();

  // Now and then while bytes come; quick. kExhausted: stop.
  Result<void> Look();

 private:
  SpaceKeeper(Collector& collector, const StoreSpace& space, uint64_t ahead)
      : collector_(collector), space_(space), ahead_(ahead) {}
  Result<void> MakeFirstStep(const std::atomic<bool>* cancelled);
  void Collect();

  Collector& collector_;
  const StoreSpace& space_;
  const uint64_t ahead_;  // bytes to keep free above the floor; 0: it fits
  std::atomic<bool> collecting_ = false;
  std::atomic<bool> nothing_left_ = false;  // to collect
  std::thread thread_;
};

}  // namespace caisson::image
