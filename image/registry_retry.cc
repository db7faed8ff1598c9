// SPDX-License-Identifier: Apache-2.0
#include "image/registry_retry.h"

#include <fmt/core.h>

#include <algorithm>

namespace caisson::image {

using std::chrono::milliseconds;
using std::chrono::seconds;

RetryPlan::RetryPlan(const RegistryTiming& timing, bool interactive)
    : timing_(timing), patience_(interactive ? timing.interactive_patience : timing.patience) {}

std::optional<milliseconds> RetryPlan::NextWait(milliseconds took, std::optional<seconds> asked, double random) {
  ++tries_;
  spent_ += took;
  const milliseconds backoff = timing_.first_wait * (1 << std::min(tries_ - 1, 16));
  const milliseconds jittered(static_cast<int64_t>(static_cast<double>(backoff.count()) * (0.5 + random / 2)));
  const milliseconds wait = asked ? std::min<milliseconds>(*asked, kMaxRetryAfter) : jittered;
  if (spent_ + wait > patience_) {
    refused_wait_ = asked;
    return std::nullopt;
  }
  if (tries_ >= timing_.tries) return std::nullopt;
  spent_ += wait;
  waited_ += wait;
  return wait;
}

std::string RetryPlan::Summary() const {
  std::string text;
  if (tries_ > 1) text = fmt::format("; gave up after {} tries and {:.1f} s of waiting", tries_, waited_.count() / 1e3);
  if (refused_wait_) text += fmt::format("; it asks to be left alone for {} s", refused_wait_->count());
  return text;
}

}  // namespace caisson::image
