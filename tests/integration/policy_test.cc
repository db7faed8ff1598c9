// SPDX-License-Identifier: Apache-2.0
// What an operator's configuration allows: registries, and images that must be signed, with the signing script that
// the documents show (openssl and curl alone).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

class PolicyTest : public testing::Test {
 protected:
  PolicyTest() : digest_(registry_.Push("team/app:1")) {
    for (const char* name : {"ours", "theirs"}) {
      EXPECT_EQ(Run({"openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", File(name)}).status, 0);
      EXPECT_EQ(Run({"openssl", "ec", "-in", File(name), "-pubout", "-out", File(name) + ".pub"}).status, 0);
    }
  }

  static Finished Run(std::vector<std::string> words) { return RunProgram(std::move(words)); }
  std::string File(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Settings(const std::string& more) const {
    return "[registries.\"" + registry_.address() + "\"]\nplain_http = true\n" + more;
  }
  std::string MustBeSigned() const {
    return Settings("[[signatures]]\nscope = \"" + registry_.address() + "/team\"\nkeys = [\"" + File("ours.pub") +
                    "\"]\n");
  }
  void Sign(const std::string& key) const {
    const Finished signing = RunProgram(
        {std::string(CAISSON_SOURCE) + "/scripts/sign-image", File(key), registry_.Name("team/app@" + digest_)},
        std::nullopt, {{"PLAIN_HTTP", "1"}});
    ASSERT_EQ(signing.status, 0) << signing.err;
  }
  Finished RunJob(const Daemon& daemon, const std::string& image = "team/app:1") const {
    return daemon.Caisson({"run", registry_.Name(image), "--", "echo", "ran"});
  }

  Registry registry_;
  TemporaryDirectory directory_;
  std::string digest_;
};

constexpr int kImageError = 125;

TEST_F(PolicyTest, ImageThatMustBeSignedRunsOnceItIsAndNoLayerIsFetchedBefore) {
  const Daemon daemon(MustBeSigned());
  registry_.TakeRequests();
  const Finished without = RunJob(daemon);
  EXPECT_EQ(without.status, kImageError) << without.out;
  EXPECT_THAT(without.err, HasSubstr("must be signed ([[signatures]] scope = \"" + registry_.address() + "/team\")"));
  EXPECT_THAT(registry_.TakeRequests(), Each(Not(HasSubstr("/blobs/"))));
  Sign("theirs");
  const Finished foreign = RunJob(daemon);
  EXPECT_EQ(foreign.status, kImageError);
  EXPECT_THAT(foreign.err, HasSubstr("by none of the configured keys"));
  Sign("ours");
  const Finished good = RunJob(daemon);
  EXPECT_EQ(good.out, "ran\n") << good.err;
}

TEST_F(PolicyTest, CachedImageServesOnlyUnderTheRuleThatItWasVerifiedUnder) {
  Daemon daemon(Settings(""));
  EXPECT_EQ(RunJob(daemon).out, "ran\n");
  daemon.Stop();
  WriteFile(daemon.PathOf("caisson.toml"), MustBeSigned());
  daemon.Start();
  EXPECT_EQ(RunJob(daemon).status, kImageError);
  Sign("ours");
  registry_.TakeRequests();
  EXPECT_EQ(RunJob(daemon).out, "ran\n");
  EXPECT_THAT(registry_.TakeRequests(), Contains(HasSubstr(".sig")));
  EXPECT_EQ(RunJob(daemon).out, "ran\n");
  EXPECT_THAT(registry_.TakeRequests(), Each(Not(HasSubstr(".sig"))));
}

TEST_F(PolicyTest, RegistryThatIsNotOnTheListIsNotAsked) {
  const Daemon daemon(Settings("[images]\nregistries = [\"docker.io/library\"]\n"));
  registry_.TakeRequests();
  const Finished run = RunJob(daemon);
  EXPECT_EQ(run.status, kImageError);
  EXPECT_THAT(run.err, HasSubstr("[images] registries"));
  EXPECT_THAT(registry_.TakeRequests(), testing::IsEmpty());
}

TEST_F(PolicyTest, TenantsOwnListReplacesTheCommonOne) {
  const Daemon daemon(Settings("[images]\nregistries = [\"docker.io/library\"]\n[tenants.default]\nregistries = [\"" +
                               registry_.address() + "/team\"]\n"));
  EXPECT_EQ(RunJob(daemon).out, "ran\n");
}

TEST_F(PolicyTest, UselessSignatureKeyStopsTheStart) {
  const auto log_of = [this](const std::string& key) {
    DaemonOptions options;
    options.start = false;
    Daemon daemon(Settings("[[signatures]]\nscope = \"*\"\nkeys = [\"" + key + "\"]\n"), options);
    return RunProgram({std::string(CAISSON_PROGRAMS) + "/caissond", "--config", daemon.PathOf("caisson.toml"),
                       "--data-dir", daemon.data_dir(), "--run-dir", daemon.run_dir(), "--service-user", "64999:64999",
                       "--isolation", HostIsolation(), "--node-key-file", daemon.PathOf("node.key")},
                      std::nullopt, {}, seconds(30));
  };
  const Finished missing = log_of(File("none.pub"));
  EXPECT_NE(missing.status, 0);
  EXPECT_THAT(missing.err, HasSubstr("none.pub"));
  EXPECT_EQ(chmod(File("ours.pub").c_str(), 0666), 0);
  EXPECT_THAT(log_of(File("ours.pub")).err, HasSubstr("writable by nobody else"));
}

}  // namespace
}  // namespace caisson::integration
