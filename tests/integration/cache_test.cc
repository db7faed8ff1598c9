// SPDX-License-Identifier: Apache-2.0
// What the registry is asked for, by its own access log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

class CacheTest : public testing::Test {
 protected:
  CacheTest() { registry_.PushBusybox(); }
  void Run(const std::string& image) {
    const Finished run = daemon_.Caisson({"run", registry_.Name(image), "--", "echo", "ok"});
    EXPECT_EQ(run.out, "ok\n") << image << ": " << run.err;
  }

  Registry registry_;
  Daemon daemon_{registry_};
};

TEST_F(CacheTest, ASecondRunMakesNoBlobRequest) {
  registry_.TakeRequests();
  Run("busybox:1");
  EXPECT_THAT(registry_.TakeRequests(), Contains(HasSubstr("/blobs/sha256:")));  // so the next line can fail
  Run("busybox:1");
  EXPECT_THAT(registry_.TakeRequests(), Each(Not(HasSubstr("/blobs/"))));
}

TEST_F(CacheTest, AnotherTagOfTheSameDigestMakesNone) {
  registry_.Tag("busybox", "1", "again");
  Run("busybox:1");
  registry_.TakeRequests();
  Run("busybox:again");
  EXPECT_THAT(registry_.TakeRequests(), Each(Not(HasSubstr("/blobs/"))));
}

TEST_F(CacheTest, ARestartedDaemonMakesNone) {
  Run("busybox:1");
  daemon_.Stop();
  daemon_.Start();
  registry_.TakeRequests();
  Run("busybox:1");
  EXPECT_THAT(registry_.TakeRequests(), Each(Not(HasSubstr("/blobs/"))));
}

TEST_F(CacheTest, ASharedLayerIsFetchedOnce) {
  Run("busybox:1");
  const TemporaryDirectory extra;
  WriteFile(extra.path() + "/extra", "more\n");
  registry_.Push("busybox:more", {"--add", extra.path()});
  registry_.TakeRequests();
  Run("busybox:more");
  const std::vector<std::string> requests = registry_.TakeRequests();
  const auto blobs = std::count_if(requests.begin(), requests.end(), [](const std::string& request) {
    return request.starts_with("GET ") && request.find("/blobs/") != std::string::npos;
  });
  EXPECT_EQ(blobs, 2) << testing::PrintToString(requests);  // its config and its own layer
}

TEST_F(CacheTest, AnOutageDoesNotStopAJobPinnedByDigest) {
  const std::string digest = registry_.Push("pinned:1");
  Run("pinned@" + digest);
  registry_.Stop();
  Run("pinned@" + digest);
}

TEST_F(CacheTest, JobsThatNeedTheSameImageAtOncePullItOnce) {
  registry_.TakeRequests();
  std::vector<std::string> ids;
  for (int i = 0; i < 8; ++i)
    ids.push_back(daemon_.Submit("{\"image\":\"" + registry_.Name("busybox:1") + "\",\"command\":[\"true\"]}"));
  for (const std::string& id : ids) EXPECT_EQ(daemon_.WaitFinal(id).StringOr("state", ""), "succeeded");
  const std::vector<std::string> requests = registry_.TakeRequests();
  const auto blobs = std::count_if(requests.begin(), requests.end(), [](const std::string& request) {
    return request.starts_with("GET ") && request.find("/blobs/") != std::string::npos;
  });
  EXPECT_EQ(blobs, 2) << testing::PrintToString(requests);
}

}  // namespace
}  // namespace caisson::integration
