// SPDX-License-Identifier: Apache-2.0
#include "api/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/io.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::api {
namespace {

TEST(ListenerTest, WhatIsNoHostAndPortIsRefused) {
  for (const char* listen :
       {"", "7070", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "::1:80", "127.0.0.1:-1", "a b:1"}) {
    const auto result = ListenOnTcp(listen);
    ASSERT_FALSE(result) << listen;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid) << listen;
  }
}

TEST(ListenerTest, TakenPortIsAConflict) {
  const auto first = ListenOnTcp("127.0.0.1:0");
  ASSERT_TRUE(first);
  const auto second = ListenOnTcp("127.0.0.1:" + std::to_string(*BoundPort(first->get())));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
}

TEST(ListenerTest, OtherFilesAreNeverReplaced) {
  const testing::TemporaryDirectory directory;
  ASSERT_TRUE(WriteFileDurably(AT_FDCWD, directory.file("precious"), "x", 0600));
  const auto socket = ListenOnUnixSocket(directory.file("precious"));
  ASSERT_FALSE(socket);
  EXPECT_EQ(*ReadFile(directory.file("precious"), 10), "x");
  EXPECT_EQ(ListenOnUnixSocket("/" + std::string(200, 'x')).error().code, ErrorCode::kInvalid);
}

TEST(ListenerTest, StaleSocketIsReplaced) {
  const testing::TemporaryDirectory directory;
  { ASSERT_TRUE(ListenOnUnixSocket(directory.file("s"))); }
  EXPECT_TRUE(ListenOnUnixSocket(directory.file("s")));
}

}  // namespace
}  // namespace caisson::api
