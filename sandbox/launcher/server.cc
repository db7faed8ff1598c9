// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <bit>
#include <cerrno>

#include "base/check.h"
#include "base/encoding.h"
#include "base/io.h"
#include "base/log.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kMaxRootfs = 4096;
constexpr int kMessagesAtOnce = 16;                   // then others get their turn
constexpr std::chrono::seconds kRemovalsAtTheEnd{5};  // for what is being removed; the next start sweeps the rest
constexpr std::chrono::milliseconds kLookAtRemovals{20};
constexpr size_t kMaxReleasing = 256;  // finished sandboxes that still have mounts, cgroup or ids
constexpr size_t kMaxStoreBacklog = 256;
constexpr std::chrono::milliseconds kCongestionPoll{10};
constexpr int kOutputPipeBytes = 256 << 10;  // fewer wake-ups of a talkative job's reader

Result<std::string> MakeRunName() {
  std::array<uint8_t, 4> bytes;
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return FailErrno(errno, "get random bytes");
  return HexEncode(bytes);
}

}  // namespace

Server::Server(EventLoop& loop, Environment& environment, ServerOptions options)
    : loop_(loop), environment_(environment), options_(std::move(options)), rootfs_(kMaxRootfs) {}

Server::~Server() { Disconnect(); }

Result<std::unique_ptr<Server>> Server::Start(EventLoop& loop, Environment& environment, ServerOptions options) {
  std::unique_ptr<Server> server(new Server(loop, environment, std::move(options)));
  TRY(server->Open());
  return server;
}

Result<void> Server::Open() {
  struct stat info {};
  if (::fstat(environment_.root.data_dir.get(), &info) != 0) return FailErrno(errno, "stat the data directory");
  data_device_ = info.st_dev;
  const int layers = environment_.root.layers_dir.get();
  const int tmp = environment_.root.tmp_dir.get();
  store_ = std::make_unique<LayerStore>(layers, tmp, TRY(MakeRunName()));
  mounts_janitor_ = TRY(Janitor::Start(loop_, {layers, tmp}, environment_.liveness_write.get()));
  store_janitor_ = TRY(Janitor::Start(loop_, {layers, tmp}, environment_.liveness_write.get()));
  housekeeping_janitor_ = TRY(Janitor::Start(loop_, {layers, tmp}, environment_.liveness_write.get()));
  housekeeping_janitor_->Sweep(store_->run(), [](Result<void> result) {
    if (!result) LogWarn("sweep_incomplete", {{"error", EscapeForLog(result.error().message)}});
  });
  sandboxes_ = std::make_unique<SandboxTable>(
      loop_, environment_, *mounts_janitor_, [this](SandboxHandle handle, ExitReport report) {
        Send({protocol::Encode(0, protocol::Answer(protocol::Exited{handle, std::move(report)})), {}});
      });
  workers_ = std::make_unique<WorkerTable>(
      loop_, environment_, *store_, *store_janitor_, *housekeeping_janitor_,
      WorkerTable::Options{options_.worker_program, options_.worker_deadline},
      [this](WorkerHandle handle, WorkerExit exit) {
        Send({protocol::Encode(0, protocol::Answer(protocol::WorkerDone{handle, exit})), {}});
      });
  sandboxes_->set_on_idle([this] { CheckEnded(); });
  workers_->set_on_idle([this] { CheckEnded(); });
  return {};
}

// ---- Channel ----------------------------------------------------------------------------------------------------

void Server::Connect(Fd channel) {
  Disconnect();
  channel_ = std::move(channel);
  ++channel_number_;
  channel_watch_ = loop_.Watch(channel_.get(), EPOLLIN, [this](uint32_t events) { OnChannel(events); });
}

void Server::Disconnect() {
  if (!channel_) return;
  loop_.Unwatch(channel_watch_);
  loop_.Cancel(cut_off_timer_);
  loop_.Cancel(congestion_timer_);
  channel_.reset();
  outgoing_.clear();
  for (const uint64_t handle : rootfs_.Handles()) (void)rootfs_.Take(handle);
  workers_->DiscardAll();
}

void Server::OnChannel(uint32_t events) {
  const uint64_t number = channel_number_;
  if ((events & EPOLLOUT) != 0) Flush();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
    for (int i = 0; i < kMessagesAtOnce && channel_ && number == channel_number_ && !Congested(); ++i) {
      if (!ReceiveOne()) break;
    }
  }
  if ((events & EPOLLHUP) != 0 && Congested()) Disconnect();  // what is unread would wait for nobody
  if (channel_) UpdateInterest();
}

// False when nothing is there now, or the channel is no more.
bool Server::ReceiveOne() {
  Result<std::optional<Packet>> received = ReceivePacket(channel_.get(), Waiting::kReturn);
  if (!received) {
    Disconnect();
    return false;
  }
  if (!*received) return false;
  Packet& packet = **received;
  const Result<protocol::Envelope> envelope = protocol::OpenEnvelope(packet.bytes);
  if (!envelope) {  // nobody to answer: what it says next would mean nothing either
    LogError("service_cut_off", {{"error", envelope.error().message}});
    Disconnect();
    return false;
  }
  const Caller caller{channel_number_, envelope->request_id};
  Result<protocol::Request> request =
      packet.complete ? protocol::DecodeRequest(packet.bytes, packet.descriptors.size())
                      : Fail(ErrorCode::kInvalid, "more than {} descriptors came", protocol::kMaxDescriptors);
  if (request) {
    Handle(caller, std::move(*request), std::move(packet.descriptors));
  } else {
    NoteRefused(request.error());
    ReplyResult(caller, tl::unexpected(request.error()));
  }
  return true;
}

// One log line for each doubling: a hostile service must not fill the log.
void Server::NoteRefused(const Error& error) {
  if (std::has_single_bit(++refused_))
    LogWarn("request_refused", {{"count", refused_}, {"error", EscapeForLog(error.message)}});
}

void Server::Reply(Caller caller, protocol::Reply reply, std::vector<Fd> descriptors) {
  if (caller.channel != channel_number_) return;
  Send({protocol::Encode(caller.request, protocol::Answer(std::move(reply))), std::move(descriptors)});
}

void Server::ReplyResult(Caller caller, Result<void> result) { Reply(caller, protocol::Reply{std::move(result)}); }

// The queue is bounded by what there is to tell: while it is not empty no request is read, and events are one for
// each sandbox and worker.
void Server::Send(Outgoing message) {
  if (!channel_) return;
  outgoing_.push_back(std::move(message));
  Flush();
  if (channel_) UpdateInterest();
}

void Server::Flush() {
  while (!outgoing_.empty()) {
    const Outgoing& next = outgoing_.front();
    std::vector<int> descriptors;
    for (const Fd& fd : next.descriptors) descriptors.push_back(fd.get());
    const Result<bool> sent = SendPacket(channel_.get(), next.bytes, descriptors, Waiting::kReturn);
    if (!sent) return Disconnect();
    if (!*sent) return;
    outgoing_.pop_front();
    loop_.Cancel(cut_off_timer_);
  }
}

bool Server::Congested() const {
  return !outgoing_.empty() || sandboxes_->releasing() > kMaxReleasing || store_janitor_->backlog() > kMaxStoreBacklog;
}

void Server::UpdateInterest() {
  if (!outgoing_.empty()) {
    loop_.Change(channel_watch_, EPOLLOUT);
    if (cut_off_timer_ == 0) {
      cut_off_timer_ = loop_.After(options_.send_deadline, [this] {
        cut_off_timer_ = 0;
        LogError("service_cut_off", {{"error", "it does not read its channel"}});
        Disconnect();
      });
    }
    return;
  }
  loop_.Change(channel_watch_, Congested() ? 0U : uint32_t{EPOLLIN});
  if (Congested() && congestion_timer_ == 0) {
    congestion_timer_ = loop_.After(kCongestionPoll, [this] {
      congestion_timer_ = 0;
      UpdateInterest();
    });
  }
}

// ---- Requests ---------------------------------------------------------------------------------------------------

void Server::Handle(Caller caller, protocol::Request request, std::vector<Fd> descriptors) {
  const auto answer = [&](auto&& made) {  // of requests that make a handle
    if (!made) return ReplyResult(caller, tl::unexpected(made.error()));
    Reply(caller, protocol::Reply{{}, *made});
  };
  if (const auto* open = std::get_if<protocol::OpenRootfs>(&request)) {
    answer(OpenRootfs(*open));
  } else if (const auto* close = std::get_if<protocol::CloseRootfs>(&request)) {
    ReplyResult(caller, rootfs_.Take(close->rootfs.value)
                            ? Result<void>()
                            : Fail(ErrorCode::kNotFound, "no such root file system is open"));
  } else if (auto* launch = std::get_if<protocol::Launch>(&request)) {
    Launch(caller, std::move(*launch), std::move(descriptors));
  } else if (const auto* stop = std::get_if<protocol::Stop>(&request)) {
    ReplyResult(caller, sandboxes_->Stop(stop->sandbox, stop->grace));
  } else if (const auto* kill = std::get_if<protocol::Kill>(&request)) {
    ReplyResult(caller, sandboxes_->Kill(kill->sandbox));
  } else if (std::holds_alternative<protocol::List>(request)) {
    ReplyFile(caller, protocol::PackSandboxes(sandboxes_->List()));
  } else if (const auto* drained = std::get_if<protocol::Drained>(&request)) {
    ReplyResult(caller, sandboxes_->Drained(drained->sandbox, drained->stream, drained->position));
  } else if (const auto* start = std::get_if<protocol::StartWorker>(&request)) {
    StartWorker(caller, *start, std::move(descriptors));
  } else if (const auto* kill_worker = std::get_if<protocol::KillWorker>(&request)) {
    ReplyResult(caller, workers_->Kill(kill_worker->worker));
  } else if (const auto* commit = std::get_if<protocol::CommitLayer>(&request)) {
    workers_->Commit(commit->worker, commit->name, std::move(descriptors[0]), commit->opaque_count,
                     [this, caller](Result<void> result) { ReplyResult(caller, std::move(result)); });
  } else if (const auto* discard = std::get_if<protocol::DiscardWorker>(&request)) {
    ReplyResult(caller, workers_->Discard(discard->worker));
  } else if (const auto* remove = std::get_if<protocol::RemoveLayer>(&request)) {
    RemoveLayer(caller, remove->name);
  } else if (std::holds_alternative<protocol::ListLayers>(request)) {
    ListLayers(caller);
  } else if (std::holds_alternative<protocol::Node>(request)) {
    ReplyFile(caller, MakeSealedMemfd("caisson-node", options_.node_json));
  } else if (std::holds_alternative<protocol::Shutdown>(request)) {
    ReplyResult(caller, {});
    options_.on_shutdown();
  }
}

Result<uint64_t> Server::OpenRootfs(const protocol::OpenRootfs& request) {
  if (rootfs_.full()) return Fail(ErrorCode::kUnavailable, "{} root file systems are open already", rootfs_.size());
  auto rootfs = std::make_shared<const Rootfs>(TRY(store_->OpenRootfs(request.layers_top_first)));
  return rootfs_.Insert(std::make_unique<std::shared_ptr<const Rootfs>>(std::move(rootfs)));
}

void Server::ReplyFile(Caller caller, Result<Fd> file) {
  if (!file) return ReplyResult(caller, tl::unexpected(file.error()));
  std::vector<Fd> descriptors;
  descriptors.push_back(std::move(*file));
  Reply(caller, {}, std::move(descriptors));
}

// Files that the service may hand on: sealed or plain memory files, pipes, and files on the data directory's own
// device. Everything else could block its reader (FUSE), or be more than it seems (procfs, devices, O_PATH).
Result<void> Server::CheckFile(int fd, bool writable) const {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return Fail(ErrorCode::kInvalid, "descriptor cannot be read or written");
  const int wanted = writable ? O_WRONLY : O_RDONLY;
  const int mode = flags & O_ACCMODE;
  if (mode != O_RDWR && mode != wanted) return Fail(ErrorCode::kInvalid, "descriptor is opened the wrong way round");
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "stat descriptor");
  if (S_ISFIFO(info.st_mode)) return {};
  const bool memory_file = ::fcntl(fd, F_GET_SEALS) >= 0;
  if (S_ISREG(info.st_mode) && (memory_file || info.st_dev == data_device_)) return {};
  return Fail(ErrorCode::kInvalid, "descriptor is neither a pipe, a memory file nor a file in the data directory");
}

// ---- Launch -----------------------------------------------------------------------------------------------------

// A read end of its own for the service: with a duplicate it could make ours block.
Result<Fd> Server::Reopen(int pipe) const {
  (void)::fcntl(pipe, F_SETPIPE_SZ, kOutputPipeBytes);  // a wish; the user's pipe quota may be used up
  return OpenAt(environment_.root.proc_dir.get(), "self/fd/" + std::to_string(pipe), O_RDONLY | O_NONBLOCK);
}

Result<SandboxTable::Started> Server::TryLaunch(protocol::Launch& request, const std::vector<Fd>& descriptors) {
  TRY(protocol::ReadArguments(descriptors[0].get(), request));
  int payload = -1;
  if (request.has_payload) {
    payload = descriptors[1].get();
    TRY_IN("payload", CheckFile(payload, /*writable=*/false));
    struct stat info {};
    if (::fstat(payload, &info) != 0 || !S_ISREG(info.st_mode))
      return Fail(ErrorCode::kInvalid, "payload: not a regular or memory file");
  }
  const auto* rootfs = rootfs_.Find(request.rootfs.value);
  if (rootfs == nullptr) return Fail(ErrorCode::kNotFound, "no such root file system is open");
  return sandboxes_->Launch(request.spec, *rootfs, payload);
}

void Server::Launch(Caller caller, protocol::Launch request, std::vector<Fd> descriptors) {
  const Result<SandboxTable::Started> started = TryLaunch(request, descriptors);
  if (!started) {
    if (started.error().code == ErrorCode::kInvalid) NoteRefused(started.error());
    return ReplyResult(caller, tl::unexpected(started.error()));
  }
  Result<Fd> out = Reopen(started->stdout_pipe);
  Result<Fd> err = Reopen(started->stderr_pipe);
  if (!out || !err) {
    (void)sandboxes_->Kill(started->handle);
    return ReplyResult(caller, tl::unexpected(out ? err.error() : out.error()));
  }
  std::vector<Fd> pipes;
  pipes.push_back(std::move(*out));
  pipes.push_back(std::move(*err));
  Reply(caller, protocol::Reply{{}, started->handle.value, started->unenforced}, std::move(pipes));
}

// ---- Store ------------------------------------------------------------------------------------------------------

void Server::StartWorker(Caller caller, const protocol::StartWorker& request, std::vector<Fd> descriptors) {
  Result<void> checked = CheckFile(descriptors[0].get(), /*writable=*/false);
  if (checked) checked = CheckFile(descriptors[1].get(), /*writable=*/true);
  if (!checked) {
    NoteRefused(checked.error());
    return ReplyResult(caller, std::move(checked));
  }
  if (request.verb == WorkerVerb::kRemove)
    return StartRemoval(caller, request.layers_top_first[0], std::move(descriptors));
  Result<Rootfs> rootfs = store_->OpenRootfs(request.layers_top_first);
  if (!rootfs) return ReplyResult(caller, tl::unexpected(rootfs.error()));
  const Result<WorkerHandle> worker =
      workers_->Start(request.verb, descriptors[0].get(), descriptors[1].get(), std::move(*rootfs));
  if (!worker) return ReplyResult(caller, tl::unexpected(worker.error()));
  Reply(caller, protocol::Reply{{}, worker->value});
}

// The layer leaves the store before a worker may touch it.
void Server::StartRemoval(Caller caller, const LayerName& layer, std::vector<Fd> descriptors) {
  if (Result<void> begun = store_->BeginRemoval(layer); !begun) return ReplyResult(caller, std::move(begun));
  const std::string name = store_->NewName();
  const auto held = std::make_shared<std::vector<Fd>>(std::move(descriptors));
  store_janitor_->Retire(layer, name, [this, caller, layer, name, held](Result<void> retired) {
    store_->EndRemoval(layer);
    if (!retired) return ReplyResult(caller, std::move(retired));
    const Result<WorkerHandle> worker =
        workers_->StartOn(WorkerVerb::kRemove, (*held)[0].get(), (*held)[1].get(), Rootfs(), name);
    if (!worker) return ReplyResult(caller, tl::unexpected(worker.error()));
    Reply(caller, protocol::Reply{{}, worker->value});
    if (caller.channel != channel_number_ || !channel_) (void)workers_->Discard(*worker);
  });
}

void Server::RemoveLayer(Caller caller, const LayerName& layer) {
  if (Result<void> begun = store_->BeginRemoval(layer); !begun) return ReplyResult(caller, std::move(begun));
  const std::string name = store_->NewName();
  store_janitor_->Retire(layer, name, [this, caller, layer, name](Result<void> retired) {
    store_->EndRemoval(layer);
    const bool gone = retired.has_value();
    ReplyResult(caller, std::move(retired));
    if (!gone) return;
    housekeeping_janitor_->Remove(name, [name](Result<void> removed) {
      if (!removed)
        LogWarn("directory_not_removed", {{"name", name}, {"error", EscapeForLog(removed.error().message)}});
    });
  });
}

void Server::ListLayers(Caller caller) {
  store_janitor_->List([this, caller](Result<std::vector<StoredLayer>> layers) {
    if (!layers) return ReplyResult(caller, tl::unexpected(layers.error()));
    for (StoredLayer& layer : *layers) layer.in_use = store_->InUse(layer.name);
    ReplyFile(caller, protocol::PackLayers(*layers));
  });
}

// ---- The end ----------------------------------------------------------------------------------------------------

void Server::EndAll(std::function<void()> done) {
  on_ended_ = std::move(done);
  workers_->DiscardAll();
  sandboxes_->KillAll();
  removals_end_ = std::chrono::steady_clock::now() + kRemovalsAtTheEnd;
  CheckEnded();
}

void Server::CheckEnded() {
  if (!on_ended_ || workers_->size() > 0 || !sandboxes_->idle()) return;
  loop_.Cancel(removals_timer_);
  if (housekeeping_janitor_->backlog() > 0 && std::chrono::steady_clock::now() < removals_end_) {
    removals_timer_ = loop_.After(kLookAtRemovals, [this] { CheckEnded(); });
    return;
  }
  std::exchange(on_ended_, nullptr)();
}

}  // namespace caisson::sandbox
