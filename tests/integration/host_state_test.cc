// SPDX-License-Identifier: Apache-2.0
// The check that nothing is left behind must see what a job has while it runs, or it would hold nothing.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::StartsWith;

TEST(HostStateTest, SeesARunningJob) {
  Registry registry;
  registry.PushBusybox();
  Daemon daemon(registry);
  const std::string image = registry.Name("busybox:1");
  EXPECT_EQ(daemon.Caisson({"run", image, "true"}).status, 0);
  const std::vector<std::string> before = HostState(daemon);
  const std::string id = daemon.Submit(fmt::format(R"({{"image":"{}","command":["sleep","600"]}})", image));
  ASSERT_TRUE(daemon.WaitState(id, "running"));
  const std::vector<std::string> during = HostState(daemon);
  std::vector<std::string> came;
  std::set_difference(during.begin(), during.end(), before.begin(), before.end(), std::back_inserter(came));
  EXPECT_THAT(came, Contains(StartsWith("process ")));
  EXPECT_THAT(came, Contains(StartsWith("fd of launcher ")));
  EXPECT_THAT(came, Contains(StartsWith("fd of caisson-service ")));
  EXPECT_THAT(came, Contains(StartsWith("mount of ")));
  if (!daemon.cgroup_parent().empty()) {
    EXPECT_THAT(came, Contains(HasSubstr(id)));
  }
  EXPECT_EQ(daemon.Caisson({"cancel", "--grace", "0", id}).status, 0);
  daemon.WaitFinal(id);
  ExpectSameState(before, daemon);
}

}  // namespace
}  // namespace caisson::integration
