// SPDX-License-Identifier: Apache-2.0
#include "api/log_events.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr size_t kMaxCharacterBytes = 4;
// Of one event, so that a reader on a line that breaks often still gets on.
constexpr size_t kMaxEventBytes = 16 << 10;

std::string_view NameOf(queue::LogStream stream) { return stream == queue::LogStream::kStdout ? "stdout" : "stderr"; }

// How many bytes at the end of `text` could still become part of one character or of CR LF.
size_t UnfinishedTail(std::string_view text) {
  if (text.ends_with('\r')) return 1;
  for (size_t length = 1; length < kMaxCharacterBytes && length <= text.size(); ++length) {
    const auto lead = static_cast<uint8_t>(text[text.size() - length]);
    if ((lead & 0xC0) == 0x80) continue;  // goes on with an earlier byte
    const size_t whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    return lead <= 0xF4 && whole > length ? length : 0;
  }
  return 0;
}

// The length of the UTF-8 character that `text` begins with, 0 where it is broken.
size_t CharacterLength(std::string_view text) {
  for (size_t length = 1; length <= std::min(kMaxCharacterBytes, text.size()); ++length)
    if (IsValidUtf8(text.substr(0, length))) return length;
  return 0;
}

// How many bytes at the beginning are ASCII that needs no look.
size_t PlainPrefix(std::string_view text) {
  const auto end =
      std::find_if(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) <= 0 || c == '\r'; });
  return static_cast<size_t>(end - text.begin());
}

std::string ToEventText(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t plain = PlainPrefix(bytes);
    text += bytes.substr(0, plain);
    bytes.remove_prefix(plain);
    if (bytes.empty()) break;
    const size_t length = CharacterLength(bytes);
    if (bytes.starts_with("\r\n")) {
      bytes.remove_prefix(1);
    } else if (bytes.front() == '\r') {
      text += '\n';
      bytes.remove_prefix(1);
    } else if (length == 0 || bytes.front() == '\0') {
      text += kReplacement;
      bytes.remove_prefix(1);
    } else {
      text += bytes.substr(0, length);
      bytes.remove_prefix(length);
    }
  }
  return text;
}

// Neighbours of one stream become one run, so that a character cut by the job's own writes is whole again.
std::vector<queue::LogChunk> MergeRuns(const std::vector<queue::LogChunk>& chunks) {
  std::vector<queue::LogChunk> runs;
  for (const queue::LogChunk& chunk : chunks) {
    if (!runs.empty() && runs.back().stream == chunk.stream && runs.back().end() == chunk.position) {
      runs.back().bytes += chunk.bytes;
    } else {
      runs.push_back(chunk);
    }
  }
  return runs;
}

}  // namespace

EncodedEvents EncodeLogEvents(const std::vector<queue::LogChunk>& chunks, uint64_t position,
                              const EventOptions& options, bool complete) {
  EncodedEvents events{{}, position};
  const std::vector<queue::LogChunk> runs = MergeRuns(chunks);
  for (size_t i = 0; i < runs.size(); ++i) {
    std::string_view bytes = runs[i].bytes;
    position = runs[i].position;
    const bool wanted = !options.stream || *options.stream == runs[i].stream;
    const bool may_go_on = !complete && i + 1 == runs.size();
    if (wanted && may_go_on && !options.base64) bytes.remove_suffix(UnfinishedTail(bytes));
    while (!bytes.empty()) {
      std::string_view piece = bytes.substr(0, kMaxEventBytes);
      if (piece.size() < bytes.size() && !options.base64) piece.remove_suffix(UnfinishedTail(piece));
      bytes.remove_prefix(piece.size());
      position += piece.size();
      events.position = position;
      if (!wanted) continue;
      events.text += EncodeEvent(events.position, NameOf(runs[i].stream),
                                 options.base64 ? Base64Encode(piece) : ToEventText(piece));
    }
  }
  return events;
}

std::string EncodeEvent(uint64_t id, std::string_view event, std::string_view data) {
  return fmt::format("id: {}\n", id) + EncodeEvent(event, data);
}

std::string EncodeEvent(std::string_view event, std::string_view data) {
  std::string text = fmt::format("event: {}\n", event);
  for (;;) {
    const size_t end = data.find('\n');
    text += "data: ";
    text += data.substr(0, end);
    text += '\n';
    if (end == std::string_view::npos) break;
    data.remove_prefix(end + 1);
  }
  return text + '\n';
}

}  // namespace caisson::api
