// SPDX-License-Identifier: Apache-2.0
#include "image/layer/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/layer/limits.h"
#include "image/layer/path.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

UnpackReport Example() {
  UnpackReport report;
  report.diff_id.bytes[0] = 7;
  report.unpacked_bytes = 1 << 30;
  report.entries = 12;
  report.facts = {{"", "usr"}, {"a"}, {"b"}, {"a", "a/b"}};
  return report;
}

TEST(ReportTest, UnpackReportRoundTrips) {
  const UnpackReport decoded = *DecodeUnpackReport(EncodeReport(Example()));
  EXPECT_EQ(decoded.diff_id, Example().diff_id);
  EXPECT_EQ(decoded.unpacked_bytes, Example().unpacked_bytes);
  EXPECT_EQ(decoded.facts, Example().facts);
}

TEST(ReportTest, MergeReportAndOrderRoundTrip) {
  const MergeReport report{
      {{"", {0755, 0, 0}}, {"tmp", {01777, 1, 2}}}, "root:x:0:0::/:\n", std::string("\0\xff", 2), 3};
  const MergeReport decoded = *DecodeMergeReport(EncodeReport(report));
  EXPECT_EQ(decoded.directories, report.directories);
  EXPECT_EQ(decoded.group, report.group);
  const MergeOrder order{{Example().facts, {}, Example().facts}};
  EXPECT_EQ(DecodeMergeOrder(EncodeMergeOrder(order))->layers, order.layers);
}

TEST(ReportTest, RefusalComesBackAsItsError) {
  const Error error = DecodeUnpackReport(EncodeRefusal({ErrorCode::kTooLarge, "entry \"x\": too big", 0})).error();
  EXPECT_EQ(error.code, ErrorCode::kTooLarge);
  EXPECT_EQ(error.message, "entry \"x\": too big");
  EXPECT_EQ(DecodeMergeReport(EncodeRefusal({ErrorCode::kDenied, "x", 0})).error().code, ErrorCode::kInternal);
}

TEST(ReportTest, ControlCharactersOfAHostileWorkerDoNotReachTheUser) {
  const Error error = DecodeUnpackReport(EncodeRefusal({ErrorCode::kInvalid, "a\x1b[2Jb\n", 0})).error();
  EXPECT_EQ(error.message, "a\\x1b[2Jb\\x0a");
}

TEST(ReportTest, EveryTruncationAndExtensionIsRefused) {
  const std::string unpack = EncodeReport(Example()), merge = EncodeReport(MergeReport{{{"etc", {}}}, "p", "g", 1});
  for (size_t size = 1; size < unpack.size(); ++size)
    EXPECT_EQ(DecodeUnpackReport(unpack.substr(0, size)).error().code, ErrorCode::kCorrupt) << size;
  for (size_t size = 1; size < merge.size(); ++size)
    EXPECT_EQ(DecodeMergeReport(merge.substr(0, size)).error().code, ErrorCode::kCorrupt) << size;
  EXPECT_EQ(DecodeUnpackReport(unpack + "x").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(DecodeUnpackReport(merge).error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(DecodeUnpackReport("").error().message, HasSubstr("without a report"));
}

TEST(ReportTest, PathsThatLeaveTheLayerAreRefused) {
  for (const char* path : {"/etc", "..", "a/../b", "a//b", "a/", "./a"}) {
    UnpackReport report = Example();
    report.facts.opaque = {path};
    EXPECT_FALSE(DecodeUnpackReport(EncodeReport(report))) << path;
  }
  UnpackReport unsorted = Example();
  unsorted.facts.opaque = {"b", "a"};
  EXPECT_FALSE(DecodeUnpackReport(EncodeReport(unsorted)));
  unsorted.facts.opaque = {"a", "a"};
  EXPECT_FALSE(DecodeUnpackReport(EncodeReport(unsorted)));
  UnpackReport root = Example();
  root.facts.replaced = {""};
  EXPECT_FALSE(DecodeUnpackReport(EncodeReport(root)));
}

TEST(ReportTest, NumbersOutOfRangeAreRefused) {
  UnpackReport report = Example();
  report.entries = kMaxEntries + 1;
  EXPECT_FALSE(DecodeUnpackReport(EncodeReport(report)));
  EXPECT_FALSE(DecodeMergeReport(EncodeReport(MergeReport{{{"tmp", {0170000, 0, 0}}}, "", "", 0})));
  EXPECT_FALSE(DecodeMergeReport(EncodeReport(MergeReport{{{"tmp", {0755, 65536, 0}}}, "", "", 0})));
  EXPECT_FALSE(DecodeMergeReport(EncodeReport(MergeReport{{{"boot", {0755, 0, 0}}}, "", "", 0})));
  EXPECT_FALSE(DecodeMergeReport(EncodeReport(MergeReport{{}, std::string(kMaxAccountFileBytes + 1, 'x'), "", 0})));
  // A count that promises more than there is must not make us allocate it.
  std::string huge = EncodeReport(UnpackReport{});
  huge.replace(huge.size() - 16, 4, "\xff\xff\xff\xff");
  EXPECT_FALSE(DecodeUnpackReport(huge));
}

TEST(LayerPathTest, SpellingIsNormalised) {
  EXPECT_EQ(*NormaliseLayerPath("./a//b/./c/"), "a/b/c");
  EXPECT_EQ(*NormaliseLayerPath("./"), "");
  EXPECT_EQ(ParentOf("a/b/c"), "a/b");
  EXPECT_EQ(ParentOf("a"), "");
  EXPECT_EQ(NameOf("a/b"), "b");
  EXPECT_TRUE(IsLayerPath("a/..b/c..."));
}

}  // namespace
}  // namespace caisson::image
