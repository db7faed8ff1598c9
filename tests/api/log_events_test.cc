// SPDX-License-Identifier: Apache-2.0
#include "api/log_events.h"

#include <gtest/gtest.h>

#include "api/log_query.h"
#include "base/encoding.h"

namespace caisson::api {
namespace {

using queue::LogChunk;
using queue::LogStream;

constexpr LogStream kOut = LogStream::kStdout;
constexpr LogStream kErr = LogStream::kStderr;

std::vector<LogChunk> Chunks(const std::vector<std::pair<LogStream, std::string>>& writes, uint64_t position = 0) {
  std::vector<LogChunk> chunks;
  for (const auto& [stream, bytes] : writes) {
    chunks.push_back({position, stream, bytes});
    position += bytes.size();
  }
  return chunks;
}

TEST(LogEventsTest, IdIsThePositionAfterTheBytes) {
  const EncodedEvents events = EncodeLogEvents(Chunks({{kOut, "ab\n"}, {kErr, "c"}}, 10), 10, {}, false);
  EXPECT_EQ(events.text, "id: 13\nevent: stdout\ndata: ab\ndata: \n\nid: 14\nevent: stderr\ndata: c\n\n");
  EXPECT_EQ(events.position, 14U);
}

TEST(LogEventsTest, OtherStreamIsPassedOver) {
  const EncodedEvents events = EncodeLogEvents(Chunks({{kOut, "ab"}, {kErr, "c"}}), 0, {.stream = kOut}, false);
  EXPECT_EQ(events.text, "id: 2\nevent: stdout\ndata: ab\n\n");
  EXPECT_EQ(events.position, 3U);
}

TEST(LogEventsTest, Base64CarriesEveryByte) {
  const std::string bytes("\r\n\0\xFF\xC3", 5);
  const EncodedEvents events = EncodeLogEvents(Chunks({{kOut, bytes}}), 0, {.base64 = true}, false);
  EXPECT_EQ(events.text, "id: 5\nevent: stdout\ndata: " + Base64Encode(bytes) + "\n\n");
}

TEST(LogEventsTest, TextReplacesWhatItCannotCarry) {
  const auto text = [](const std::string& bytes) {
    const std::string event = EncodeLogEvents(Chunks({{kOut, bytes}}), 0, {}, true).text;
    const size_t data = event.find("data: ") + 6;
    return event.substr(data, event.size() - data - 2);
  };
  EXPECT_EQ(text("a\r\nb"), "a\ndata: b");
  EXPECT_EQ(text("a\rb"), "a\ndata: b");
  EXPECT_EQ(text(std::string("a\0b", 3)),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(text("\xFFx\xC3"), "\xEF\xBF\xBDx\xEF\xBF\xBD");
  EXPECT_EQ(text("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(text("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"), "gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80");
}

TEST(LogEventsTest, NoEventEndsInsideACharacterOrALineEnd) {
  // Cut by the reader's buffer: held back until the rest is there.
  for (const std::string tail : {"\xC3", "\xE2\x82", "\xF0\x9F\x98", "\r"}) {
    const EncodedEvents events = EncodeLogEvents(Chunks({{kOut, "a" + tail}}), 0, {}, false);
    EXPECT_EQ(events.position, 1U);
    const EncodedEvents alone = EncodeLogEvents(Chunks({{kOut, tail}}, 1), 1, {}, false);
    EXPECT_EQ(alone.position, 1U);
    EXPECT_EQ(alone.text, "");
    EXPECT_EQ(EncodeLogEvents(Chunks({{kOut, tail}}, 1), 1, {}, true).position,
              1 + tail.size());  // nothing will follow
  }
  // Cut by the job's own writes: one run.
  const EncodedEvents events =
      EncodeLogEvents(Chunks({{kOut, "\xE2\x82"}, {kOut, "\xAC\r"}, {kOut, "\n"}}), 0, {}, false);
  EXPECT_EQ(events.text, "id: 5\nevent: stdout\ndata: \xE2\x82\xAC\ndata: \n\n");
  // Cut by the other stream: cannot be whole again.
  EXPECT_EQ(EncodeLogEvents(Chunks({{kOut, "\xC3"}, {kErr, "x"}}), 0, {}, false).position, 2U);
}

TEST(LogEventsTest, LongRunsAreManyEventsOfWholeCharacters) {
  std::string text = "x";
  for (int i = 0; i < 20'000; ++i) text += "\xE2\x82\xAC";
  const EncodedEvents events = EncodeLogEvents(Chunks({{kOut, text}}), 0, {}, false);
  EXPECT_EQ(events.position, text.size());
  EXPECT_EQ(events.text.find("\xEF\xBF\xBD"), std::string::npos);
  EXPECT_NE(events.text.find("id: 16384\n"), std::string::npos);  // 1 + 3 * 5461
}

TEST(LogEventsTest, BrokenTailIsNotHeldBackForEver) {
  for (const std::string tail : {"\x80", "\xFF", "\xC3\x28", "\xF5", "\xC0", "a\x80\x80\x80\x80"})
    EXPECT_EQ(EncodeLogEvents(Chunks({{kOut, tail}}), 0, {}, false).position, tail.size()) << EscapeForLog(tail);
}

TEST(LogRangeTest, OneRangeIsServedAndOthersAreTheWhole) {
  const auto range = [](std::string_view header, uint64_t size = 10) {
    const RangeRequest request = ParseRange(header, size);
    return std::string(request.kind == RangeRequest::Kind::kWhole  ? "whole"
                       : request.kind == RangeRequest::Kind::kPart ? ""
                                                                   : "none") +
           (request.kind == RangeRequest::Kind::kPart
                ? std::to_string(request.part.first) + "-" + std::to_string(request.part.end)
                : "");
  };
  EXPECT_EQ(range("bytes=0-3"), "0-4");
  EXPECT_EQ(range("bytes=4-"), "4-10");
  EXPECT_EQ(range("bytes=4-99"), "4-10");
  EXPECT_EQ(range("bytes=-3"), "7-10");
  EXPECT_EQ(range("bytes=-99"), "0-10");
  EXPECT_EQ(range("bytes=9-9"), "9-10");
  EXPECT_EQ(range("bytes=10-"), "none");
  EXPECT_EQ(range("bytes=-0"), "none");
  EXPECT_EQ(range("bytes=0-", 0), "none");
  for (const char* text : {"", "bytes=", "bytes=3-2", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=--1", "bytes=1",
                           "bytes=18446744073709551616-"})
    EXPECT_EQ(range(text), "whole") << text;
}

}  // namespace
}  // namespace caisson::api
