// SPDX-License-Identifier: Apache-2.0
// Stand-ins for the two parts that the executor talks to and that need root or a network: a launcher whose "programs"
// are functions on threads with real pipes, and an image store that gives scripted answers.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/io.h"
#include "executor/launcher_port.h"
#include "image/image_store.h"
#include "tests/image/fake_image_store.h"

namespace caisson::testing {

// What a program sees: where to print, and whether it is to end.
class ProgramContext {
 public:
  sandbox::SandboxSpec spec;
  std::string payload;
  bool has_payload = false;
  int out = -1;
  int err = -1;

  void Print(std::string_view text) const { (void)WriteAll(out, text); }
  void PrintError(std::string_view text) const { (void)WriteAll(err, text); }
  // Blocks until Stop() or Kill(); false: killed.
  bool WaitForStop();
  void Stop(bool kill);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  bool killed_ = false;
};

using Program = std::function<sandbox::ExitReport(ProgramContext&)>;

sandbox::ExitReport Exited(int code);
sandbox::ExitReport StoppedBy(int signal);

class FakeLauncher final : public executor::LauncherPort {
  template <typename F>
  auto Locked(F f) const {
    const std::lock_guard lock(mutex_);
    return f();
  }

 public:
  ~FakeLauncher() override;

  // Runs for every launch. Set before the first.
  Program program = [](ProgramContext&) { return Exited(0); };
  std::function<void(sandbox::SandboxHandle, sandbox::ExitReport)> on_exited;
  std::optional<Error> launch_error;
  std::function<Result<void>(std::span<const LayerName>)> on_open_rootfs;
  uint32_t unenforced = 0;
  bool report_before_reply = false;  // the exit is told before Launch() returns
  bool refuse_drained = false;       // as once an exit is reported
  bool keep_pipes_open = false;      // a grandchild holds them after the exit

  Result<sandbox::RootfsHandle> OpenRootfs(std::span<const LayerName> layers_top_first) override;
  Result<void> CloseRootfs(sandbox::RootfsHandle rootfs) override;
  Result<sandbox::Launched> Launch(sandbox::RootfsHandle rootfs, const sandbox::SandboxSpec& spec,
                                   int payload) override;
  Result<void> Stop(sandbox::SandboxHandle handle, std::chrono::milliseconds grace) override;
  Result<void> Kill(sandbox::SandboxHandle handle) override;
  Result<std::vector<sandbox::RunningSandbox>> List() override;
  Result<void> Drained(sandbox::SandboxHandle handle, sandbox::Stream stream, uint64_t position) override;

  // A sandbox of an earlier service: listed until it was killed.
  void AddForeign(const std::string& id);

  int launches() const {
    return Locked([&] { return launches_; });
  }
  int open_rootfs() const {
    return Locked([&] { return open_rootfs_; });
  }
  int running() const;
  int stops() const {
    return Locked([&] { return stops_; });
  }
  int kills() const {
    return Locked([&] { return kills_; });
  }
  int greatest_beside_itself() const {
    return Locked([&] { return beside_itself_; });
  }
  std::chrono::milliseconds last_grace() const {
    return Locked([&] { return last_grace_; });
  }
  uint64_t drained(sandbox::Stream stream) const;

 private:
  struct Sandbox {
    ProgramContext context;
    Pipe pipes[2];
    uint64_t drained[2] = {0, 0};
    bool exited = false;
    std::thread thread;
  };
  void RunProgram(sandbox::SandboxHandle handle, Sandbox& sandbox);
  Sandbox* FindRunning(sandbox::SandboxHandle handle);  // under mutex_

  mutable std::mutex mutex_;
  std::map<uint64_t, std::unique_ptr<Sandbox>> sandboxes_;
  std::map<uint64_t, std::string> foreign_;
  uint64_t last_handle_ = 0;
  int launches_ = 0, open_rootfs_ = 0, stops_ = 0, kills_ = 0, beside_itself_ = 0;
  std::chrono::milliseconds last_grace_{0};
};

class FakeImages final : public FakeImageStore {
 public:
  FakeImages();

  std::function<Result<Digest>(const std::string&, const image::PullContext&)> on_resolve;
  std::function<Result<void>(const image::ResolvedReference&, bool may_use_cached, const image::PullContext&)> on_pull;
  image::ImageRecord record;
  std::optional<image::RememberedTag> tag;  // of every reference

  Result<image::ResolvedReference> Resolve(const std::string& reference, image::PullPolicy policy,
                                           const image::PullContext& context) override;
  Result<image::ImageRecord> Pull(const image::ResolvedReference& reference, bool may_use_cached,
                                  const image::PullContext& context) override;
  Result<std::optional<image::RememberedTag>> FindTag(const std::string&, const std::string&) override { return tag; }
  Result<std::vector<image::ImageRecord>> List() override { return std::vector{record}; }
  Result<std::optional<image::ImageRecord>> Find(const Digest&) override { return std::optional(record); }

  int resolves() const;
  std::vector<image::PullPolicy> policies() const;  // of each Resolve()
  std::vector<bool> pulls() const;                  // may_use_cached of each
  std::vector<Digest> pulled_digests() const;

 private:
  mutable std::mutex mutex_;
  int resolves_ = 0;
  std::vector<image::PullPolicy> policies_;
  std::vector<bool> pulls_;
  std::vector<Digest> pulled_digests_;
};

Digest DigestOf(char digit);

}  // namespace caisson::testing
