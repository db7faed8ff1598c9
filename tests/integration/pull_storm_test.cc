// SPDX-License-Identifier: Apache-2.0
// Pulls while service, workers and launcher are killed at random moments: the image comes in the end, every file of it
// is right, and nothing of what was cut off is left or needs a hand. PULL_STORM_ROUNDS sets the rounds (200 for the
// full proof), PULL_STORM_SEED repeats one.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <map>
#include <random>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

constexpr int kLayers = 6;
constexpr int kSmallFiles = 100;  // in each layer

int FromEnvironment(const char* name, int fallback) {
  const char* text = getenv(name);
  return text && *text ? std::stoi(text) : fallback;
}

class PullStormTest : public testing::Test {
 protected:
  // An image of some layers, each with many small files and a large one, and with the list of their sums.
  std::string PushImage() {
    const TemporaryDirectory work;
    std::vector<std::string> options;
    std::mt19937 contents(1);
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string root = fmt::format("{}/{}", work.path(), layer);
      const std::string data = fmt::format("{}/data/{}", root, layer);
      RunProgram({"mkdir", "-p", data});
      std::string noise(2 << 20, '\0');
      for (size_t i = 0; i < noise.size(); i += 4) {
        const uint32_t word = contents();
        noise.replace(i, 4, reinterpret_cast<const char*>(&word), 4);
      }
      WriteFile(data + "/large", noise);
      for (int i = 0; i < kSmallFiles; ++i) WriteFile(fmt::format("{}/{}", data, i), fmt::format("{} {}\n", layer, i));
      const Finished sums = RunProgram(
          {"sh", "-c", "cd \"$1\" && find data -type f -exec sha256sum {} + >\"$2\" && mv \"$2\" data/$3.sums", "sh",
           root, root + ".sums", std::to_string(layer)});
      EXPECT_EQ(sums.status, 0) << sums.err;
      options.insert(options.end(), {"--add", root});
    }
    registry_.Push("storm:1", options);
    return registry_.Name("storm:1");
  }
  // A job that looks at every byte of the image.
  std::string SubmitCheck(const std::string& image) {
    const std::string body = fmt::format(
        R"({{"image":"{}","command":["sh","-c","cat /data/*.sums | wc -l; cat /data/*.sums | (cd / && sha256sum -c) | grep -vc ': OK$'; true"]}})",
        image);
    std::string id;
    const bool accepted = WaitUntil(
        [&] {
          const Answer answer = daemon_.Call("/v1/jobs", body);
          id = answer.json.StringOr("id", "");
          return answer.status == 202;
        },
        seconds(120));
    EXPECT_TRUE(accepted);
    return id;
  }
  bool KillOneOf(const std::string& name) {
    std::vector<pid_t> pids;
    for (const Daemon::Role& role : daemon_.Roles())
      if (role.name == name) pids.push_back(role.pid);
    if (pids.empty()) return false;
    kill(pids[random_() % pids.size()], SIGKILL);
    return true;
  }
  void KillSomething(const std::string& job) {
    switch (random_() % 4) {
      case 0: kills_["service"] += KillOneOf("caisson-service"); return;
      case 1:
      case 2:  // workers are short-lived: the next one that is there
        WaitUntil([&] { return KillOneOf("caisson-worker") ? ++kills_["worker"] > 0 : IsFinal(job); }, seconds(5));
        return;
      default:
        daemon_.Stop(SIGKILL);
        daemon_.Start();
        ++kills_["launcher"];
    }
  }
  bool IsFinal(const std::string& id) const { return !daemon_.Job(id).StringOr("finished_at", "").empty(); }
  // So that the next round pulls every layer anew.
  void RemoveEverything(const std::string& image) {
    Finished said;
    const auto tell = [&](std::vector<std::string> words) {
      return WaitUntil([&] { return (said = daemon_.Caisson(words)).status == 0; }, seconds(20));
    };
    EXPECT_TRUE(tell({"image", "rm", image})) << said.err;  // a job's mounts may hold the layers a moment longer
    EXPECT_TRUE(tell({"image", "gc", "--all"})) << said.err;
    EXPECT_TRUE(WaitUntil([&] { return ListDirectory(daemon_.data_dir() + "/layers").empty(); })) << said.out;
  }
  void ExpectNothingStale() {
    for (const char* directory : {"/tmp", "/service/partial"}) {
      std::vector<std::string> names;
      EXPECT_TRUE(WaitUntil([&] {
        names = ListDirectory(daemon_.data_dir() + directory);
        return names.empty();
      })) << directory
          << ": " << testing::PrintToString(names);
    }
  }

  Registry registry_;
  Daemon daemon_{registry_};
  std::mt19937 random_{static_cast<unsigned>(FromEnvironment("PULL_STORM_SEED", 1))};
  std::map<std::string, int> kills_;
};

TEST_F(PullStormTest, EveryImageComesWholeThroughKillsAtRandomMoments) {
  const int rounds = FromEnvironment("PULL_STORM_ROUNDS", 8);
  int killed_in_pull = 0, lost = 0;
  const std::string image = PushImage();
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    std::string id = SubmitCheck(image);
    for (int kill_number = 0; kill_number < 2; ++kill_number) {
      poll(nullptr, 0, static_cast<int>(random_() % 300));  // a random moment, not a wait for something
      killed_in_pull += daemon_.Job(id).StringOr("state", "") == "preparing";
      KillSomething(id);
    }
    ASSERT_TRUE(daemon_.WaitReady());
    Json job = daemon_.WaitFinal(id, seconds(300));
    if (job.StringOr("state", "") != "succeeded") {  // deaths use up what a job has of patience: a new one has to do
      ++lost;
      id = SubmitCheck(image);
      job = daemon_.WaitFinal(id, seconds(300));
    }
    ASSERT_EQ(job.StringOr("state", ""), "succeeded") << "round " << round << ": " << job.Dump();
    // An attempt that was cut off may have begun to say something.
    EXPECT_THAT(daemon_.Caisson({"logs", id}).out,
                testing::EndsWith(fmt::format("{}\n0\n", kLayers * (kSmallFiles + 1))));
    const Finished verified = daemon_.Caisson({"image", "verify", image});
    EXPECT_EQ(verified.status, 0) << verified.out << verified.err;
    ExpectNothingStale();
    RemoveEverything(image);
    fmt::print("{} rounds, {} kills while the image was prepared, {} jobs handed in again, kills: {}\n", round + 1,
               killed_in_pull, lost, testing::PrintToString(kills_));
  }
  daemon_.Stop();
  ExpectNothingLeft(daemon_);
}

}  // namespace
}  // namespace caisson::integration
