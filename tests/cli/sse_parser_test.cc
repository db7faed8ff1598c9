// SPDX-License-Identifier: Apache-2.0
#include "cli/sse_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace caisson::cli {
namespace {

using testing::ElementsAre;

// "name|data|id" of each event.
std::vector<std::string> Events(std::string_view text, size_t piece) {
  SseParser parser;
  std::vector<std::string> events;
  for (size_t i = 0; i < text.size(); i += piece) {
    const Result<void> fed = parser.Feed(text.substr(i, piece), [&](const SseEvent& event) -> Result<void> {
      events.push_back(event.name + "|" + event.data + "|" + event.id.value_or("none"));
      return {};
    });
    EXPECT_TRUE(fed);
  }
  return events;
}

TEST(SseParserTest, GivesTheSameEventsHoweverTheBytesAreTorn) {
  constexpr std::string_view kText =
      "\xEF\xBB\xBFid: 5\nevent: stdout\ndata: aGVsbG8=\n\n: ping\n\nid:9\r\nevent:stderr\r\ndata:eA==\r\n\r\n"
      "event: end\rdata: {}\r\r";
  for (size_t piece = 1; piece <= kText.size(); ++piece)
    EXPECT_THAT(Events(kText, piece), ElementsAre("stdout|aGVsbG8=|5", "stderr|eA==|9", "end|{}|none")) << piece;
}

TEST(SseParserTest, FollowsTheStandardOnFields) {
  EXPECT_THAT(Events("data: a\ndata: b\ndata\n\n", 4), ElementsAre("message|a\nb\n|none"));
  EXPECT_THAT(Events("data:  two blanks\n\n", 3), ElementsAre("message| two blanks|none"));
  EXPECT_THAT(Events("retry: 5\nunknown: x\ndata: a\n\n", 3), ElementsAre("message|a|none"));
  EXPECT_THAT(Events("event: lonely\n\ndata: a\n\n", 3), ElementsAre("message|a|none"));
}

TEST(SseParserTest, DoesNotDeliverATornEvent) {
  EXPECT_THAT(Events("id: 1\ndata: a\n\nid: 2\ndata: b\n", 100), ElementsAre("message|a|1"));
}

TEST(SseParserTest, BoundsAnEvent) {
  SseParser parser(100);
  const auto sink = [](const SseEvent&) -> Result<void> { return {}; };
  EXPECT_TRUE(parser.Feed("data: " + std::string(80, 'x'), sink));
  EXPECT_EQ(parser.Feed(std::string(80, 'x'), sink).error().code, ErrorCode::kTooLarge);
}

TEST(SseParserTest, ReturnsTheSinksError) {
  SseParser parser;
  const auto sink = [](const SseEvent&) -> Result<void> { return Fail(ErrorCode::kExhausted, "full"); };
  EXPECT_EQ(parser.Feed("data: a\n\n", sink).error().code, ErrorCode::kExhausted);
}

}  // namespace
}  // namespace caisson::cli
