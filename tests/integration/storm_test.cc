// SPDX-License-Identifier: Apache-2.0
// 200 jobs while service and launcher are killed at random moments, separately and together, while pulling and running
// too. STORM_ROUNDS sets the rounds (20 for the full proof), STORM_SEED repeats one.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <map>
#include <random>
#include <thread>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

constexpr int kJobs = 200;
constexpr int kKills = 8;

int FromEnvironment(const char* name, int fallback) {
  const char* text = getenv(name);
  return text && *text ? std::stoi(text) : fallback;
}

class StormTest : public testing::Test {
 protected:
  // One image a round, so that kills meet pulls as well.
  std::string PushImage(int round) {
    const std::string image = fmt::format("storm:{}", round);
    registry_.Push(image, {"--config", fmt::format(R"("Cmd":["sh"],"Labels":{{"round":"{}"}})", round)});
    return registry_.Name(image);
  }
  // Hands in `count` jobs, each again until it is accepted: while the service is away nobody answers, and an answer
  // that a kill cut off leaves it unknown whether the job was taken.
  void SubmitAll(const std::string& image, int count) {
    std::mt19937 random(static_cast<unsigned>(count));
    for (int i = 0; i < count; ++i) {
      const int micros = std::uniform_int_distribution<>(0, 200'000)(random);
      const std::string body =
          fmt::format(R"({{"image":"{}","command":["sh","-c","usleep {}; echo done"]}})", image, micros);
      const bool accepted = WaitUntil(
          [&] {
            const Answer answer = daemon_.Call("/v1/jobs", body);
            if (answer.status == 202) accepted_.push_back(answer.json.StringOr("id", ""));
            if (answer.status != 202) ++unanswered_;
            return answer.status == 202;
          },
          seconds(120));
      EXPECT_TRUE(accepted);
    }
  }
  void KillSomething() {
    const int what = std::uniform_int_distribution<>(0, 3)(random_);
    if (what < 2) {
      if (const pid_t service = daemon_.service(); service > 0) kill(service, SIGKILL);
      ++service_kills_;
      return;
    }
    if (what == 3)
      if (const pid_t service = daemon_.service(); service > 0) kill(service, SIGKILL);
    daemon_.Stop(SIGKILL);
    ++launcher_kills_;
    daemon_.Start();
  }
  // Every job that the daemon knows, by id.
  std::map<std::string, Json> AllJobs() {
    std::map<std::string, Json> jobs;
    std::string cursor;
    do {
      const Answer page = daemon_.Call("/v1/jobs?limit=200" + (cursor.empty() ? "" : "&cursor=" + cursor));
      EXPECT_EQ(page.status, 200);
      for (const Json& job : page.json.ArrayOrEmpty("items")) jobs[job.StringOr("id", "")] = job;
      cursor = page.json.StringOr("next_cursor", "");
    } while (!cursor.empty());
    return jobs;
  }

  Registry registry_;
  Daemon daemon_{registry_};
  std::mt19937 random_{static_cast<unsigned>(FromEnvironment("STORM_SEED", 1))};
  std::vector<std::string> accepted_;
  int unanswered_ = 0, service_kills_ = 0, launcher_kills_ = 0;
};

TEST_F(StormTest, EveryAcceptedJobReachesOneFinalState) {
  const int rounds = FromEnvironment("STORM_ROUNDS", 1);
  std::map<std::string, std::string> finals;  // state and time of the end, as first seen
  int changed = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::string image = PushImage(round);
    accepted_.clear();
    std::thread submitter([&] { SubmitAll(image, kJobs); });
    for (int i = 0; i < kKills; ++i) {
      poll(nullptr, 0, std::uniform_int_distribution<>(50, 800)(random_));  // a random moment, not a wait for something
      KillSomething();
    }
    submitter.join();
    ASSERT_TRUE(daemon_.WaitReady());
    std::map<std::string, int> outcomes;
    for (const std::string& id : accepted_) {
      const Json job = daemon_.WaitFinal(id, seconds(300));
      finals[id] = job.StringOr("state", "") + " at " + job.StringOr("finished_at", "");
      ++outcomes[job.StringOr("state", "?") + " " + job.StringOr("reason", "?")];
    }
    daemon_.Stop(SIGKILL);  // once more, now that nothing may change any more
    daemon_.Start();
    for (const auto& [id, job] : AllJobs()) {
      const std::string final_state = job.StringOr("state", "") + " at " + job.StringOr("finished_at", "");
      const auto [known, fresh] = finals.emplace(id, final_state);
      if (!fresh && known->second != final_state) ++changed;  // it was completed twice
    }
    fmt::print("round {}: {} accepted, {} without an answer, {} service kills, {} launcher kills: {}\n", round,
               accepted_.size(), unanswered_, service_kills_, launcher_kills_, testing::PrintToString(outcomes));
    EXPECT_EQ(accepted_.size(), static_cast<size_t>(kJobs));
    for (const auto& [outcome, count] : outcomes)
      EXPECT_TRUE(outcome == "succeeded exited" || outcome == "failed lost") << outcome << " x" << count;
  }
  EXPECT_EQ(changed, 0) << "jobs were completed twice";
  daemon_.Stop();
  ExpectNothingLeft(daemon_);
}

}  // namespace
}  // namespace caisson::integration
