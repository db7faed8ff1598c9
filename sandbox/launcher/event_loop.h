// SPDX-License-Identifier: Apache-2.0
// EventLoop: the launcher's only place to wait: descriptors by epoll, deadlines by one timerfd. Owned by the
// launcher's main, on its only thread; callbacks run inside Run() and may add and remove whatever they like, their own
// watch included. It owns no descriptor that it watches: remove a watch before closing its descriptor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using WatchId = uint64_t;  // 0 is none; numbers are never used twice
  using TimerId = uint64_t;  // likewise

  static Result<EventLoop> Open();

  // `on_ready` gets the epoll events. Level-triggered.
  WatchId Watch(int fd, uint32_t events, std::function<void(uint32_t)> on_ready);
  void Change(WatchId id, uint32_t events);
  void Unwatch(WatchId& id);  // sets it to 0; 0 is fine

  TimerId After(std::chrono::milliseconds delay, std::function<void()> on_time);
  void Cancel(TimerId& id);  // sets it to 0; 0 and one that has run are fine

  // Until Stop(), which a callback calls. May be called again after it.
  void Run();
  void Stop() { stopped_ = true; }

 private:
  struct Watched {
    int fd = -1;
    std::function<void(uint32_t)> on_ready;
  };
  struct Timer {
    TimerId id = 0;
    std::function<void()> on_time;
  };

  EventLoop(Fd epoll, Fd timer) : epoll_(std::move(epoll)), timer_(std::move(timer)) {}
  void ArmTimer();
  void RunTimers();

  Fd epoll_;
  Fd timer_;
  uint64_t last_id_ = 0;
  bool stopped_ = false;
  std::unordered_map<WatchId, Watched> watches_;
  std::multimap<Clock::time_point, Timer> timers_;
};

}  // namespace caisson::sandbox
