// SPDX-License-Identifier: Apache-2.0
// HandleTable: objects of the launcher that the service names by number. A handle is a slot and the slot's generation,
// so that one that was closed never names what took its place. Belongs to the launcher's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"

namespace caisson::sandbox {

template <typename T>
class HandleTable {
 public:
  explicit HandleTable(size_t capacity) : capacity_(capacity) {}

  size_t size() const { return size_; }
  bool full() const { return size_ >= capacity_; }

  // 0 when the table is full. The object keeps its address until it is erased.
  uint64_t Insert(std::unique_ptr<T> object) {
    if (full()) return 0;
    if (free_.empty()) {
      free_.push_back(slots_.size());
      slots_.emplace_back();
    }
    const size_t index = free_.back();
    free_.pop_back();
    Slot& slot = slots_[index];
    slot.object = std::move(object);
    ++size_;
    return (uint64_t{slot.generation} << 32) | index;
  }

  // Null for a handle that is closed, or was never given out.
  T* Find(uint64_t handle) const {
    const size_t index = handle & 0xffffffff;
    if (index >= slots_.size() || slots_[index].generation != handle >> 32) return nullptr;
    return slots_[index].object.get();
  }

  std::unique_ptr<T> Take(uint64_t handle) {
    if (Find(handle) == nullptr) return nullptr;
    const size_t index = handle & 0xffffffff;
    Slot& slot = slots_[index];
    --size_;
    // A slot whose generations are used up is never given out again.
    if (++slot.generation != 0) free_.push_back(index);
    return std::move(slot.object);
  }

  // The handles at this moment: what is done with one may erase others.
  std::vector<uint64_t> Handles() const {
    std::vector<uint64_t> handles;
    for (size_t index = 0; index < slots_.size(); ++index) {
      if (slots_[index].object) handles.push_back((uint64_t{slots_[index].generation} << 32) | index);
    }
    return handles;
  }

 private:
  struct Slot {
    std::unique_ptr<T> object;
    uint32_t generation = 1;  // so that 0 is no handle
  };

  size_t capacity_;
  size_t size_ = 0;
  std::vector<Slot> slots_;
  std::vector<size_t> free_;
};

}  // namespace caisson::sandbox
