// SPDX-License-Identifier: Apache-2.0
// What the launcher and pid 1 (sandbox/init) say to each other. Shared by a program with libc and one without:
// plain values only.
//
// pid 1 is exec'd as
//   caisson-init STOP_SIGNAL PAYLOAD ARGV...
// with the payload's environment: STOP_SIGNAL in decimal, PAYLOAD "1" where descriptors 4 and 5 are the payload's
// source and file, else "0". Descriptor 3 is the status pipe, on which pid 1 writes InitRecords, each in one write.
// SIGTERM to pid 1 means: give the payload its stop signal now.
#pragma once

#include <stdint.h>

namespace caisson::sandbox {

inline constexpr int kStatusDescriptor = 3;
inline constexpr int kPayloadSourceDescriptor = 4;
inline constexpr int kPayloadFileDescriptor = 5;
inline constexpr int kFirstForeignDescriptor = 6;
inline constexpr int kInitWords = 3;  // argv entries before the payload's own

enum class InitEvent : uint32_t {
  kCopyFailed = 1,  // value = errno: the payload could not be written to its file
  kExecuted = 2,    // the payload has been exec'd
  kExecFailed = 3,  // value = errno
  kEnded = 4,       // value = the payload's wait status
};

struct InitRecord {
  InitEvent event;
  int32_t value;
  uint64_t peak_rss_kib;  // of the largest process that pid 1 has reaped; with kEnded only
};
static_assert(sizeof(InitRecord) == 16);

}  // namespace caisson::sandbox
