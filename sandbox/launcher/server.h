// SPDX-License-Identifier: Apache-2.0
// Server: answers the service's requests and tells it what ended. Everything that comes over the channel is taken for
// hostile: sizes, fields and descriptors are checked before anything happens, handles are generations, and a service
// that does not read is cut off, as the launcher never blocks on it. Sandboxes outlive a lost channel; open root file
// systems and store workers do not. Owned by the launcher's main, on its only thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/channel.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/handle_table.h"
#include "sandbox/launcher/janitor.h"
#include "sandbox/launcher/layer_store.h"
#include "sandbox/launcher/sandbox_table.h"
#include "sandbox/launcher/worker_table.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {

struct ServerOptions {
  int worker_program = -1;  // caisson-worker; borrowed
  std::chrono::milliseconds worker_deadline = kWorkerDeadline;
  std::chrono::milliseconds send_deadline{10'000};  // a service that takes nothing for so long is cut off
  std::string node_json;                            // what Node answers (doctor.h)
  std::function<void()> on_shutdown = [] {};        // the service asked to end everything
};

class Server {
 public:
  // Starts the janitors and has tmp/ swept of what an earlier launcher left.
  static Result<std::unique_ptr<Server>> Start(EventLoop& loop, Environment& environment, ServerOptions options);
  ~Server();

  // A new service's channel; an older one is closed.
  void Connect(Fd channel);
  void Disconnect();
  bool connected() const { return static_cast<bool>(channel_); }

  // Kills every sandbox and worker; `done` runs once all are gone with mounts, cgroups and ids.
  void EndAll(std::function<void()> done);
  size_t running() const { return sandboxes_->running(); }

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<Fd> descriptors;
  };
  // Whom to answer: a reply to a channel that has been replaced goes nowhere.
  struct Caller {
    uint64_t channel = 0;
    uint64_t request = 0;
  };

  Server(EventLoop& loop, Environment& environment, ServerOptions options);
  Result<void> Open();

  // Channel.
  void OnChannel(uint32_t events);
  bool ReceiveOne();
  void Send(Outgoing message);
  void Reply(Caller caller, protocol::Reply reply, std::vector<Fd> descriptors = {});
  void ReplyResult(Caller caller, Result<void> result);
  void Flush();
  void UpdateInterest();
  bool Congested() const;
  void NoteRefused(const Error& error);

  // Requests.
  void Handle(Caller caller, protocol::Request request, std::vector<Fd> descriptors);
  Result<uint64_t> OpenRootfs(const protocol::OpenRootfs& request);
  void Launch(Caller caller, protocol::Launch request, std::vector<Fd> descriptors);
  Result<SandboxTable::Started> TryLaunch(protocol::Launch& request, const std::vector<Fd>& descriptors);
  void StartWorker(Caller caller, const protocol::StartWorker& request, std::vector<Fd> descriptors);
  void StartRemoval(Caller caller, const LayerName& layer, std::vector<Fd> descriptors);
  void RemoveLayer(Caller caller, const LayerName& layer);
  void ListLayers(Caller caller);
  void ReplyFile(Caller caller, Result<Fd> file);
  Result<void> CheckFile(int fd, bool writable) const;
  Result<Fd> Reopen(int pipe) const;
  void CheckEnded();

  EventLoop& loop_;
  Environment& environment_;
  ServerOptions options_;
  dev_t data_device_ = 0;
  std::unique_ptr<LayerStore> store_;
  std::unique_ptr<Janitor> mounts_janitor_;
  std::unique_ptr<Janitor> store_janitor_;
  std::unique_ptr<Janitor> housekeeping_janitor_;  // removals: nobody waits for them, so they are no congestion
  std::unique_ptr<SandboxTable> sandboxes_;
  std::unique_ptr<WorkerTable> workers_;
  HandleTable<std::shared_ptr<const Rootfs>> rootfs_;
  std::function<void()> on_ended_;
  std::chrono::steady_clock::time_point removals_end_;
  EventLoop::TimerId removals_timer_ = 0;

  Fd channel_;
  uint64_t channel_number_ = 0;
  EventLoop::WatchId channel_watch_ = 0;
  EventLoop::TimerId cut_off_timer_ = 0;
  EventLoop::TimerId congestion_timer_ = 0;
  std::deque<Outgoing> outgoing_;
  uint64_t refused_ = 0;
};

}  // namespace caisson::sandbox
