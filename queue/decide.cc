// SPDX-License-Identifier: Apache-2.0
#include "queue/decide.h"

#include "base/check.h"

namespace caisson::queue {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Disposition::Kind;

constexpr Disposition kSucceeded{.kind = Kind::kDone, .state = JobState::kSucceeded};
constexpr Disposition kFailed{.kind = Kind::kDone, .state = JobState::kFailed};
constexpr Disposition kCancelled{.kind = Kind::kDone, .state = JobState::kCancelled};

Disposition AfterUserFailure(const JobSpec& spec, int failures_before) {
  Disposition disposition = kFailed;
  disposition.counts_for_user = true;
  if (static_cast<uint32_t>(failures_before) + 1 < spec.max_attempts) {
    disposition.kind = Kind::kRetry;
    disposition.delay = milliseconds(seconds(spec.retry_delay_seconds));
  }
  return disposition;
}

// The registry did not answer: 2, 4, 8, 16 s, then no more.
Disposition AfterRegistryFault(int failures_before) {
  const int failures = failures_before + 1;
  Disposition disposition = kFailed;
  disposition.counts_for_platform = true;
  if (failures < kPlatformBudget) {
    disposition.kind = Kind::kRetry;
    disposition.delay = milliseconds(seconds(1 << failures));
  }
  return disposition;
}

Disposition AfterLoss(int failures_before) {
  Disposition disposition = kFailed;
  disposition.counts_for_platform = true;
  if (failures_before + 1 < kPlatformBudget) disposition.kind = Kind::kRequeue;
  return disposition;
}

}  // namespace

Disposition Decide(const Outcome& outcome, const JobSpec& spec, const FailureCount& before, bool cancel_requested) {
  // Work that was done before the stop reached it stays done: success wins over a cancel request.
  if (outcome.reason == Reason::kExited && outcome.exit_code == 0) return kSucceeded;
  if (cancel_requested || outcome.reason == Reason::kCancelled) return kCancelled;
  switch (outcome.reason) {
    case Reason::kExited:
    case Reason::kSignaled:
    case Reason::kTimedOut:
    case Reason::kOomKilled:
    case Reason::kDiskFull: return AfterUserFailure(spec, before.by_user);
    case Reason::kImageError: return outcome.transient ? AfterRegistryFault(before.by_platform) : kFailed;
    case Reason::kLost: return AfterLoss(before.by_platform);
    case Reason::kForeignAbi:
    case Reason::kSetupError:
    case Reason::kExpired: return kFailed;
    case Reason::kCancelled:
    case Reason::kNone: break;
  }
  CHECK(!"an attempt ended without a reason");
  return kFailed;
}

}  // namespace caisson::queue
