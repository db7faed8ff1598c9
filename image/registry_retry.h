// SPDX-License-Identifier: Apache-2.0
// RetryPlan: whether a request that failed is tried again, and after which wait: what the server asks for, else a
// doubling wait with jitter, so that many nodes that fail together do not come back together. For one request, on one
// thread; does not wait itself.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "image/registry_access.h"

namespace caisson::image {

inline constexpr std::chrono::minutes kMaxRetryAfter{5};  // a server that asks for more gets this

class RetryPlan {
 public:
  RetryPlan(const RegistryTiming& timing, bool interactive);

  // After a try that took `took`: how long to wait before the next one, nullopt for no more. `asked` is what the server
  // wants, `random` from 0 to 1.
  std::optional<std::chrono::milliseconds> NextWait(std::chrono::milliseconds took,
                                                    std::optional<std::chrono::seconds> asked, double random);
  // "; 3 tries, 750 ms of waiting": for the error that ends it. "" where the first try was the only one and the server
  // asked for nothing.
  std::string Summary() const;

 private:
  const RegistryTiming timing_;
  const std::chrono::milliseconds patience_;
  int tries_ = 0;
  std::chrono::milliseconds spent_{0};  // tries and waits
  std::chrono::milliseconds waited_{0};
  std::optional<std::chrono::seconds> refused_wait_;  // longer than our patience
};

}  // namespace caisson::image
