// SPDX-License-Identifier: Apache-2.0
// SeccompFilter: the job's system call filter, compiled once at start from the profile (sandbox/launcher/
// seccomp_profile.h) and loaded by the child as its last step. Immutable after Compile().
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"

namespace caisson::sandbox {

class SeccompFilter {
 public:
  static Result<SeccompFilter> Compile();
  // Programs to install in this order; each valid for SECCOMP_SET_MODE_FILTER.
  const std::vector<std::vector<sock_filter>>& programs() const { return programs_; }

 private:
  std::vector<std::vector<sock_filter>> programs_;
};

}  // namespace caisson::sandbox
