// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/data_directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"

namespace caisson::sandbox {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr ServiceUser kUser{59'998, 59'997};
const Fd host_mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));

class DataDirectoryTest : public ::testing::Test {
 protected:
  DataDirectoryTest() {
    CHECK(::setns(host_mounts.get(), CLONE_NEWNS) == 0);
    const char* base = std::getenv("TMPDIR");
    top_ = std::string(base != nullptr ? base : "/tmp") + "/caisson-data-test-XXXXXX";
    CHECK(::mkdtemp(top_.data()) != nullptr);
    path_ = top_ + "/a/data";
  }
  ~DataDirectoryTest() override { fs::remove_all(top_); }

  struct stat Stat(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info;
  }
  std::string ErrorOf(const ServiceUser& user = kUser) const {
    const auto data = DataDirectory::Open(path_, user);
    return data ? "" : data.error().message;
  }

  std::string top_;
  std::string path_;
};

TEST_F(DataDirectoryTest, EachPartHasItsOwnerAndMode) {
  const auto data = DataDirectory::Open(path_, kUser);
  ASSERT_TRUE(data) << data.error().message;
  EXPECT_EQ(Stat(path_).st_mode & 07777, 0755U);
  for (const std::string name : {"/layers", "/tmp"}) {
    EXPECT_EQ(Stat(path_ + name).st_uid, 0U);
    EXPECT_EQ(Stat(path_ + name).st_mode & 07777, 0700U);
  }
  EXPECT_EQ(Stat(path_ + "/service").st_uid, kUser.uid);
  EXPECT_EQ(Stat(path_ + "/service").st_gid, kUser.gid);
  EXPECT_EQ(Stat(path_ + "/service").st_mode & 07777, 0700U);
}

TEST_F(DataDirectoryTest, TheInstanceKeepsItsIdForEver) {
  std::string first;
  {
    const auto data = DataDirectory::Open(path_, kUser);
    ASSERT_TRUE(data);
    first = data->instance();
  }
  EXPECT_THAT(first, ::testing::MatchesRegex("[a-z0-9]{8}"));
  EXPECT_EQ(DataDirectory::Open(path_, kUser)->instance(), first);
  std::ofstream(path_ + "/instance") << "../../x\n";
  EXPECT_THAT(ErrorOf(), HasSubstr("instance"));
}

TEST_F(DataDirectoryTest, TwoLaunchersNeverShareOne) {
  const auto first = DataDirectory::Open(path_, kUser);
  ASSERT_TRUE(first);
  const auto second = DataDirectory::Open(path_, kUser);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_THAT(second.error().message, HasSubstr("another caissond"));
}

TEST_F(DataDirectoryTest, WhatOthersCouldChangeIsRefused) {
  ASSERT_TRUE(DataDirectory::Open(path_, kUser));
  ASSERT_EQ(::chmod((path_ + "/layers").c_str(), 0777), 0);
  EXPECT_THAT(ErrorOf(), HasSubstr("layers must belong to root"));
  ASSERT_EQ(::chmod((path_ + "/layers").c_str(), 0700), 0);
  ASSERT_EQ(::chown(path_.c_str(), 1000, 1000), 0);
  EXPECT_THAT(ErrorOf(), HasSubstr("must belong to root"));
}

TEST_F(DataDirectoryTest, ALinkInPlaceOfAPartIsRefused) {
  ASSERT_TRUE(DataDirectory::Open(path_, kUser));
  fs::remove(path_ + "/service");
  fs::create_symlink("/etc", path_ + "/service");
  EXPECT_NE(ErrorOf(), "");
  EXPECT_EQ(Stat("/etc").st_uid, 0U);
}

TEST_F(DataDirectoryTest, AnotherServiceUserIsToldHowToTakeItOver) {
  ASSERT_TRUE(DataDirectory::Open(path_, kUser));
  EXPECT_THAT(ErrorOf({60'001, 60'001}), HasSubstr("chown -R 60001:60001"));
}

TEST_F(DataDirectoryTest, ARunDirectoryIsTakenOverOnlyWhenItIsEmptyOrTheServices) {
  const std::string run = top_ + "/run";
  ASSERT_TRUE(MakeRunDirectory(run, kUser));
  EXPECT_EQ(Stat(run).st_uid, kUser.uid);
  std::ofstream(run + "/caisson.sock") << "x";
  EXPECT_TRUE(MakeRunDirectory(run, kUser));
  const std::string foreign = top_ + "/foreign";
  fs::create_directory(foreign);
  std::ofstream(foreign + "/file") << "x";
  EXPECT_FALSE(MakeRunDirectory(foreign, kUser));
  EXPECT_EQ(Stat(foreign).st_uid, 0U);
}

TEST(ServiceUserTest, NumbersAndNamesAreResolvedAndRootRefused) {
  EXPECT_EQ(ResolveServiceUser("123:456")->uid, 123U);
  EXPECT_EQ(ResolveServiceUser("123:456")->gid, 456U);
  EXPECT_EQ(ResolveServiceUser("nobody")->uid, 65534U);
  for (const char* bad :
       {"root", "0:0", "0:5", "5:0", "1:", ":1", "1:2:3", "-1:5", "4294967295:5", "4294967296:5", "a:b"})
    EXPECT_FALSE(ResolveServiceUser(bad)) << bad;
  const auto missing = ResolveServiceUser("caisson-nobody-has-this");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message,
              HasSubstr("useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin caisson-nobody-has-this"));
}

}  // namespace
}  // namespace caisson::sandbox
