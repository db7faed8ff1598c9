// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/janitor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "sandbox/channel.h"
#include "sandbox/launcher/child_process.h"
#include "sandbox/launcher/janitor_process.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {
namespace {

constexpr int kMaxAttempts = 3;  // of an order that the janitor dies of
constexpr std::chrono::milliseconds kRestartDelay{100};

std::string Bytes(const JanitorOrder& order) { return {reinterpret_cast<const char*>(&order), sizeof order}; }

JanitorOrder MakeOrder(JanitorVerb verb, const std::string& work, const LayerName& layer = {}) {
  JanitorOrder order{};
  order.verb = verb;
  CHECK(work.size() < sizeof order.work);
  work.copy(order.work, sizeof order.work - 1);
  std::copy(layer.bytes.begin(), layer.bytes.end(), order.layer);
  return order;
}

}  // namespace

struct Janitor::Task {
  JanitorOrder order{};
  Fd file;                 // goes along and is kept, for a second attempt
  std::vector<Fd> mounts;  // go along and are closed here once sent: another attempt is neither possible nor needed
  int attempts = 0;
  std::function<void(Result<void>, Fd)> done;
};

struct Janitor::Outgoing {
  std::string bytes;
  std::vector<Fd> owned;  // closed once sent
  int borrowed = -1;
};

Janitor::Janitor(EventLoop& loop, StoreDirectories store, int liveness_write)
    : loop_(loop), store_(store), liveness_write_(liveness_write) {}

Janitor::~Janitor() {
  loop_.Unwatch(channel_watch_);
  loop_.Unwatch(pidfd_watch_);
  loop_.Cancel(restart_timer_);
  channel_.reset();
  if (pidfd_) (void)ReapChild(pidfd_.get());
}

Result<std::unique_ptr<Janitor>> Janitor::Start(EventLoop& loop, StoreDirectories store, int liveness_write) {
  std::unique_ptr<Janitor> janitor(new Janitor(loop, store, liveness_write));
  TRY_IN("start the janitor", janitor->Spawn());
  return janitor;
}

Result<void> Janitor::Spawn() {
  SocketPair channel = TRY(MakeSocketPair());
  const auto body = [&] {
    ::close(liveness_write_);
    ::prctl(PR_SET_NAME, "caisson-janitor");
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::signal(signal, SIG_IGN);  // it ends with its channel
    if (!ArrangeDescriptors({-1, -1, -1, channel.theirs.get(), store_.layers, store_.tmp})) return;
    ::close_range(6, ~0U, 0);
    RunJanitor(3, {4, 5});
  };
  pidfd_ = TRY(StartChild({}, body));
  channel_ = std::move(channel.ours);
  channel_watch_ = loop_.Watch(channel_.get(), EPOLLIN, [this](uint32_t) { OnChannel(); });
  pidfd_watch_ = loop_.Watch(pidfd_.get(), EPOLLIN, [this](uint32_t) { OnDeath(); });
  for (const auto& [ticket, task] : open_tasks_) Enqueue(ticket);
  Flush();
  return {};
}

// ---- Orders -----------------------------------------------------------------------------------------------------

void Janitor::DropMounts(Fd mount_namespace, Fd upper, JanitorDone done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kDrop, "");
  if (mount_namespace) task.mounts.push_back(std::move(mount_namespace));
  if (upper) task.mounts.push_back(std::move(upper));
  task.done = [done = std::move(done)](Result<void> result, Fd) { done(std::move(result)); };
  Add(std::move(task));
}

void Janitor::Commit(const std::string& work, const LayerName& name, Fd opaque_directories, uint32_t count,
                     JanitorDone done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kCommit, work, name);
  task.order.opaque_count = count;
  task.file = std::move(opaque_directories);
  task.done = [done = std::move(done)](Result<void> result, Fd) { done(std::move(result)); };
  Add(std::move(task));
}

void Janitor::Retire(const LayerName& name, const std::string& work, JanitorDone done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kRetire, work, name);
  task.done = [done = std::move(done)](Result<void> result, Fd) { done(std::move(result)); };
  Add(std::move(task));
}

void Janitor::Remove(const std::string& work, JanitorDone done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kRemove, work);
  task.done = [done = std::move(done)](Result<void> result, Fd) { done(std::move(result)); };
  Add(std::move(task));
}

void Janitor::Sweep(const std::string& run, JanitorDone done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kSweep, run);
  task.done = [done = std::move(done)](Result<void> result, Fd) { done(std::move(result)); };
  Add(std::move(task));
}

void Janitor::Measure(const LayerName& name) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kMeasure, "", name);
  task.done = [](const Result<void>&, const Fd&) {};  // a layer that has left; or List() measures it
  Add(std::move(task));
}

void Janitor::List(JanitorLayers done) {
  Task task;
  task.order = MakeOrder(JanitorVerb::kList, "");
  task.done = [done = std::move(done)](Result<void> result, Fd file) {
    done(result ? protocol::ReadLayers(file.get()) : tl::unexpected(result.error()));
  };
  Add(std::move(task));
}

void Janitor::Add(Task task) {
  const uint64_t ticket = ++last_ticket_;
  task.order.ticket = ticket;
  open_tasks_.emplace(ticket, std::make_unique<Task>(std::move(task)));
  if (!channel_) return;  // between two janitors: the next one gets it
  Enqueue(ticket);
  Flush();
}

// A drop takes two messages. With the first the descriptors travel; only when ours are closed does the second tell
// the janitor to close its own, so that the last reference, and the unmounting, is never the launcher's.
void Janitor::Enqueue(uint64_t ticket) {
  Task& task = *open_tasks_.at(ticket);
  if (!task.mounts.empty()) {
    JanitorOrder hold = task.order;
    hold.verb = JanitorVerb::kHold;
    outgoing_.push_back({Bytes(hold), std::move(task.mounts), -1});
    task.mounts.clear();
  }
  outgoing_.push_back({Bytes(task.order), {}, task.file.get()});
  ++task.attempts;
}

void Janitor::Flush() {
  while (!outgoing_.empty()) {
    const Outgoing& next = outgoing_.front();
    std::vector<int> descriptors;
    for (const Fd& fd : next.owned) descriptors.push_back(fd.get());
    if (next.borrowed >= 0) descriptors.push_back(next.borrowed);
    const Result<bool> sent = SendPacket(channel_.get(), next.bytes, descriptors, Waiting::kReturn);
    if (!sent) return;  // it died: OnDeath() follows
    if (!*sent) break;
    outgoing_.pop_front();
  }
  loop_.Change(channel_watch_, outgoing_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

// ---- Answers ----------------------------------------------------------------------------------------------------

void Janitor::OnChannel() {
  for (;;) {
    Result<std::optional<Packet>> packet = ReceivePacket(channel_.get(), Waiting::kReturn);
    if (!packet) {  // closed: what its death means is decided when it can be reaped
      loop_.Unwatch(channel_watch_);
      return;
    }
    if (!*packet) break;
    CHECK((*packet)->bytes.size() == sizeof(JanitorAnswer));
    JanitorAnswer answer;
    std::memcpy(&answer, (*packet)->bytes.data(), sizeof answer);
    Result<void> result;
    if (answer.failed != 0) {
      const size_t length = ::strnlen(answer.message, sizeof answer.message);
      result = tl::unexpected(
          Error{static_cast<ErrorCode>(answer.code), std::string(answer.message, length), answer.sys_errno});
    }
    auto& descriptors = (*packet)->descriptors;
    Finish(answer.ticket, std::move(result), descriptors.empty() ? Fd() : std::move(descriptors[0]));
  }
  if (channel_watch_ != 0) Flush();
}

void Janitor::Finish(uint64_t ticket, Result<void> result, Fd file) {
  auto task = open_tasks_.extract(ticket);
  if (task.empty()) return;
  task.mapped()->done(std::move(result), std::move(file));
}

void Janitor::OnDeath() {
  OnChannel();  // what it still said
  loop_.Unwatch(channel_watch_);
  loop_.Unwatch(pidfd_watch_);
  const Result<ChildEnd> end = ReapChild(pidfd_.get());
  LogError("janitor_died", {{"status", end ? end->status : -1}, {"open_tasks", open_tasks_.size()}});
  pidfd_.reset();
  channel_.reset();
  // Its end closed every descriptor that it held, unread ones too: drops are done by that.
  outgoing_.clear();
  std::vector<std::pair<uint64_t, Result<void>>> finished;
  for (const auto& [ticket, task] : open_tasks_) {
    if (task->order.verb == JanitorVerb::kDrop && task->attempts > 0) {
      finished.emplace_back(ticket, Result<void>());
    } else if (task->attempts >= kMaxAttempts) {
      finished.emplace_back(ticket,
                            Fail(ErrorCode::kInternal, "the launcher's janitor died {} times of it", kMaxAttempts));
    }
  }
  for (auto& [ticket, result] : finished) Finish(ticket, std::move(result), Fd());
  ScheduleRestart();
}

void Janitor::ScheduleRestart() {
  restart_timer_ = loop_.After(kRestartDelay, [this] {
    restart_timer_ = 0;
    if (const Result<void> started = Spawn(); !started) {
      LogError("janitor_not_started", {{"error", started.error().message}});
      ScheduleRestart();
    }
  });
}

}  // namespace caisson::sandbox
