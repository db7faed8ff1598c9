// SPDX-License-Identifier: Apache-2.0
#include "tests/executor/executor_fixture.h"

namespace caisson::executor {
namespace {

using image::PullPolicy;

class PullPolicyTest : public ExecutorTest {};

TEST_F(PullPolicyTest, JobsOwnGoesBeforeTheNodes) {
  options_.pull_policy = PullPolicy::kIfMissing;
  Start(1);
  JobSpec spec;
  RunOne(spec);
  spec.pull_policy = "never";
  RunOne(spec);
  spec.pull_policy = "always";
  RunOne(spec);
  EXPECT_THAT(images_.policies(),
              ::testing::ElementsAre(PullPolicy::kIfMissing, PullPolicy::kNever, PullPolicy::kAlways));
}

// The disk may have room by the time of the next attempt.
TEST_F(PullPolicyTest, FullDiskIsThePlatformsFaultAndSaysSo) {
  images_.on_pull = [](const image::ResolvedReference&, bool, const image::PullContext&) -> Result<void> {
    return Fail(ErrorCode::kExhausted, "the image store's disk is too full");
  };
  Start(1);
  const JobId id = Submit();
  const JobRecord job = WaitFor(id, JobState::kScheduled);
  EXPECT_EQ(job.platform_failures, 1);
  EXPECT_EQ(job.user_failures, 0);
}

}  // namespace
}  // namespace caisson::executor
