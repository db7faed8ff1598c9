// SPDX-License-Identifier: Apache-2.0
#include "api/request_parser.h"

#include <gtest/gtest.h>

namespace caisson::api {
namespace {

struct Parsed {
  int refused = 0;  // status
  Request request;
  bool complete = false;
  std::string rest;
};

// Feeds `bytes` in pieces of `step`.
Parsed Parse(const std::string& bytes, size_t step = 1 << 20, size_t max_body = 1000) {
  Parsed parsed;
  RequestParser parser;
  std::string input;
  bool head = false;
  for (size_t i = 0; i < bytes.size() && !parsed.complete; i += step) {
    input += bytes.substr(i, step);
    tl::expected<bool, Problem> done = false;
    if (!head) {
      done = parser.ParseHead(input);
      if (done && *done) {
        head = true;
        parsed.request = parser.TakeHead();
        parsed.complete = !parser.has_body();
      }
    }
    if (done && head && !parsed.complete) {
      done = parser.ParseBody(input, max_body);
      if (done && *done) {
        parsed.request.body = parser.TakeBody();
        parsed.complete = true;
      }
    }
    if (!done) {
      parsed.refused = InfoOf(done.error().type).status;
      return parsed;
    }
    if (parsed.complete) parsed.rest = input + (i + step < bytes.size() ? bytes.substr(i + step) : "");
  }
  return parsed;
}

std::string Post(const std::string& headers, const std::string& rest) {
  return "POST /v1/jobs HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + rest;
}

TEST(RequestParserTest, SameRequestInPiecesOfAnySize) {
  const std::string bytes =
      Post("Transfer-Encoding: chunked\r\nX-A: b\r\n", "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\nGET ");
  for (const size_t step : {1, 2, 3, 7, 50, 1000}) {
    const Parsed parsed = Parse(bytes, step);
    ASSERT_TRUE(parsed.complete) << step;
    EXPECT_EQ(parsed.request.body, "abcde");
    EXPECT_EQ(parsed.request.method, "POST");
    EXPECT_EQ(parsed.request.Header("x-a"), "b");
    EXPECT_FALSE(parsed.request.HasHeader("trailer"));  // a trailer must not become a header
    EXPECT_EQ(parsed.rest, "GET ");
  }
}

TEST(RequestParserTest, TargetIsSplitAndDecoded) {
  const Request request = Parse("GET /v1/jobs/a%2Fb/?state=x%2Cy&z=1+2&empty HTTP/1.1\r\nHost: a\r\n\r\n").request;
  EXPECT_EQ(request.segments, (std::vector<std::string>{"v1", "jobs", "a/b"}));
  EXPECT_EQ(request.query,
            (std::vector<std::pair<std::string, std::string>>{{"state", "x,y"}, {"z", "1 2"}, {"empty", ""}}));
  EXPECT_EQ(Parse("GET http://h:1/livez HTTP/1.1\r\nHost: a\r\n\r\n").request.path, "/livez");
}

TEST(RequestParserTest, WhatTwoReadersCouldReadDifferentlyIsRefused) {
  const struct {
    const char* headers;
    int status;
  } kCases[] = {
      {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", 400},
      {"Content-Length: 3\r\nContent-Length: 4\r\n", 400},
      {"Content-Length: 3\r\nContent-Length: 3\r\n", 400},
      {"Content-Length: 3, 3\r\n", 400},
      {"Content-Length: +3\r\n", 400},
      {"Content-Length: -3\r\n", 400},
      {"Content-Length: 0x3\r\n", 400},
      {"Content-Length: 99999999999999999999\r\n", 400},
      {"Content-Length : 3\r\n", 400},
      {"Transfer-Encoding: chunked, chunked\r\n", 501},
      {"Transfer-Encoding: gzip, chunked\r\n", 501},
      {"Transfer-Encoding: chunked, identity\r\n", 501},
      {"Transfer-Encoding: identity\r\n", 501},
      {"Transfer-Encoding: xchunked\r\n", 501},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
      {"Host: b\r\n", 400},
      {"Expect: something\r\n", 417},
      {"Bad\x01Name: x\r\n", 400},
      {"X: a\x01"
       "b\r\n",
       400},
      {"no colon\r\n", 400},
  };
  for (const auto& [headers, status] : kCases) EXPECT_EQ(Parse(Post(headers, "abc")).refused, status) << headers;
}

TEST(RequestParserTest, BrokenRequestsAreRefused) {
  for (const char* bytes : {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET /\r\n\r\n",
                            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n",
                            "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
                            "GET x HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\nHost: a\n\n",
                            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"})
    EXPECT_EQ(Parse(bytes).refused, 400) << bytes;
  EXPECT_EQ(Parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").refused, 400);
}

TEST(RequestParserTest, SizesAreBounded) {
  EXPECT_EQ(Parse(Post("X: " + std::string(kMaxHeaderBytes, 'x') + "\r\n", "")).refused, 431);
  EXPECT_EQ(Parse("GET /" + std::string(kMaxHeaderBytes, 'x'), 1000).refused, 431);
  EXPECT_EQ(Parse(Post("Transfer-Encoding: chunked\r\n", "3e9\r\n" + std::string(1001, 'x')), 100).refused, 413);
  EXPECT_EQ(
      Parse(Post("Transfer-Encoding: chunked\r\n", "1f4\r\n" + std::string(500, 'x') + "\r\n1f5\r\n"), 100).refused,
      413);
  EXPECT_EQ(Parse(Post("Transfer-Encoding: chunked\r\n", "FFFFFFFFFFFFFFFFF\r\n")).refused, 400);
  EXPECT_EQ(Parse(Post("Transfer-Encoding: chunked\r\n", "1;" + std::string(kMaxInputBytes + 10, 'x')), 1000).refused,
            400);
  EXPECT_TRUE(Parse(Post("Content-Length: 1000\r\n", std::string(1000, 'x')), 64).complete);
}

TEST(RequestParserTest, EmptyLinesBeforeARequestArePassedOver) {
  EXPECT_TRUE(Parse("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1).complete);
}

TEST(RequestParserTest, NonAsciiHeaderBytesAreTaken) {
  EXPECT_EQ(Parse("GET / HTTP/1.1\r\nHost: a\r\nX: gr\xFC\xDF\r\n\r\n").request.Header("x"), "gr\xFC\xDF");
}

}  // namespace
}  // namespace caisson::api
