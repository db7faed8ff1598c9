// SPDX-License-Identifier: Apache-2.0
// LayerPins keep a pull and a collection apart. A pull pins every name that it will need (layers, fix-up layer, blobs,
// its own record) before it asks whether the store has it; a collection removes a name only under a removal that no
// pin, old or new, overlaps. What was pinned at any time since the collection began is spared too: it may be part of an
// image whose record came after the collection had read them. Nothing here outlives the process, and nothing needs to:
// a pull dies with it. Safe on any thread; outlives its pins.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace caisson::image {

// Names of other kinds: a manifest may call anything a layer, and pins it before it has proved a thing.
LayerName RecordPin(const Digest& manifest);
LayerName BlobPin(const Digest& blob);

class LayerPins {
 public:
  class Pin {
   public:
    Pin(Pin&& other) noexcept : pins_(std::exchange(other.pins_, nullptr)), names_(std::move(other.names_)) {}
    Pin& operator=(Pin&&) = delete;
    ~Pin();
    // One name more.
    Result<void> Add(const LayerName& name, const std::atomic<bool>* cancelled);

   private:
    friend class LayerPins;
    explicit Pin(LayerPins* pins) : pins_(pins) {}
    LayerPins* pins_;
    std::vector<LayerName> names_;
  };
  // Waits for removals of these names that are under way; kCancelled when `cancelled` (may be null) becomes true.
  Result<Pin> Take(std::span<const LayerName> names, const std::atomic<bool>* cancelled);

  // While it lives, the name cannot be pinned.
  class Removal {
   public:
    Removal(Removal&& other) noexcept : pins_(std::exchange(other.pins_, nullptr)), name_(other.name_) {}
    Removal& operator=(Removal&&) = delete;
    ~Removal();

   private:
    friend class LayerPins;
    Removal(LayerPins* pins, const LayerName& name) : pins_(pins), name_(name) {}
    LayerPins* pins_;
    LayerName name_;
  };
  // One collection at a time: from here on pins are remembered until the next begins.
  void BeginCollection();
  // nullopt: it is pinned, or was since BeginCollection().
  std::optional<Removal> BeginRemoval(const LayerName& name);
  bool IsPinned(const LayerName& name);  // now, or since then

 private:
  Result<void> Add(const LayerName& name, const std::atomic<bool>* cancelled);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<LayerName, int> pinned_;
  std::set<LayerName> pinned_since_;  // the collection began
  std::set<LayerName> leaving_;
};

}  // namespace caisson::image
