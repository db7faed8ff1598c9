// SPDX-License-Identifier: Apache-2.0
// A 202 is a promise: strace shows that the disk had the job before the caller had the answer, and that submits in
// flight share their writes.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <thread>

#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

class DurabilityTest : public testing::Test {
 protected:
  DurabilityTest() {
    registry_.PushBusybox();
    // The one slot is taken, so that nothing but submits writes.
    const std::string id = daemon_.Submit(Body("600"));
    EXPECT_TRUE(daemon_.WaitState(id, "running"));
  }
  std::string Body(const std::string& seconds_to_sleep) const {
    return fmt::format(R"({{"image":"{}","command":["sleep","{}"]}})", registry_.Name("busybox:1"), seconds_to_sleep);
  }
  // Attaches strace to the service; returns once it watches.
  void StartTrace() {
    trace_ = Process({"strace", "-f", "-tt", "-s", "64", "-e", "trace=fdatasync,fsync,write,writev,sendto,sendmsg",
                      "-o", directory_.path() + "/trace", "-p", std::to_string(daemon_.service())},
                     {.err_file = directory_.path() + "/strace.err"});
    ASSERT_TRUE(WaitUntil([&] {
      return ReadWholeFile(directory_.path() + "/strace.err").find("attached") != std::string::npos;
    })) << ReadWholeFile(directory_.path() + "/strace.err");
  }
  // One word for each event, in order: "sync" where a sync of the store returned, "202" where an answer went out.
  std::vector<std::string> EndTrace() {
    trace_.Signal(SIGINT);
    trace_.Wait();
    std::vector<std::string> events;
    std::istringstream lines(ReadWholeFile(directory_.path() + "/trace"));
    for (std::string line; std::getline(lines, line);) {
      const bool sync = line.find("fdatasync") != std::string::npos || line.find("fsync") != std::string::npos;
      if (sync && line.ends_with("= 0")) events.push_back("sync");
      if (line.find("HTTP/1.1 202") != std::string::npos) events.push_back("202");
    }
    return events;
  }

  Registry registry_;
  Daemon daemon_{registry_, {.arguments = {"--slots", "1"}}};
  TemporaryDirectory directory_;
  Process trace_;
};

TEST_F(DurabilityTest, EverySubmitIsSyncedBeforeItsAnswer) {
  StartTrace();
  for (int i = 0; i < 20; ++i) daemon_.Submit(Body("0"));
  int answers = 0;
  bool synced = false;
  for (const std::string& event : EndTrace()) {
    if (event == "sync") synced = true;
    if (event != "202") continue;
    EXPECT_TRUE(synced) << "answer " << answers << " went out before the disk had the job";
    synced = false;
    ++answers;
  }
  EXPECT_EQ(answers, 20);
}

TEST_F(DurabilityTest, SubmitsInFlightShareTheirSyncs) {
  StartTrace();
  std::vector<std::thread> callers;
  for (int i = 0; i < 64; ++i) callers.emplace_back([&] { daemon_.Submit(Body("0")); });
  for (std::thread& caller : callers) caller.join();
  const std::vector<std::string> events = EndTrace();
  const auto syncs = std::count(events.begin(), events.end(), "sync");
  EXPECT_EQ(std::count(events.begin(), events.end(), "202"), 64);
  EXPECT_GE(syncs, 1);
  EXPECT_LT(syncs, 64);
}

}  // namespace
}  // namespace caisson::integration
