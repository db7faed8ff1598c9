// SPDX-License-Identifier: Apache-2.0
// An image store between a scripted registry and a store in memory, with a clock and a disk that a test sets.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/crypto/crypto.h"
#include "image/image_store.h"
#include "tests/image/memory_store.h"
#include "tests/image/scripted_registry.h"
#include "tests/image/temporary.h"

namespace caisson::image {

class SetClock : public Clock {
 public:
  std::atomic<UnixMillis> now{1'700'000'000'000};
  UnixMillis NowMs() const override { return now; }
  std::chrono::steady_clock::time_point Steady() const override {
    return std::chrono::steady_clock::time_point(std::chrono::milliseconds(now));
  }
};

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    options_.directory = directory_.path() + "/service";
    options_.registries[registry_.address()] = {.plain_http = true};
    options_.store = &layers_;
    options_.min_free_bytes = 100;
    options_.collect_interval = std::chrono::milliseconds(0);
    options_.space = [this](const std::string&) {
      return Result<SpaceInfo>(SpaceInfo{free_bytes_, total_bytes_, free_inodes_, total_inodes_});
    };
    options_.clock = &clock_;
    Open();
  }
  void Open() {
    store_.reset();
    Result<std::unique_ptr<ImageStore>> opened = OpenImageStore(options_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = *std::move(opened);
  }

  std::string Name(const std::string& tag) const { return registry_.address() + "/team/app:" + tag; }
  PullContext For(const std::string& tenant) const { return {.tenant = tenant}; }
  Result<ImageRecord> Pull(const std::string& tag, PullPolicy policy = PullPolicy::kAlways, bool may_use_cached = false,
                           const PullContext& context = {}) {
    clock_.now += 1000;
    return store_->Pull(TRY(store_->Resolve(Name(tag), policy, context)), may_use_cached, context);
  }
  ImageRecord MustPull(const std::string& tag, const std::vector<std::string>& layers) {
    PutImage(registry_, tag, PlainImageOf(layers));
    Result<ImageRecord> record = Pull(tag);
    EXPECT_TRUE(record) << record.error().message;
    return record.value_or(ImageRecord{});
  }
  std::vector<std::string> FilesIn(const std::string& kind) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory + "/" + kind))
      names.push_back(entry.path().filename());
    return names;
  }

  TemporaryDirectory directory_;
  ScriptedRegistry registry_;
  MemoryStore layers_;
  SetClock clock_;
  std::atomic<uint64_t> free_bytes_{1 << 20}, total_bytes_{4 << 20}, free_inodes_{0}, total_inodes_{0};
  ImageStoreOptions options_;
  std::unique_ptr<ImageStore> store_;
};

}  // namespace caisson::image
