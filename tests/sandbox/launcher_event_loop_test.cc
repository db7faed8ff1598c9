// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/io.h"

namespace caisson::sandbox {
namespace {

using std::chrono::milliseconds;

TEST(EventLoopTest, TimersRunInTheOrderOfTheirDeadlines) {
  EventLoop loop = *EventLoop::Open();
  std::string order;
  loop.After(milliseconds(30), [&] {
    order += "c";
    loop.Stop();
  });
  loop.After(milliseconds(10), [&] { order += "b"; });
  loop.After(milliseconds(0), [&] { order += "a"; });
  loop.Run();
  EXPECT_EQ(order, "abc");
}

TEST(EventLoopTest, ACancelledTimerNeverRuns) {
  EventLoop loop = *EventLoop::Open();
  EventLoop::TimerId id = loop.After(milliseconds(1), [] { FAIL(); });
  loop.Cancel(id);
  EXPECT_EQ(id, 0U);
  loop.Cancel(id);
  loop.After(milliseconds(20), [&] { loop.Stop(); });
  loop.Run();
}

TEST(EventLoopTest, ACallbackMayRemoveAWatchThatIsReadyInTheSameRound) {
  EventLoop loop = *EventLoop::Open();
  const Pipe first = *MakePipe(), second = *MakePipe();
  EventLoop::WatchId ids[2] = {};
  int calls = 0;
  const auto remove_both = [&](uint32_t) {
    ++calls;
    loop.Unwatch(ids[0]);
    loop.Unwatch(ids[1]);
    loop.Stop();
  };
  ids[0] = loop.Watch(first.read.get(), EPOLLIN, remove_both);
  ids[1] = loop.Watch(second.read.get(), EPOLLIN, remove_both);
  ASSERT_TRUE(WriteAll(first.write.get(), "x"));
  ASSERT_TRUE(WriteAll(second.write.get(), "x"));
  loop.Run();
  EXPECT_EQ(calls, 1);
}

TEST(EventLoopTest, AWatchFollowsItsChangedEvents) {
  EventLoop loop = *EventLoop::Open();
  const Pipe pipe = *MakePipe();
  EventLoop::WatchId id = loop.Watch(pipe.write.get(), 0, [&](uint32_t events) {
    EXPECT_TRUE(events & EPOLLOUT);
    loop.Unwatch(id);
    loop.Stop();
  });
  loop.After(milliseconds(5), [&] { loop.Change(id, EPOLLOUT); });
  loop.Run();
  EXPECT_EQ(id, 0U);
}

}  // namespace
}  // namespace caisson::sandbox
