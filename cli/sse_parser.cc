// SPDX-License-Identifier: Apache-2.0
#include "cli/sse_parser.h"

#include <utility>

namespace caisson::cli {

Result<void> SseParser::Feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const size_t end = bytes.find_first_of("\r\n");
    const std::string_view part = bytes.substr(0, end);
    if (line_.size() + part.size() + event_.data.size() > max_event_bytes_)
      return Fail(ErrorCode::kTooLarge, "an event of the log stream is larger than {} bytes", max_event_bytes_);
    line_ += part;
    if (end == std::string_view::npos) return {};
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    const std::string line = std::exchange(line_, {});
    TRY(TakeLine(line, sink));
  }
  return {};
}

Result<void> SseParser::TakeLine(std::string_view line, const Sink& sink) {
  if (std::exchange(at_start_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) {
    SseEvent event = std::exchange(event_, {});
    const bool dispatch = std::exchange(has_data_, false);
    if (event.name.empty()) event.name = "message";
    if (dispatch) return sink(event);
    return {};
  }
  const size_t colon = line.find(':');
  if (colon == 0) return {};  // a comment: the server's heartbeat
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  TakeField(line.substr(0, colon), value);
  return {};
}

void SseParser::TakeField(std::string_view field, std::string_view value) {
  if (field == "data") {
    if (std::exchange(has_data_, true)) event_.data += '\n';
    event_.data += value;
  } else if (field == "event") {
    event_.name = value;
  } else if (field == "id" && value.find('\0') == std::string_view::npos) {
    event_.id = value;
  }  // "retry" and whatever else: ignored, as the standard says
}

}  // namespace caisson::cli
