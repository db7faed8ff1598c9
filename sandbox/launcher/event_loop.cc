// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/event_loop.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kTimerTag = 0;  // watches have numbers from 1 on
constexpr size_t kEventsAtOnce = 64;

}  // namespace

Result<EventLoop> EventLoop::Open() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return FailErrno(errno, "make an epoll descriptor");
  Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer) return FailErrno(errno, "make a timer");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kTimerTag;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) return FailErrno(errno, "watch the timer");
  return EventLoop(std::move(epoll), std::move(timer));
}

EventLoop::WatchId EventLoop::Watch(int fd, uint32_t events, std::function<void(uint32_t)> on_ready) {
  const WatchId id = ++last_id_;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  // Fails only for a descriptor that is closed, watched twice or not pollable: bugs, as the callers make them.
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  watches_.emplace(id, Watched{fd, std::move(on_ready)});
  return id;
}

void EventLoop::Change(WatchId id, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watches_.at(id).fd, &event) == 0);
}

void EventLoop::Unwatch(WatchId& id) {
  const auto found = watches_.find(std::exchange(id, 0));
  if (found == watches_.end()) return;
  CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr) == 0);
  watches_.erase(found);
}

EventLoop::TimerId EventLoop::After(std::chrono::milliseconds delay, std::function<void()> on_time) {
  const TimerId id = ++last_id_;
  timers_.emplace(Clock::now() + delay, Timer{id, std::move(on_time)});
  ArmTimer();
  return id;
}

void EventLoop::Cancel(TimerId& id) {
  const TimerId wanted = std::exchange(id, 0);
  if (wanted == 0) return;
  const auto found =
      std::find_if(timers_.begin(), timers_.end(), [&](const auto& entry) { return entry.second.id == wanted; });
  if (found != timers_.end()) timers_.erase(found);
}

// The steady clock of libstdc++ is CLOCK_MONOTONIC, so that its readings are the timer's.
void EventLoop::ArmTimer() {
  itimerspec when{};
  if (!timers_.empty()) {
    const auto at = std::max<int64_t>(timers_.begin()->first.time_since_epoch() / std::chrono::nanoseconds(1), 1);
    when.it_value = {at / 1'000'000'000, at % 1'000'000'000};
  }
  CHECK(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0);
}

void EventLoop::RunTimers() {
  uint64_t expirations;
  if (::read(timer_.get(), &expirations, sizeof expirations) < 0) CHECK(errno == EAGAIN || errno == EINTR);
  while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
    auto timer = timers_.extract(timers_.begin());
    timer.mapped().on_time();
  }
  ArmTimer();
}

void EventLoop::Run() {
  stopped_ = false;
  while (!stopped_) {
    std::array<epoll_event, kEventsAtOnce> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (count < 0) CHECK(errno == EINTR);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kTimerTag) {
        RunTimers();
        continue;
      }
      const auto found = watches_.find(events[i].data.u64);
      if (found == watches_.end()) continue;         // removed by a callback of this round
      const auto on_ready = found->second.on_ready;  // a copy: the callback may remove itself
      on_ready(events[i].events);
    }
  }
}

}  // namespace caisson::sandbox
