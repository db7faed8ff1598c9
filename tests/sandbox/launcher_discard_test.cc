// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/discard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};
constexpr int kRefills = 100;

int g_full_pipe = -1;
volatile int g_refills = 0;

void Fill(int pipe) {
  static const char bytes[4096] = {};
  while (::write(pipe, bytes, sizeof bytes) > 0) {
  }
}

void Refill(int) {
  const int before = errno;
  if (g_refills < kRefills) {
    g_refills = g_refills + 1;
    Fill(g_full_pipe);
  }
  errno = before;
}

TEST(DiscardTest, TakesAsManyAsWereAskedFor) {
  const Pipe pipe = *MakePipe();
  ASSERT_TRUE(WriteAll(pipe.write.get(), "0123456789"));
  Discard(pipe.read.get(), 4);
  char rest[16];
  EXPECT_EQ(::read(pipe.read.get(), rest, sizeof rest), 6);
  EXPECT_EQ(rest[0], '4');
}

// The kernel signals the writer of a full pipe after each read, before the reader goes on: one that is always faster.
TEST(DiscardTest, AWriterThatIsAlwaysFasterDoesNotHoldIt) {
  const Pipe pipe = *MakePipe();
  ASSERT_EQ(::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK), 0);
  g_full_pipe = pipe.write.get();
  ASSERT_NE(::signal(SIGIO, Refill), SIG_ERR);
  ASSERT_EQ(::fcntl(pipe.write.get(), F_SETOWN, ::getpid()), 0);
  ASSERT_EQ(::fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK | O_ASYNC), 0);
  Fill(pipe.write.get());
  Discard(pipe.read.get(), kAll);
  ::signal(SIGIO, SIG_IGN);
  EXPECT_GT(g_refills, 0);
  EXPECT_LT(g_refills, kRefills);
}

}  // namespace
}  // namespace caisson::sandbox
