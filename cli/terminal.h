// SPDX-License-Identifier: Apache-2.0
// What a terminal can do for us: its size, lines that are drawn again in place, and a secret that is typed unseen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace caisson::cli {

struct TerminalSize {
  size_t columns = 80;
  size_t rows = 24;
};
TerminalSize SizeOf(int terminal);

// A block of lines at the bottom of a terminal (its descriptor borrowed). One thread.
class LiveLines {
 public:
  explicit LiveLines(int terminal) : terminal_(terminal) {}
  // In place of the lines before. Each must be narrower than the terminal.
  void Show(const std::vector<std::string>& lines);
  void Clear() { Show({}); }

 private:
  const int terminal_;
  std::vector<size_t> shown_widths_;
};

// The bytes that replace lines of `widths` on a terminal of `columns` by `lines`: a terminal that was made narrower
// meanwhile shows each old line on several rows. Pure.
std::string RedrawText(const std::vector<size_t>& widths, const std::vector<std::string>& lines, size_t columns);

// Asks on the user's terminal (/dev/tty), not on standard input. kNotFound without a terminal; kCancelled for Ctrl-C.
Result<std::string> AskLine(std::string_view prompt);
// Shows nothing of what is typed.
Result<Secret> AskSecret(std::string_view prompt);
// The same on a given terminal.
Result<Secret> AskSecretOn(int terminal, std::string_view prompt);

}  // namespace caisson::cli
