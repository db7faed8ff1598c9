// SPDX-License-Identifier: Apache-2.0
// For tests of the launcher as a process: a real one (environment, janitors, request loop) in a child of the test,
// which talks to it as the service would. Data directory below $TMPDIR, on a file system that can be idmapped.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "sandbox/channel.h"
#include "sandbox/launcher_client.h"

namespace caisson::sandbox {

// Events of a client, for a test to wait for.
class Events {
 public:
  LauncherEvents Callbacks();
  ExitReport WaitForExit(SandboxHandle handle);
  WorkerExit WaitForWorker(WorkerHandle handle);
  void WaitForClose();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, ExitReport> exits_;
  std::map<uint64_t, WorkerExit> workers_;
  bool closed_ = false;
};

struct LauncherTestOptions {
  std::chrono::milliseconds worker_deadline{60'000};
  std::chrono::milliseconds send_deadline{10'000};
  std::string init_program;  // empty: caisson-init
};

class LauncherTest : public ::testing::Test {
 protected:
  LauncherTest();
  ~LauncherTest() override;

  // A launcher, and in `client` a service for it.
  void Start(const LauncherTestOptions& options = {});
  // Only the launcher: `channel` is the service's end.
  void StartBare(const LauncherTestOptions& options = {});
  // Closes the channel: the launcher ends everything and exits. Checks that it did so with status 0.
  void End();
  void KillLauncher();

  // A layer with Debian's static busybox; a spec that runs a script with it; an open root file system of that layer.
  LayerName Busybox();
  static SandboxSpec Shell(const std::string& script);
  RootfsHandle OpenBusybox();
  // An empty layer of that first byte, as a directory of the test.
  LayerName MakeLayer(uint8_t first, std::string& path);

  std::string layers() const { return data_dir_ + "/layers"; }
  std::string tmp() const { return data_dir_ + "/tmp"; }
  std::vector<std::string> NamesIn(const std::string& directory) const;
  // Waits until tmp/ is empty.
  void WaitForEmptyTmp() const;

  pid_t launcher() const { return launcher_; }
  std::set<pid_t> Descendants() const;  // of the launcher, janitors excluded
  size_t CountDescriptors() const;      // that the launcher holds
  size_t SettledDescriptors() const;    // the same, once it has closed what its last answers needed
  size_t CountMounts() const;           // in its namespace

  std::string data_dir_;
  Fd channel;
  Events events;
  std::unique_ptr<LauncherClient> client;

 private:
  pid_t launcher_ = -1;
  std::string killed_instance_;  // instance of a launcher that was killed
};

// Everything until the end of file.
std::string ReadToEnd(int pipe);
// Until `count` bytes are there, by tee: they stay in the pipe.
std::string PeekAtLeast(int pipe, size_t count);
// Polls `condition` for a minute at most.
bool Eventually(const std::function<bool()>& condition);

}  // namespace caisson::sandbox
