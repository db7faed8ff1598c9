// SPDX-License-Identifier: Apache-2.0
#include "executor/launcher_port.h"

namespace caisson::executor {
namespace {

class ClientPort final : public LauncherPort {
 public:
  explicit ClientPort(sandbox::LauncherClient& client) : client_(client) {}

  Result<sandbox::RootfsHandle> OpenRootfs(std::span<const LayerName> layers_top_first) override {
    return client_.OpenRootfs(layers_top_first);
  }
  Result<void> CloseRootfs(sandbox::RootfsHandle rootfs) override { return client_.CloseRootfs(rootfs); }
  Result<sandbox::Launched> Launch(sandbox::RootfsHandle rootfs, const sandbox::SandboxSpec& spec,
                                   int payload) override {
    return client_.Launch(rootfs, spec, payload);
  }
  Result<void> Stop(sandbox::SandboxHandle handle, std::chrono::milliseconds grace) override {
    return client_.Stop(handle, grace);
  }
  Result<void> Kill(sandbox::SandboxHandle handle) override { return client_.Kill(handle); }
  Result<std::vector<sandbox::RunningSandbox>> List() override { return client_.List(); }
  Result<void> Drained(sandbox::SandboxHandle handle, sandbox::Stream stream, uint64_t position) override {
    return client_.Drained(handle, stream, position);
  }

 private:
  sandbox::LauncherClient& client_;
};

}  // namespace

std::unique_ptr<LauncherPort> MakeLauncherPort(sandbox::LauncherClient& client) {
  return std::make_unique<ClientPort>(client);
}

}  // namespace caisson::executor
