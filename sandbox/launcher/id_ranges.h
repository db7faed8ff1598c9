// SPDX-License-Identifier: Apache-2.0
// IdRanges: host ids for sandboxes and workers, 65,536 at a time, never shared by two that live. The pool is split in
// blocks of 64 ranges; a block belongs to the launcher that holds the flock of its file in /run/caisson-ids (root,
// 0700), so that several instances share one pool. A block that is taken over is used only when no /proc/*/status
// shows an id in it. Belongs to the launcher's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

inline constexpr uint32_t kIdsPerRange = 65536;

// One leased range; gives itself back when destroyed. Hold it until the cgroup is empty, the mounts are gone and the
// upper is deleted.
class IdRange {
 public:
  IdRange() = default;
  IdRange(IdRange&&) noexcept;
  IdRange& operator=(IdRange&&) noexcept;
  ~IdRange();
  uint32_t base() const { return base_; }  // 0: none
  explicit operator bool() const { return base_ != 0; }

 private:
  friend class IdRanges;
  struct Pool;
  std::shared_ptr<Pool> pool_;
  uint32_t base_ = 0;
};

class IdRanges {
 public:
  struct Options {
    uint32_t first = 0x70000000;
    uint32_t last = 0x7FFDFFFF;
    std::string directory = "/run/caisson-ids";
  };
  static Result<IdRanges> Open(const Options& options);
  Result<IdRange> Take();  // kExhausted when every block is taken
  size_t in_use() const;

 private:
  std::shared_ptr<IdRange::Pool> pool_;
};

}  // namespace caisson::sandbox
