// SPDX-License-Identifier: Apache-2.0
// SseParser: server-sent events (WHATWG HTML, section 9.2) from a byte stream that arrives in pieces of any size. An
// event counts only once its empty line came, so that what a broken connection tore is asked for again. Plain value.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::cli {

struct SseEvent {
  std::string name;  // "message" where the stream names none
  std::string data;
  std::optional<std::string> id;  // of this event; the last one seen is what a reconnect sends as Last-Event-ID
};

class SseParser {
 public:
  using Sink = std::function<Result<void>(const SseEvent&)>;

  // Calls `sink` for each event that these bytes complete; its error ends the parse and is returned. kTooLarge when
  // one line or one event grows past max_event_bytes.
  Result<void> Feed(std::string_view bytes, const Sink& sink);

  explicit SseParser(size_t max_event_bytes = 4 << 20) : max_event_bytes_(max_event_bytes) {}

 private:
  Result<void> TakeLine(std::string_view line, const Sink& sink);
  void TakeField(std::string_view field, std::string_view value);

  size_t max_event_bytes_;
  std::string line_;       // the unfinished one
  bool after_cr_ = false;  // a line feed that comes next belongs to that line's end
  bool at_start_ = true;   // a byte order mark may come
  SseEvent event_;
  bool has_data_ = false;
};

}  // namespace caisson::cli
