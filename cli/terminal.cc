// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "base/io.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxAnswerBytes = 4096;

// The terminal without echo, and with Ctrl-C as a byte: a signal would leave it without echo.
class Unseen {
 public:
  static Result<Unseen> Begin(int terminal) {
    termios before{};
    if (tcgetattr(terminal, &before) != 0) return FailErrno(errno, "ask for a password: no terminal");
    termios unseen = before;
    unseen.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | ISIG);
    unseen.c_cc[VMIN] = 1;
    unseen.c_cc[VTIME] = 0;
    if (tcsetattr(terminal, TCSAFLUSH, &unseen) != 0) return FailErrno(errno, "hide the password");
    return Unseen(terminal, before);
  }
  Unseen(Unseen&& other) noexcept : terminal_(std::exchange(other.terminal_, -1)), before_(other.before_) {}
  Unseen& operator=(Unseen&&) = delete;
  ~Unseen() {
    if (terminal_ >= 0) tcsetattr(terminal_, TCSAFLUSH, &before_);
  }

 private:
  Unseen(int terminal, const termios& before) : terminal_(terminal), before_(before) {}
  int terminal_;
  termios before_;
};

Result<Fd> OpenTerminal() {
  Fd terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal)
    return Fail(ErrorCode::kNotFound, "there is no terminal to ask on: give the password with --password-stdin");
  return terminal;
}

void EraseCharacter(std::string& typed) {
  while (!typed.empty() && (static_cast<unsigned char>(typed.back()) & 0xC0) == 0x80) typed.pop_back();
  if (!typed.empty()) typed.pop_back();
}

// One key at a time, as the terminal edits nothing itself now.
Result<std::string> ReadUnseen(int terminal) {
  std::string typed;
  for (;;) {
    char key = 0;
    const ssize_t got = read(terminal, &key, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Fail(ErrorCode::kCancelled, "nothing was typed");
    switch (key) {
      case '\n':
      case '\r': return typed;
      case 3: return Fail(ErrorCode::kCancelled, "interrupted");  // Ctrl-C
      case 4:                                                     // Ctrl-D
        if (typed.empty()) return Fail(ErrorCode::kCancelled, "nothing was typed");
        return typed;
      case 8:
      case 127: EraseCharacter(typed); break;
      case 21: typed.clear(); break;  // Ctrl-U
      default:
        if (typed.size() == kMaxAnswerBytes) return Fail(ErrorCode::kTooLarge, "the password is too long");
        typed += key;
    }
  }
}

}  // namespace

TerminalSize SizeOf(int terminal) {
  winsize size{};
  if (ioctl(terminal, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {};
  return {size.ws_col, size.ws_row};
}

std::string RedrawText(const std::vector<size_t>& widths, const std::vector<std::string>& lines, size_t columns) {
  size_t rows = 0;
  for (const size_t width : widths) rows += std::max<size_t>(1, (width + columns - 1) / columns);
  std::string text = "\r";
  if (rows > 0) text += "\x1b[" + std::to_string(rows) + "A";
  for (const std::string& line : lines) text += line + "\x1b[K\n";
  return text + "\x1b[J";  // whatever stood below
}

void LiveLines::Show(const std::vector<std::string>& lines) {
  if (lines.empty() && shown_widths_.empty()) return;
  static_cast<void>(WriteAll(terminal_, RedrawText(shown_widths_, lines, SizeOf(terminal_).columns)).has_value());
  shown_widths_.clear();
  for (const std::string& line : lines) shown_widths_.push_back(DisplayWidth(line));
}

Result<std::string> AskLine(std::string_view prompt) {
  const Fd terminal = TRY(OpenTerminal());
  TRY(WriteAll(terminal.get(), prompt));
  std::string line;
  char key = 0;
  while (line.size() < kMaxAnswerBytes) {
    const ssize_t got = read(terminal.get(), &key, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || key == '\n') break;
    line += key;
  }
  return line;
}

Result<Secret> AskSecretOn(int terminal, std::string_view prompt) {
  TRY(WriteAll(terminal, prompt));
  Result<std::string> typed = Fail(ErrorCode::kInternal, "");
  {
    const Unseen unseen = TRY(Unseen::Begin(terminal));
    typed = ReadUnseen(terminal);
  }
  TRY(WriteAll(terminal, "\n"));
  if (!typed) return tl::unexpected(typed.error());
  return Secret(*std::move(typed));
}

Result<Secret> AskSecret(std::string_view prompt) {
  const Fd terminal = TRY(OpenTerminal());
  return AskSecretOn(terminal.get(), prompt);
}

}  // namespace caisson::cli
