// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace caisson::daemon {
namespace {

using testing::HasSubstr;

class SettingsTest : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    const std::string path = testing::TempDir() + "/settings_test.toml";
    std::ofstream(path) << text;
    return path;
  }
  std::string ErrorOf(const std::string& toml) {
    const auto line = ParseSettings({"--config", Write(toml)}, {});
    return line ? "accepted" : line.error().message;
  }
};

TEST_F(SettingsTest, FlagGoesBeforeVariableBeforeFileBeforeDefault) {
  const std::string file = Write("data_dir = \"/file\"\nrun_dir = \"/file\"\nslots = 3\n");
  const auto line = ParseSettings({"--config", file, "--data-dir=/flag"},
                                  {{"CAISSON_DATA_DIR", "/var"}, {"CAISSON_RUN_DIR", "/var"}});
  ASSERT_TRUE(line) << line.error().message;
  EXPECT_EQ(line->settings.data_dir, "/flag");
  EXPECT_EQ(line->settings.run_dir, "/var");
  EXPECT_EQ(line->settings.slots, 3);
  EXPECT_EQ(line->settings.isolation, "strict");
}

TEST_F(SettingsTest, UnknownKeyRefusesToStart) {
  EXPECT_THAT(ErrorOf("slots = 1\ndata_dirr = \"/x\"\n"), HasSubstr(":2: data_dirr: unknown key"));
  EXPECT_THAT(ErrorOf("[registries.\"h:1\"]\nplain = true\n"), HasSubstr("plain_http"));
  EXPECT_FALSE(ParseSettings({"--frobnicate"}, {}));
}

TEST_F(SettingsTest, LayersThatAreNotSharedAreRefusedWithWords) {
  EXPECT_EQ(ErrorOf("[layers]\nshare = \"all\"\n"), "accepted");
  EXPECT_THAT(ErrorOf("[layers]\nshare = \"tenant\"\n"), HasSubstr("only \"all\" is possible"));
}

TEST_F(SettingsTest, WrongTypeNamesTheKey) {
  EXPECT_THAT(ErrorOf("slots = \"two\"\n"), HasSubstr("slots: must be a whole number"));
  EXPECT_THAT(ErrorOf("isolation = \"loose\"\n"), HasSubstr("neither \"strict\" nor \"best-effort\""));
  EXPECT_THAT(ErrorOf("slots = 100000\n"), HasSubstr("not between 0 and 1024"));
  EXPECT_THAT(ErrorOf("slots = \n"), HasSubstr(":1: "));
}

TEST_F(SettingsTest, ListenBeyondLoopbackIsRefusedUnlessInsecure) {
  EXPECT_THAT(ErrorOf("listen = \"0.0.0.0:7070\"\n"), HasSubstr("--insecure-listen"));
  EXPECT_EQ(ErrorOf("listen = \"0.0.0.0:7070\"\ninsecure_listen = true\n"), "accepted");
  EXPECT_THAT(ErrorOf("listen = \"127.example.org:7070\"\n"), HasSubstr("--insecure-listen"));
  EXPECT_EQ(ErrorOf("listen = \"127.0.0.1:0\"\n"), "accepted");
  EXPECT_EQ(ErrorOf("listen = \"0.0.0.0:7070\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\n"), "accepted");
  EXPECT_THAT(ErrorOf("tls_cert = \"/c\"\n"), HasSubstr("belong together"));
  EXPECT_THAT(ErrorOf("listen = \"7070\"\n"), HasSubstr("ADDRESS:PORT"));
  EXPECT_EQ(ErrorOf("listen = \"0.0.0.0:7070\"\ntls_cert = \"/c\"\ntls_key = \"/k\"\n"), "accepted");
  EXPECT_THAT(ErrorOf("tls_cert = \"/c\"\n"), HasSubstr("belong together"));
  EXPECT_THAT(ErrorOf("tls_cert = \"c\"\ntls_key = \"/k\"\n"), HasSubstr("not an absolute path"));
}

TEST_F(SettingsTest, MissingFileIsAnErrorOnlyWhenItWasNamed) {
  EXPECT_TRUE(ParseSettings({}, {}));
  EXPECT_FALSE(ParseSettings({"--config", "/nonexistent/caisson.toml"}, {}));
}

TEST_F(SettingsTest, UnknownVariableOfOursRefusesToStart) {
  const auto with = [](const std::string& name) { return ParseSettings({}, {{name, "1"}, {"PATH", "/bin"}}); };
  const auto mistyped = with("CAISSON_DATADIR");
  ASSERT_FALSE(mistyped);
  EXPECT_THAT(mistyped.error().message, HasSubstr("CAISSON_DATADIR is no setting"));
  EXPECT_FALSE(with("CAISSON_"));
  for (const char* name : {"CAISSON_HOST", "CAISSON_TOKEN", "CAISSON_JOB_ID", "CAISSON_SLOTS", "CAISSONS"})
    EXPECT_TRUE(with(name)) << name;
}

TEST_F(SettingsTest, ReachTheServiceUnchanged) {
  const auto line = ParseSettings({"--config", Write("[registries.\"127.0.0.1:5000\"]\nplain_http = true\n"), "--slots",
                                   "7", "--isolation", "best-effort"},
                                  {});
  ASSERT_TRUE(line) << line.error().message;
  const auto copy = FromToml(ToToml(line->settings), "settings");
  ASSERT_TRUE(copy) << copy.error().message;
  EXPECT_EQ(copy->slots, 7);
  EXPECT_TRUE(copy->best_effort());
  EXPECT_TRUE(copy->registries.at("127.0.0.1:5000").plain_http);
}

}  // namespace
}  // namespace caisson::daemon
