// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/encoding.h"

namespace caisson::cli {
namespace {

// The length of the UTF-8 sequence that `lead` opens; 1 for what opens none.
size_t SequenceLength(unsigned char lead) {
  if (lead >= 0xF0) return 4;
  if (lead >= 0xE0) return 3;
  return lead >= 0xC0 ? 2 : 1;
}

// The valid UTF-8 sequence at the start of `text` (not empty), or an empty view.
std::string_view FirstSequence(std::string_view text) {
  const std::string_view sequence = text.substr(0, SequenceLength(static_cast<unsigned char>(text.front())));
  return IsValidUtf8(sequence) ? sequence : std::string_view();
}

uint32_t CodePoint(std::string_view sequence) {
  const auto lead = static_cast<unsigned char>(sequence[0]);
  if (sequence.size() == 1) return lead;
  uint32_t code = lead & (0x7Fu >> sequence.size());
  for (const char c : sequence.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3F);
  return code;
}

// What a terminal may act on, or what hides or reorders its neighbours.
bool IsHarmful(uint32_t code) {
  if (code < 0x20 || (code >= 0x7F && code <= 0x9F)) return true;  // C0, DEL, C1: 0x9B is CSI on some terminals
  if (code >= 0x200B && code <= 0x200F) return true;               // zero width, direction marks
  if (code >= 0x2028 && code <= 0x202E) return true;               // line separators, direction overrides
  return (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;     // invisible operators, direction isolates
}

void AppendEscaped(std::string& out, std::string_view bytes) {
  for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::string_view sequence = FirstSequence(text);
    const std::string_view taken = sequence.empty() ? text.substr(0, 1) : sequence;
    if (sequence.empty() || IsHarmful(CodePoint(sequence))) {
      AppendEscaped(out, taken);
    } else {
      out += taken;
    }
    text.remove_prefix(taken.size());
  }
  return out;
}

std::string TerminalSafeJson(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  while (!json.empty()) {
    const std::string_view sequence = FirstSequence(json);
    const std::string_view taken = sequence.empty() ? json.substr(0, 1) : sequence;
    // Line feeds and blanks are JSON's own white space: control characters inside its strings are escaped already.
    if (!sequence.empty() && CodePoint(sequence) >= 0x20 && IsHarmful(CodePoint(sequence))) {
      out += fmt::format("\\u{:04x}", CodePoint(sequence));
    } else {
      out += taken;
    }
    json.remove_prefix(taken.size());
  }
  return out;
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string Shorten(std::string_view text, size_t width) {
  CHECK(width > 0);
  if (DisplayWidth(text) <= width) return std::string(text);
  size_t end = 0;
  for (size_t columns = 0; columns + 1 < width; ++columns) end += SequenceLength(static_cast<unsigned char>(text[end]));
  return std::string(text.substr(0, end)) + "…";
}

std::string FormatTable(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& heading : headings) widths.push_back(DisplayWidth(heading));
  for (const auto& row : rows) {
    CHECK(row.size() == headings.size());
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string out;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) {
      out += cells[i];
      if (i + 1 < cells.size()) out.append(widths[i] - DisplayWidth(cells[i]) + 2, ' ');
    }
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  };
  add_line(headings);
  for (const auto& row : rows) add_line(row);
  return out;
}

std::string Bar(uint64_t done, uint64_t whole, size_t width) {
  CHECK(width > 3);
  const size_t room = width - 2;
  const double part = whole == 0 ? 1.0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(whole));
  const auto filled = static_cast<size_t>(part * static_cast<double>(room));
  std::string bar(filled, '=');
  if (filled > 0 && filled < room) bar.back() = '>';
  return "[" + bar + std::string(room - filled, ' ') + "]";
}

std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) width = std::max(width, DisplayWidth(name));
  std::string out;
  for (const auto& [name, value] : fields) {
    out += name + ":" + std::string(width - DisplayWidth(name) + 2, ' ') + value;
    while (out.ends_with(' ')) out.pop_back();
    out += '\n';
  }
  return out;
}

}  // namespace caisson::cli
