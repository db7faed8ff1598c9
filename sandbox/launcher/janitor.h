// SPDX-License-Identifier: Apache-2.0
// Janitor: a process that the launcher forks for work that may wait for a disk, since the launcher itself never does:
// it drops the last reference to a finished sandbox's mounts, and does the slow part of the store's changes
// (store_tasks.h). One thread, the launcher's rights, ends with the launcher. The launcher keeps three, so that a
// sandbox's end does not wait behind a layer's sync, nor a layer's commit behind the removal of a million files. This
// object is the launcher's end, on its only thread; a janitor that dies is replaced, and is given again what it had not
// finished.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/store_tasks.h"

namespace caisson::sandbox {

// Called on the launcher's thread when the work is done, or cannot be.
using JanitorDone = std::function<void(Result<void>)>;
using JanitorLayers = std::function<void(Result<std::vector<StoredLayer>>)>;

class Janitor {
 public:
  // `liveness_write` is closed in the janitor, so that the pipe's end still tells of the launcher's.
  static Result<std::unique_ptr<Janitor>> Start(EventLoop& loop, StoreDirectories store, int liveness_write);
  ~Janitor();  // the process ends with its channel; what it has not begun is left to the next start's sweep

  // Takes both descriptors and closes them there: the unmounting that follows is the janitor's.
  void DropMounts(Fd mount_namespace, Fd upper, JanitorDone done);
  // `opaque_directories`: memory file of `count` strings (protocol::ReadStrings).
  void Commit(const std::string& work, const LayerName& name, Fd opaque_directories, uint32_t count, JanitorDone done);
  void Retire(const LayerName& name, const std::string& work, JanitorDone done);
  void Remove(const std::string& work, JanitorDone done);
  void Sweep(const std::string& run, JanitorDone done);
  void List(JanitorLayers done);
  // Notes the layer's size with it, for List(). That nobody waits for it is the point.
  void Measure(const LayerName& name);

  size_t backlog() const { return open_tasks_.size(); }

 private:
  struct Task;
  struct Outgoing;
  Janitor(EventLoop& loop, StoreDirectories store, int liveness_write);

  Result<void> Spawn();
  void Add(Task task);
  void Enqueue(uint64_t ticket);
  void Flush();
  void OnChannel();
  void OnDeath();
  void ScheduleRestart();
  void Finish(uint64_t ticket, Result<void> result, Fd file);

  EventLoop& loop_;
  StoreDirectories store_;
  int liveness_write_;
  Fd channel_;
  Fd pidfd_;
  EventLoop::WatchId channel_watch_ = 0;
  EventLoop::WatchId pidfd_watch_ = 0;
  EventLoop::TimerId restart_timer_ = 0;
  uint64_t last_ticket_ = 0;
  std::map<uint64_t, std::unique_ptr<Task>> open_tasks_;
  std::deque<Outgoing> outgoing_;
};

}  // namespace caisson::sandbox
