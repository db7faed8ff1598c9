// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/id_ranges.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "base/io.h"

namespace caisson::sandbox {
namespace {

class IdRangesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::getuid() != 0) GTEST_SKIP() << "needs root, whose the directory must be";
    std::string path = testing::TempDir() + "/ids-XXXXXX";
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    options_.directory = path;
  }
  void TearDown() override { std::filesystem::remove_all(options_.directory); }

  // Far from the real pool, and from that of a test that runs beside this one; room for two whole blocks and a half.
  static uint32_t FirstId() { return 0x20000000 + static_cast<uint32_t>(::getpid() % 64) * 256 * kIdsPerRange; }
  IdRanges::Options options_{.first = FirstId(), .last = FirstId() + 160 * kIdsPerRange - 1, .directory = ""};
};

TEST_F(IdRangesTest, RangesAreDisjointAndAligned) {
  Result<IdRanges> ranges = IdRanges::Open(options_);
  ASSERT_TRUE(ranges.has_value()) << ranges.error().message;
  std::vector<IdRange> taken;
  std::set<uint32_t> bases;
  for (int i = 0; i < 160; ++i) {
    Result<IdRange> range = ranges->Take();
    ASSERT_TRUE(range.has_value()) << i << range.error().message;
    EXPECT_EQ(range->base() % kIdsPerRange, 0U);
    EXPECT_GE(range->base(), options_.first);
    EXPECT_LE(range->base() + kIdsPerRange - 1, options_.last);
    EXPECT_TRUE(bases.insert(range->base()).second);
    taken.push_back(*std::move(range));
  }
  EXPECT_EQ(ranges->in_use(), 160U);
  const Result<IdRange> one_more = ranges->Take();
  ASSERT_FALSE(one_more.has_value());
  EXPECT_EQ(one_more.error().code, ErrorCode::kExhausted);
  taken.pop_back();
  EXPECT_TRUE(ranges->Take().has_value());
}

TEST_F(IdRangesTest, AReturnedRangeRests) {
  Result<IdRanges> ranges = IdRanges::Open(options_);
  ASSERT_TRUE(ranges.has_value());
  const uint32_t first = ranges->Take()->base();
  EXPECT_NE(ranges->Take()->base(), first);
  EXPECT_EQ(ranges->in_use(), 0U);
}

TEST_F(IdRangesTest, MovedRangeIsGivenBackOnce) {
  Result<IdRanges> ranges = IdRanges::Open(options_);
  ASSERT_TRUE(ranges.has_value());
  IdRange a = *ranges->Take();
  IdRange b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_TRUE(b);
  b = IdRange();
  EXPECT_EQ(ranges->in_use(), 0U);
}

TEST_F(IdRangesTest, TwoLaunchersShareThePoolByBlocks) {
  Result<IdRanges> one = IdRanges::Open(options_);
  Result<IdRanges> other = IdRanges::Open(options_);
  ASSERT_TRUE(one.has_value() && other.has_value());
  std::set<uint32_t> bases;
  std::vector<IdRange> taken;
  for (int i = 0; i < 60; ++i) {
    for (IdRanges* ranges : {&*one, &*other}) {
      Result<IdRange> range = ranges->Take();
      ASSERT_TRUE(range.has_value()) << range.error().message;
      EXPECT_TRUE(bases.insert(range->base()).second);
      taken.push_back(*std::move(range));
    }
  }
}

TEST_F(IdRangesTest, ABlockIsFreeAgainWhenItsLauncherEnds) {
  options_.last = options_.first + 64 * kIdsPerRange - 1;
  {
    Result<IdRanges> holder = IdRanges::Open(options_);
    ASSERT_TRUE(holder.has_value());
    EXPECT_FALSE(IdRanges::Open(options_).has_value());
  }
  EXPECT_TRUE(IdRanges::Open(options_).has_value());
}

TEST_F(IdRangesTest, ABlockWithALivingProcessIsNotTaken) {
  options_.last = options_.first + 64 * kIdsPerRange - 1;
  { ASSERT_TRUE(IdRanges::Open(options_).has_value()); }
  Pipe ready = *MakePipe();
  const pid_t survivor = ::fork();
  if (survivor == 0) {
    const uid_t id = options_.first + 3 * kIdsPerRange + 1000;
    if (::setresuid(id, id, id) != 0) ::_exit(1);
    (void)WriteAll(ready.write.get(), "x");
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready.read.get(), &byte, 1), 1);
  EXPECT_FALSE(IdRanges::Open(options_).has_value());
  ::kill(survivor, SIGKILL);
  ::waitpid(survivor, nullptr, 0);
  EXPECT_TRUE(IdRanges::Open(options_).has_value());
}

TEST_F(IdRangesTest, ADirectoryThatOthersMayWriteIsRefused) {
  ASSERT_EQ(::chmod(options_.directory.c_str(), 0777), 0);
  const Result<IdRanges> ranges = IdRanges::Open(options_);
  ASSERT_FALSE(ranges.has_value());
  EXPECT_EQ(ranges.error().code, ErrorCode::kDenied);
}

}  // namespace
}  // namespace caisson::sandbox
