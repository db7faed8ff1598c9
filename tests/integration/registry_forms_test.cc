// SPDX-License-Identifier: Apache-2.0
// docker-registry in the four forms that operators run, each with and without what it asks for.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <list>
#include <memory>

#include "tests/integration/daemon.h"
#include "tests/integration/secured_registry.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;
using testing::Not;

class RegistryFormsTest : public testing::Test {
 protected:
  RegistryFormsTest() { source_.PushBusybox(); }

  // A daemon that knows `registry`, and its login where `auth` is not empty.
  std::unique_ptr<Daemon> Start(const SecuredRegistry& registry, const std::string& auth = "") {
    std::string settings = registry.Settings();
    if (!auth.empty()) {
      const std::string file = directory_.path() + "/auth.json";
      WriteFile(file, auth);
      chmod(file.c_str(), 0600);
      settings = fmt::format("auth_file = \"{}\"\n", file) + settings;
    }
    return std::make_unique<Daemon>(settings);
  }
  Finished Run(const Daemon& daemon, const SecuredRegistry& registry, const std::string& image = "busybox:1") {
    return daemon.Caisson({"run", registry.Name(image), "--", "echo", "pulled"});
  }
  void ExpectPulled(const Finished& run) { EXPECT_EQ(run.out, "pulled\n") << run.err; }
  void ExpectDenied(const Daemon& daemon, const Finished& run) {
    EXPECT_NE(run.status, 0) << run.out;
    EXPECT_THAT(run.err, HasSubstr("credentials"));
    // The word is asked for in many places; the password itself is nowhere.
    for (const std::string& text : {run.err, daemon.log()})
      for (const char* secret : {SecuredRegistry::kPassword, "wrong"}) EXPECT_THAT(text, Not(HasSubstr(secret)));
  }

  // Pulls an image of many layers, and counts the tokens that it took.
  void PullLayers(const SecuredRegistry& registry, const std::string& image, size_t& tokens) {
    constexpr int kLayers = 24;
    std::vector<std::string> layers;
    std::list<TemporaryDirectory> sources;
    for (int i = 0; i < kLayers; ++i) {
      WriteFile(sources.emplace_back().path() + "/file", fmt::format("layer {} of {}\n", i, image));
      layers.insert(layers.end(), {"--add", sources.back().path()});
    }
    source_.Push(image, layers);
    registry.CopyFrom(source_, image);
    const auto daemon = Start(registry, registry.AuthJson());
    const size_t before = registry.tokens_given();
    ExpectPulled(Run(*daemon, registry, image));
    tokens = registry.tokens_given() - before;
  }

  Registry source_;
  TemporaryDirectory directory_;
};

TEST_F(RegistryFormsTest, PlainHttpIsPulledAnonymously) {
  const SecuredRegistry registry(RegistryForm::kPlain);
  registry.CopyFrom(source_, "busybox:1");
  ExpectPulled(Run(*Start(registry), registry));
}

TEST_F(RegistryFormsTest, PasswordFromTheNodesAuthFile) {
  const SecuredRegistry registry(RegistryForm::kPassword);
  registry.CopyFrom(source_, "busybox:1");
  const auto daemon = Start(registry, registry.AuthJson());
  ExpectPulled(Run(*daemon, registry));
  EXPECT_THAT(daemon->log(), Not(HasSubstr(SecuredRegistry::kPassword)));
}

TEST_F(RegistryFormsTest, PasswordThatIsMissingOrWrongIsSaid) {
  const SecuredRegistry registry(RegistryForm::kPassword);
  registry.CopyFrom(source_, "busybox:1");
  const auto without = Start(registry);
  ExpectDenied(*without, Run(*without, registry));
  const auto wrong = Start(registry, registry.AuthJson(false));
  ExpectDenied(*wrong, Run(*wrong, registry));
}

TEST_F(RegistryFormsTest, PasswordFromTheTenantsLogin) {
  const SecuredRegistry registry(RegistryForm::kPassword);
  registry.CopyFrom(source_, "busybox:1");
  const auto daemon = Start(registry);
  const Finished login = daemon->Caisson(
      {"registry", "login", "--username", SecuredRegistry::kUser, "--password-stdin", registry.address()},
      SecuredRegistry::kPassword);
  ASSERT_EQ(login.status, 0) << login.err;
  ExpectPulled(Run(*daemon, registry));
  // It is stored sealed: no file of the daemon has the password in it.
  const Finished found = RunProgram({"grep", "-r", "-l", SecuredRegistry::kPassword, daemon->data_dir()});
  EXPECT_EQ(found.out, "");
  EXPECT_EQ(daemon->Caisson({"registry", "logout", registry.address()}).status, 0);
  EXPECT_THAT(daemon->Caisson({"registry", "ls"}).out, Not(HasSubstr(registry.address())));
}

TEST_F(RegistryFormsTest, TlsUnderAnAuthorityOfItsOwn) {
  const SecuredRegistry registry(RegistryForm::kTls);
  registry.CopyFrom(source_, "busybox:1");
  ExpectPulled(Run(*Start(registry), registry));
}

TEST_F(RegistryFormsTest, TlsOfAnUnknownAuthorityIsRefused) {
  const SecuredRegistry registry(RegistryForm::kTls);
  registry.CopyFrom(source_, "busybox:1");
  Daemon daemon(fmt::format("[registries.\"{}\"]\nplain_http = false\n", registry.address()));
  const Finished run = Run(daemon, registry);
  EXPECT_NE(run.status, 0);
  EXPECT_THAT(run.err, HasSubstr("certificate"));
}

TEST_F(RegistryFormsTest, BearerTokensFromATokenService) {
  const SecuredRegistry registry(RegistryForm::kToken);
  registry.CopyFrom(source_, "busybox:1");
  const size_t before = registry.tokens_given();
  ExpectPulled(Run(*Start(registry, registry.AuthJson()), registry));
  EXPECT_GT(registry.tokens_given(), before);
}

TEST_F(RegistryFormsTest, BearerTokensAreNotGivenToAWrongPassword) {
  const SecuredRegistry registry(RegistryForm::kToken);
  registry.CopyFrom(source_, "busybox:1");
  const auto daemon = Start(registry, registry.AuthJson(false));
  ExpectDenied(*daemon, Run(*daemon, registry));
}

// The registry refuses a token after one second, while the service believes it good for five minutes. Pulls are
// repeated until one outlasted its token, and so needed more of them than a pull does otherwise; each has to succeed.
TEST_F(RegistryFormsTest, ATokenThatExpiresInMidPullIsRenewed) {
  constexpr int kPulls = 8;
  size_t tokens_of_a_pull = 0;
  const SecuredRegistry patient(RegistryForm::kToken), hasty(RegistryForm::kToken, 1);
  PullLayers(patient, "many:0", tokens_of_a_pull);
  size_t tokens = 0;
  for (int pull = 0; pull < kPulls && tokens <= tokens_of_a_pull; ++pull)
    PullLayers(hasty, fmt::format("many:{}", pull), tokens);
  EXPECT_GT(tokens, tokens_of_a_pull) << "no pull outlasted its token";
}

}  // namespace
}  // namespace caisson::integration
