// SPDX-License-Identifier: Apache-2.0
// The bytes of the channel's messages (sandbox/protocol.h has their meaning): one fixed-size struct a verb, in the
// machine's own byte order, since both ends run on one machine. No implicit padding, so that no byte of the sender's
// memory travels unseen. Only protocol.cc and its tests include this.
#pragma once

#include <cstdint>
#include <type_traits>

#include "sandbox/protocol.h"

namespace caisson::sandbox::protocol::wire {

struct Header {
  uint32_t magic;
  uint16_t version;
  uint16_t verb;
  uint64_t request_id;
};

struct Nothing {
  Header header;
};

struct OneHandle {
  Header header;
  uint64_t handle;
};

struct OpenRootfs {
  Header header;
  uint64_t layer_count;
  uint8_t layers[kMaxLayers][32];
};

struct Attributes {
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
};

struct Launch {
  Header header;
  uint64_t rootfs;
  uint64_t memory_bytes;
  uint64_t disk_bytes;
  uint64_t timeout_ms;
  uint64_t grace_ms;
  uint32_t argument_count;
  uint32_t environment_count;
  uint32_t has_payload;  // 0 or 1
  uint32_t cpu_millis;
  uint32_t pids;
  uint32_t stop_signal;
  uint32_t uid;
  uint32_t gid;
  uint32_t group_count;
  uint32_t groups[kMaxGroups];
  Attributes mount_points[static_cast<size_t>(MountPoint::kCount)];
  char id[64];
  char working_dir[kMaxPathBytes + 1];
};

struct Stop {
  Header header;
  uint64_t sandbox;
  uint64_t grace_ms;
};

struct Drained {
  Header header;
  uint64_t sandbox;
  uint64_t position;
  uint64_t stream;
};

struct StartWorker {
  Header header;
  uint32_t verb;
  uint32_t layer_count;
  uint8_t layers[kMaxLayers][32];
};

struct CommitLayer {
  Header header;
  uint64_t worker;
  uint64_t opaque_count;
  uint8_t name[32];
};

struct RemoveLayer {
  Header header;
  uint8_t name[32];
};

struct Reply {
  Header header;
  uint64_t handle;
  uint32_t failed;  // 0 or 1; the next two and the text count only with 1
  uint32_t code;    // ErrorCode
  int32_t sys_errno;
  uint32_t unenforced;
  uint32_t message_bytes;
  char message[kMaxErrorBytes];
  uint32_t zero;
};

struct Measured {
  uint64_t known;  // 0 or 1
  uint64_t value;
};

struct Timing {
  char step[28];
  uint32_t micros;
};

struct Exited {
  Header header;
  uint64_t sandbox;
  uint32_t kind;
  int32_t status;
  uint8_t timed_out;
  uint8_t stopped;
  uint8_t oom;
  uint8_t disk_full;
  uint8_t foreign_abi;
  uint8_t zero[3];
  Measured cpu_micros;
  Measured memory_peak_bytes;
  Measured pids_peak;
  char step[64];
  uint64_t timing_count;
  Timing timings[kMaxTimings];
};

struct WorkerDone {
  Header header;
  uint64_t worker;
  int32_t wait_status;
  uint32_t timed_out;
};

// Records of the memory files.
struct Sandbox {
  uint64_t handle;
  char id[64];
};

struct Layer {
  uint8_t name[32];
  uint64_t bytes;
  uint64_t in_use;
};

template <typename T>
inline constexpr bool kIsWire = std::is_trivially_copyable_v<T>&& std::has_unique_object_representations_v<T>;
static_assert(kIsWire<Nothing> && kIsWire<OneHandle> && kIsWire<OpenRootfs> && kIsWire<Launch> && kIsWire<Stop> &&
              kIsWire<Drained> && kIsWire<StartWorker> && kIsWire<CommitLayer> && kIsWire<RemoveLayer> &&
              kIsWire<Reply> && kIsWire<Exited> && kIsWire<WorkerDone> && kIsWire<Sandbox> && kIsWire<Layer>);
static_assert(sizeof(Launch) <= kMaxMessageBytes && sizeof(Exited) <= kMaxMessageBytes);

}  // namespace caisson::sandbox::protocol::wire
