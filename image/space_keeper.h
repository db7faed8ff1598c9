// SPDX-License-Identifier: Apache-2.0
// SpaceKeeper: the disk's floor during one pull. Where the pull fits as it is, it only watches the floor. Where it
// would fit without unused images, these go step by step ahead of the bytes that really come: what a manifest only
// claims evicts nobody's image. Belongs to the pull's thread.
#pragma once

#include <atomic>
#include <memory>

#include "base/result.h"
#include "image/gc.h"
#include "image/store_space.h"

namespace caisson::image {

class SpaceKeeper {
 public:
  // kExhausted, before anything is written, where `bytes` would not fit even without every unused image.
  static Result<std::unique_ptr<SpaceKeeper>> Make(Collector& collector, const StoreSpace& space, uint64_t bytes,
                                                   const std::atomic<bool>* cancelled);

  // Now and then while bytes come. kExhausted: stop.
  Result<void> Look();

 private:
  SpaceKeeper(Collector& collector, const StoreSpace& space, uint64_t ahead, const std::atomic<bool>* cancelled)
      : collector_(collector), space_(space), ahead_(ahead), cancelled_(cancelled) {}

  Collector& collector_;
  const StoreSpace& space_;
  uint64_t ahead_;  // bytes to keep free above the floor; 0: nothing can or need be collected
  const std::atomic<bool>* const cancelled_;
};

}  // namespace caisson::image
