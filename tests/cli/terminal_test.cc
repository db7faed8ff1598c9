// SPDX-License-Identifier: Apache-2.0
// What is drawn on a terminal, and what is typed there unseen.
#include "cli/terminal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <thread>

#include "base/fd.h"
#include "base/io.h"
#include "cli/pull_view.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(RedrawTest, LinesAreReplacedWhereTheyStand) {
  EXPECT_EQ(RedrawText({}, {"a", "b"}, 80), "\ra\x1b[K\nb\x1b[K\n\x1b[J");
  EXPECT_EQ(RedrawText({10, 10}, {"c"}, 80), "\r\x1b[2Ac\x1b[K\n\x1b[J");
  EXPECT_EQ(RedrawText({10}, {}, 80), "\r\x1b[1A\x1b[J");
}

TEST(RedrawTest, OnATerminalMadeNarrowerTheRowsOfWrappedLinesAreCounted) {
  EXPECT_EQ(RedrawText({79, 79}, {"c"}, 40), "\r\x1b[4Ac\x1b[K\n\x1b[J");
  EXPECT_EQ(RedrawText({40, 0}, {}, 40), "\r\x1b[2A\x1b[J");
}

PullView ManyLayers(size_t count) {
  PullView pull{5, 10, {}};
  for (size_t i = 0; i < count; ++i)
    pull.layers.push_back({"sha256:" + std::to_string(1'000'000'000'000 + i), i % 2 ? "done" : "downloading", 5, 10});
  return pull;
}

TEST(PullBarsTest, ALineForEachLayerNeverWiderThanTheTerminal) {
  EXPECT_THAT(RenderBars(ManyLayers(2), {80, 24}),
              ElementsAre("100000000000 downloading [==============>               ] 5 B/10 B",
                          "100000000000 done        [==============================] 10 B"));
  for (size_t columns = 1; columns < 200; ++columns)
    for (const std::string& line : RenderBars(ManyLayers(3), {columns, 24}))
      EXPECT_LT(DisplayWidth(line), std::max<size_t>(columns, 2)) << columns;
}

TEST(PullBarsTest, FewerLinesThanTheTerminalHasRows) {
  for (size_t rows = 4; rows < 60; ++rows) {
    const std::vector<std::string> lines = RenderBars(ManyLayers(40), {80, rows});
    EXPECT_LT(lines.size(), rows);
    if (rows < 40) {
      EXPECT_THAT(lines.back(), HasSubstr("20 of 40 layers are there"));
    }
  }
  // Those that go on are shown before those that have ended.
  for (const std::string& line : RenderBars(ManyLayers(20), {80, 12})) EXPECT_THAT(line, Not(HasSubstr(" done")));
}

TEST(PullBarsTest, WhatTheServerSaysMovesNoCursor) {
  const PullView pull{0, 0, {{"sha256:\x1b[2Jabc", "\x1b[H", 0, 0}}};
  for (const std::string& line : RenderBars(pull, {80, 24})) EXPECT_EQ(line.find('\x1b'), std::string::npos);
}

TEST(PlainProgressTest, TellsEachChangeOnce) {
  PlainProgress progress;
  PullView pull{0, 10, {{"sha256:a", "waiting", 0, 10}, {"sha256:b", "cached", 0, 10}}};
  EXPECT_EQ(progress.Changes(pull), "b: cached, 10 B\n");
  EXPECT_EQ(progress.Changes(pull), "");
  pull.layers[0].state = "unpacking";
  EXPECT_EQ(progress.Changes(pull), "a: unpacking, 10 B\n");
}

// A terminal that this test sits at.
class Keyboard {
 public:
  Keyboard() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    EXPECT_EQ(grantpt(master_.get()), 0);
    EXPECT_EQ(unlockpt(master_.get()), 0);
    slave_ = Fd(open(ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  int terminal() const { return slave_.get(); }
  // What is on the screen up to `text`.
  std::string ReadUntil(const std::string& text) {
    std::string seen;
    char byte;
    while (seen.find(text) == std::string::npos && read(master_.get(), &byte, 1) == 1) seen += byte;
    return seen;
  }
  void Type(const std::string& keys) { EXPECT_TRUE(WriteAll(master_.get(), keys)); }
  bool Echoes() const {
    termios state{};
    return tcgetattr(slave_.get(), &state) == 0 && (state.c_lflag & ECHO) != 0;
  }
  void WaitForSilence() {
    while (Echoes()) std::this_thread::yield();
  }

 private:
  Fd master_;
  Fd slave_;
};

TEST(AskSecretTest, WhatIsTypedIsNotShown) {
  Keyboard keyboard;
  Result<Secret> answer = Fail(ErrorCode::kInternal, "");
  std::thread asking([&] { answer = AskSecretOn(keyboard.terminal(), "Password: "); });
  keyboard.ReadUntil("Password: ");
  keyboard.WaitForSilence();
  keyboard.Type(
      "s3x\x7F"
      "cret\xC3\xA9\x7F\r");
  asking.join();
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ(answer->Expose(), "s3cret");
  EXPECT_TRUE(keyboard.Echoes());
  EXPECT_EQ(keyboard.ReadUntil("\n"), "\r\n");
}

TEST(AskSecretTest, CtrlCLeavesATerminalThatShowsAgain) {
  Keyboard keyboard;
  Result<Secret> answer = Fail(ErrorCode::kInternal, "");
  std::thread asking([&] { answer = AskSecretOn(keyboard.terminal(), "Password: "); });
  keyboard.ReadUntil("Password: ");
  keyboard.WaitForSilence();
  keyboard.Type("s3\x03");
  asking.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(keyboard.Echoes());
}

TEST(AskSecretTest, WithoutATerminalItSaysSo) {
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(AskSecretOn(null.get(), ""));
}

}  // namespace
}  // namespace caisson::cli
