// SPDX-License-Identifier: Apache-2.0
// The janitor's own side (janitor.h): its messages, and the loop of its process.
#pragma once

#include <cstdint>

#include "sandbox/launcher/store_tasks.h"

namespace caisson::sandbox {

enum class JanitorVerb : uint32_t { kHold = 1, kDrop, kCommit, kRetire, kRemove, kSweep, kList, kMeasure };

// Between two processes of one program that trust each other: no versions, no checks beyond the size.
struct JanitorOrder {
  uint64_t ticket;
  JanitorVerb verb;
  uint32_t opaque_count;
  uint8_t layer[32];
  char work[64];  // name in tmp/; of kSweep the run that is kept
};

struct JanitorAnswer {
  uint64_t ticket;
  uint32_t failed;
  uint32_t code;
  int32_t sys_errno;
  char message[508];
};

// Serves orders until the channel closes.
[[noreturn]] void RunJanitor(int channel, StoreDirectories store);

}  // namespace caisson::sandbox
