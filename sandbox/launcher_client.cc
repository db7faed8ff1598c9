// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher_client.h"

#include <sys/socket.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "base/io.h"
#include "base/log.h"
#include "sandbox/channel.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kMaxNodeBytes = 1 << 20;

struct Answered {
  protocol::Reply reply;
  std::vector<Fd> descriptors;
};

// The reply's only descriptor, as List, ListLayers and Node have one.
Result<Fd> TakeFile(Answered answered) {
  if (answered.descriptors.size() != 1) return Fail(ErrorCode::kInternal, "the launcher's reply lacks its memory file");
  return std::move(answered.descriptors[0]);
}

}  // namespace

// The mutex guards the table of callers who wait and `closed_`. Packets are sent outside of it: one sendmsg is one
// packet whole, from whichever thread.
class LauncherClient::Core {
 public:
  Core(Fd channel, LauncherEvents events) : channel_(std::move(channel)), events_(std::move(events)) {
    reader_ = std::thread([this] { Read(); });
  }

  ~Core() {
    {
      const std::lock_guard lock(mutex_);
      leaving_ = true;
    }
    ::shutdown(channel_.get(), SHUT_RDWR);  // wakes the reader
    reader_.join();
  }

  // One round trip. The reply's own error is the call's error.
  Result<Answered> Call(const protocol::Request& request, std::span<const int> descriptors = {}) {
    Waiter waiter;
    uint64_t id;
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return Closed();
      id = ++last_id_;
      waiters_.emplace(id, &waiter);
    }
    const Result<bool> sent = SendPacket(channel_.get(), protocol::Encode(id, request), descriptors, Waiting::kBlock);
    std::unique_lock lock(mutex_);
    if (!sent || !*sent) {
      waiters_.erase(id);
      if (!sent) return tl::unexpected(sent.error());
      return Fail(ErrorCode::kUnavailable, "the launcher does not take the request");
    }
    waiter.done.wait(lock, [&] { return waiter.answered || closed_; });
    waiters_.erase(id);
    if (!waiter.answered) return Closed();
    if (!waiter.answered->reply.result) return tl::unexpected(waiter.answered->reply.result.error());
    return std::move(*waiter.answered);
  }

  Result<void> CallFor(const protocol::Request& request, std::span<const int> descriptors = {}) {
    TRY(Call(request, descriptors));
    return {};
  }

 private:
  struct Waiter {
    std::condition_variable done;
    std::optional<Answered> answered;
  };

  static tl::unexpected<Error> Closed() { return Fail(ErrorCode::kUnavailable, "the launcher has closed its channel"); }

  void Read() {
    for (;;) {
      Result<std::optional<Packet>> packet = ReceivePacket(channel_.get(), Waiting::kBlock);
      if (!packet || !*packet) break;
      Dispatch(std::move(**packet));
    }
    bool tell = false;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      tell = !leaving_;
      for (auto& [id, waiter] : waiters_) waiter->done.notify_one();
    }
    if (tell && events_.on_closed) events_.on_closed();
  }

  void Dispatch(Packet packet) {
    const Result<protocol::Envelope> envelope = protocol::OpenEnvelope(packet.bytes);
    Result<protocol::Answer> answer = protocol::DecodeAnswer(packet.bytes);
    if (!envelope || !answer || !packet.complete) {
      LogError("launcher_answer_unreadable", {{"error", answer ? "incomplete packet" : answer.error().message}});
      return;
    }
    if (auto* reply = std::get_if<protocol::Reply>(&*answer)) {
      const std::lock_guard lock(mutex_);
      const auto waiter = waiters_.find(envelope->request_id);
      if (waiter == waiters_.end()) return;
      waiter->second->answered = Answered{std::move(*reply), std::move(packet.descriptors)};
      waiter->second->done.notify_one();
    } else if (auto* exited = std::get_if<protocol::Exited>(&*answer)) {
      if (events_.on_exited) events_.on_exited(exited->sandbox, std::move(exited->report));
    } else if (auto* done = std::get_if<protocol::WorkerDone>(&*answer)) {
      if (events_.on_worker_done) events_.on_worker_done(done->worker, done->exit);
    }
  }

  const Fd channel_;
  const LauncherEvents events_;
  std::mutex mutex_;
  std::map<uint64_t, Waiter*> waiters_;
  uint64_t last_id_ = 0;
  bool closed_ = false;
  bool leaving_ = false;
  std::thread reader_;
};

LauncherClient::LauncherClient(std::unique_ptr<Core> core) : core_(std::move(core)) {}
LauncherClient::~LauncherClient() = default;

Result<std::unique_ptr<LauncherClient>> LauncherClient::Open(Fd channel, LauncherEvents events) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(channel.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    return FailErrno(errno, "use descriptor {} as the launcher's channel", channel.get());
  if (type != SOCK_SEQPACKET)
    return Fail(ErrorCode::kInvalid, "descriptor {} is not the launcher's channel", channel.get());
  return std::unique_ptr<LauncherClient>(
      new LauncherClient(std::make_unique<Core>(std::move(channel), std::move(events))));
}

// ---- Sandboxes --------------------------------------------------------------------------------------------------

Result<RootfsHandle> LauncherClient::OpenRootfs(std::span<const LayerName> layers_top_first) {
  const Answered answered = TRY(core_->Call(protocol::OpenRootfs{{layers_top_first.begin(), layers_top_first.end()}}));
  return RootfsHandle{answered.reply.handle};
}

Result<void> LauncherClient::CloseRootfs(RootfsHandle handle) { return core_->CallFor(protocol::CloseRootfs{handle}); }

Result<Launched> LauncherClient::Launch(RootfsHandle rootfs, const SandboxSpec& spec, int payload) {
  protocol::Launch request;
  request.rootfs = rootfs;
  request.spec = spec;
  request.argument_count = static_cast<uint32_t>(spec.argv.size());
  request.environment_count = static_cast<uint32_t>(spec.env.size());
  request.has_payload = payload >= 0;
  const Fd arguments = TRY(protocol::PackArguments(spec));
  const int descriptors[] = {arguments.get(), payload};
  Answered answered = TRY(core_->Call(request, std::span(descriptors, payload >= 0 ? 2 : 1)));
  if (answered.descriptors.size() != 2)
    return Fail(ErrorCode::kInternal, "the launcher's reply lacks the sandbox's output pipes");
  return Launched{SandboxHandle{answered.reply.handle}, std::move(answered.descriptors[0]),
                  std::move(answered.descriptors[1]), answered.reply.unenforced};
}

Result<void> LauncherClient::Stop(SandboxHandle handle, std::chrono::milliseconds grace) {
  return core_->CallFor(protocol::Stop{handle, grace});
}

Result<void> LauncherClient::Kill(SandboxHandle handle) { return core_->CallFor(protocol::Kill{handle}); }

Result<std::vector<RunningSandbox>> LauncherClient::List() {
  const Fd file = TRY(TakeFile(TRY(core_->Call(protocol::List{}))));
  return protocol::ReadSandboxes(file.get());
}

Result<void> LauncherClient::Drained(SandboxHandle handle, Stream stream, uint64_t position) {
  return core_->CallFor(protocol::Drained{handle, stream, position});
}

// ---- Store ------------------------------------------------------------------------------------------------------

Result<WorkerHandle> LauncherClient::StartWorker(WorkerVerb verb, int input, int report,
                                                 std::span<const LayerName> layers_top_first) {
  const int descriptors[] = {input, report};
  const protocol::StartWorker request{verb, {layers_top_first.begin(), layers_top_first.end()}};
  return WorkerHandle{TRY(core_->Call(request, descriptors)).reply.handle};
}

Result<void> LauncherClient::KillWorker(WorkerHandle handle) { return core_->CallFor(protocol::KillWorker{handle}); }

Result<void> LauncherClient::CommitLayer(WorkerHandle handle, const LayerName& name,
                                         std::span<const std::string> opaque) {
  const Fd list = TRY(protocol::PackStrings(opaque));
  const int descriptors[] = {list.get()};
  return core_->CallFor(protocol::CommitLayer{handle, name, static_cast<uint32_t>(opaque.size())}, descriptors);
}

Result<void> LauncherClient::DiscardWorker(WorkerHandle handle) {
  return core_->CallFor(protocol::DiscardWorker{handle});
}

Result<void> LauncherClient::RemoveLayer(const LayerName& name) { return core_->CallFor(protocol::RemoveLayer{name}); }

Result<std::vector<StoredLayer>> LauncherClient::ListLayers() {
  const Fd file = TRY(TakeFile(TRY(core_->Call(protocol::ListLayers{}))));
  return protocol::ReadLayers(file.get());
}

// ---- The node ---------------------------------------------------------------------------------------------------

Result<std::string> LauncherClient::Node() {
  const Fd file = TRY(TakeFile(TRY(core_->Call(protocol::Node{}))));
  const size_t size = TRY(CheckSealedMemfd(file.get()));
  if (size > kMaxNodeBytes) return Fail(ErrorCode::kTooLarge, "the launcher's answer has {} bytes", size);
  return ReadAt(file.get(), size, 0);
}

Result<void> LauncherClient::Shutdown() { return core_->CallFor(protocol::Shutdown{}); }

}  // namespace caisson::sandbox
