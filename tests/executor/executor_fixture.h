// SPDX-License-Identifier: Apache-2.0
// An executor between a real store and log store and fakes of launcher and images.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "executor/executor.h"
#include "tests/executor/fakes.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::executor {

using queue::JobId;
using queue::JobRecord;
using queue::JobSpec;
using queue::JobState;
using queue::Reason;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::DigestOf;
using testing::Exited;
using testing::FakeImages;
using testing::FakeLauncher;
using testing::ProgramContext;
using testing::StoppedBy;

inline constexpr queue::TenantId kTenant{1};
inline constexpr auto kPatience = seconds(60);  // only a test that fails waits so long

class ExecutorTest : public ::testing::Test {
 protected:
  ExecutorTest() {
    store_ = queue::OpenSqliteStore({.path = directory_.file("store.db")}).value();
    OpenLogs(1 << 20);
    launcher_.on_exited = [this](sandbox::SandboxHandle handle, sandbox::ExitReport report) {
      WaitForExecutor().OnExited(handle, std::move(report));
    };
  }
  ~ExecutorTest() override {
    executor_.reset();  // what is told to it meanwhile still reaches it
    store_->SetListener({});
  }

  void OpenLogs(uint64_t cap) {
    logs_ = queue::OpenLogStore({.directory = directory_.file("logs"), .cap_bytes = cap}).value();
  }
  void Start(int slots = 2) {
    store_->SetListener([this](const JobId&, JobState state) {
      const std::lock_guard lock(mutex_);
      if (state == JobState::kQueued && running_) running_->OnJobQueued();
      changed_.notify_all();
    });
    options_.slots = slots;
    auto executor = Executor::Start(
        options_, {.store = store_.get(), .logs = logs_.get(), .images = &images_, .launcher = &launcher_});
    ASSERT_TRUE(executor) << executor.error().message;
    const std::lock_guard lock(mutex_);
    executor_ = std::move(*executor);
    running_ = executor_.get();
    changed_.notify_all();
  }
  Executor& WaitForExecutor() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ != nullptr; });
    return *running_;
  }
  JobId Submit(JobSpec spec = {}, std::optional<std::string> payload = {}) {
    if (spec.image.empty()) spec.image = "registry.example/tool:1";
    return store_->Submit({kTenant, std::move(spec), std::move(payload)}).value().id;
  }
  JobRecord Get(const JobId& id) { return store_->Get(kTenant, id).value(); }
  template <typename Condition>
  void WaitUntil(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    std::unique_lock lock(mutex_);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      changed_.wait_for(lock, milliseconds(20));  // some conditions have nobody who tells of them
    }
  }
  JobRecord WaitFor(const JobId& id, JobState state) {
    WaitUntil([&] { return Get(id).state == state; });
    return Get(id);
  }
  JobRecord RunOne(JobSpec spec = {}) {
    const JobId id = Submit(std::move(spec));
    WaitUntil([&] { return IsFinal(Get(id).state); });
    return Get(id);
  }
  std::string Log(const JobId& id, std::optional<queue::LogStream> stream = {}) {
    std::string text;
    const std::vector<queue::LogChunk> chunks = logs_->Read(id, 0, 1 << 30, stream).value();
    for (const queue::LogChunk& chunk : chunks) text += chunk.bytes;
    return text;
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> store_;
  std::unique_ptr<queue::LogStore> logs_;
  FakeImages images_;
  FakeLauncher launcher_;
  ExecutorOptions options_{.lease_renewal = milliseconds(50), .tick = milliseconds(10), .poll = milliseconds(200)};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Executor> executor_;
  Executor* running_ = nullptr;
};

inline void Set(std::atomic<bool>& flag) {
  flag = true;
  flag.notify_all();
}

}  // namespace caisson::executor
