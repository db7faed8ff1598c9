// SPDX-License-Identifier: Apache-2.0
// LauncherPort: what the executor needs of the launcher, as sandbox::LauncherClient gives it (the adapter is beside
// this file), so that a test can stand in for a launcher. Calls block for one round trip; safe on any thread.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "sandbox/launcher_client.h"
#include "sandbox/spec.h"

namespace caisson::executor {

// The comments of sandbox::LauncherClient apply.
class LauncherPort {
 public:
  virtual ~LauncherPort() = default;
  virtual Result<sandbox::RootfsHandle> OpenRootfs(std::span<const LayerName> layers_top_first) = 0;
  virtual Result<void> CloseRootfs(sandbox::RootfsHandle rootfs) = 0;
  virtual Result<sandbox::Launched> Launch(sandbox::RootfsHandle rootfs, const sandbox::SandboxSpec& spec,
                                           int payload) = 0;
  virtual Result<void> Stop(sandbox::SandboxHandle handle, std::chrono::milliseconds grace) = 0;
  virtual Result<void> Kill(sandbox::SandboxHandle handle) = 0;
  virtual Result<std::vector<sandbox::RunningSandbox>> List() = 0;
  virtual Result<void> Drained(sandbox::SandboxHandle handle, sandbox::Stream stream, uint64_t position) = 0;
};

// `client` is borrowed.
std::unique_ptr<LauncherPort> MakeLauncherPort(sandbox::LauncherClient& client);

}  // namespace caisson::executor
