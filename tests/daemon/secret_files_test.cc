// SPDX-License-Identifier: Apache-2.0
// Runs as root, as the launcher does.
#include "daemon/settings/secret_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/io.h"

namespace caisson::daemon {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

class SecretFilesTest : public testing::Test {
 protected:
  SecretFilesTest() {
    if (::geteuid() != 0) return;
    directory_ = testing::TempDir() + "/secret-files-XXXXXX";
    EXPECT_NE(::mkdtemp(directory_.data()), nullptr);
    for (const char* name : {"data", "etc"}) std::filesystem::create_directory(file(name));
    settings_.data_dir = file("data");
    settings_.node_key_file = file("etc/node.key");
    settings_.auth_file = file("etc/auth.json");
    Write("etc/auth.json", "{}", 0600);
  }
  ~SecretFilesTest() override {
    std::error_code ignored;
    if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
  }
  void SetUp() override { ASSERT_EQ(::geteuid(), 0u) << "needs root, as the launcher does"; }

  std::string file(const std::string& name) const { return directory_ + "/" + name; }
  void Write(const std::string& name, const std::string& text, mode_t mode) const {
    std::ofstream(file(name)) << text;
    EXPECT_EQ(::chmod(file(name).c_str(), mode), 0);
  }
  std::string ErrorOf() {
    const auto read = ReadSecretFiles(settings_);
    return read ? "accepted" : read.error().message;
  }

  std::string directory_;
  Settings settings_;
};

TEST_F(SecretFilesTest, MissingKeyIsMadeForRootAloneAndKept) {
  ASSERT_EQ(ErrorOf(), "accepted");
  const std::string key = settings_.node_key.Expose();
  EXPECT_THAT(key, MatchesRegex("[0-9a-f]{64}"));
  struct stat info {};
  ASSERT_EQ(::stat(settings_.node_key_file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(info.st_uid, 0u);
  ASSERT_EQ(ErrorOf(), "accepted");
  EXPECT_EQ(settings_.node_key.Expose(), key);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(file("etc"))) names.insert(entry.path().filename());
  EXPECT_THAT(names, ElementsAre("auth.json", "node.key"));
}

TEST_F(SecretFilesTest, WhoeverMakesTheKeyFirstMadeItForAll) {
  std::vector<std::string> keys(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& key : keys)
      threads.emplace_back([&key, settings = settings_]() mutable {
        if (ReadSecretFiles(settings)) key = settings.node_key.Expose();
      });
  }
  const std::set<std::string> distinct(keys.begin(), keys.end());
  EXPECT_EQ(distinct.size(), 1u);
  EXPECT_FALSE(distinct.contains(""));
}

TEST_F(SecretFilesTest, KeyThatOthersMayReadOrOwnIsRefusedWithTheCommand) {
  ASSERT_EQ(ErrorOf(), "accepted");
  for (const mode_t mode : {0640, 0604, 0660, 0610}) {
    ASSERT_EQ(::chmod(settings_.node_key_file.c_str(), mode), 0);
    EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("node_key_file"), HasSubstr("chmod 600"))) << mode;
  }
  ASSERT_EQ(::chmod(settings_.node_key_file.c_str(), 0600), 0);
  ASSERT_EQ(::chown(settings_.node_key_file.c_str(), 12345, 0), 0);
  EXPECT_THAT(ErrorOf(), HasSubstr("must belong to root"));
}

TEST_F(SecretFilesTest, DamagedKeyIsNeverReplaced) {
  for (const char* text : {"", "00", "not hex at all, but as long as a key is in hex, sixty-four digits"}) {
    Write("etc/node.key", text, 0600);
    EXPECT_THAT(ErrorOf(), HasSubstr("does not hold 64 hex digits")) << text;
    EXPECT_EQ(ReadFile(settings_.node_key_file, 100).value(), text);
  }
  Write("etc/node.key", std::string(64, 'A'), 0600);
  EXPECT_NE(ErrorOf(), "accepted");
  Write("etc/node.key", std::string(200, 'a'), 0600);
  EXPECT_NE(ErrorOf(), "accepted");
}

TEST_F(SecretFilesTest, KeyInsideTheDataDirectoryIsRefusedHoweverItIsNamed) {
  std::filesystem::create_directories(file("data/deep/deeper"));
  std::filesystem::create_directory_symlink(file("data/deep"), file("link"));
  for (const char* name : {"data/key", "data/deep/deeper/key", "link/key", "etc/../data/key"}) {
    settings_.node_key_file = file(name);
    EXPECT_THAT(ErrorOf(), HasSubstr("is inside data_dir")) << name;
    EXPECT_FALSE(std::filesystem::exists(file(name)));
  }
  std::filesystem::create_directory(file("data-of-another"));  // its name begins with the other's
  settings_.node_key_file = file("data-of-another/key");
  EXPECT_EQ(ErrorOf(), "accepted");
}

TEST_F(SecretFilesTest, KeyInADirectoryWhereOthersWriteOrBehindALinkIsRefused) {
  ASSERT_EQ(::chmod(file("etc").c_str(), 0777), 0);
  EXPECT_THAT(ErrorOf(), HasSubstr("writable by nobody else"));
  ASSERT_EQ(::chmod(file("etc").c_str(), 0755), 0);
  Write("elsewhere", std::string(64, 'a'), 0600);
  std::filesystem::create_symlink(file("elsewhere"), settings_.node_key_file);
  EXPECT_THAT(ErrorOf(), HasSubstr("node_key_file"));
}

TEST_F(SecretFilesTest, DirectoryIsMadeForTheDefaultPathAlone) {
  settings_.node_key_file = file("no/such/node.key");
  EXPECT_THAT(ErrorOf(), HasSubstr("node_key_file"));
  EXPECT_FALSE(std::filesystem::exists(file("no")));
}

TEST_F(SecretFilesTest, AuthFileTravelsAsItIsAndMustBeRootsAlone) {
  Write("etc/auth.json", "not JSON \xff at all", 0600);
  ASSERT_EQ(ErrorOf(), "accepted");
  EXPECT_EQ(settings_.auth_json.Expose(), "not JSON \xff at all");
  ASSERT_EQ(::chmod(settings_.auth_file.c_str(), 0644), 0);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("auth_file"), HasSubstr("chmod 600")));
  settings_.auth_file = file("etc/none.json");
  EXPECT_THAT(ErrorOf(), HasSubstr("none.json"));
  settings_.auth_file = file("etc");
  EXPECT_THAT(ErrorOf(), HasSubstr("not a regular file"));
}

TEST_F(SecretFilesTest, SignatureKeysAreReadAndMustBeRootsWord) {
  Write("etc/a.pub", "pem a", 0644);
  settings_.signatures.push_back({.scope = "*", .keys = {file("etc/a.pub")}});
  ASSERT_EQ(ErrorOf(), "accepted");
  EXPECT_THAT(settings_.signatures[0].key_pems, ElementsAre("pem a"));
  ASSERT_EQ(::chmod(file("etc/a.pub").c_str(), 0666), 0);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("signatures: key"), HasSubstr("writable by nobody else")));
  settings_.signatures[0].keys = {file("etc/none.pub")};
  EXPECT_THAT(ErrorOf(), HasSubstr("none.pub"));
}

}  // namespace
}  // namespace caisson::daemon
