// SPDX-License-Identifier: Apache-2.0
// A job's log as server-sent events (WHATWG HTML, 9.2): one event for each run of bytes of one stream, its id the
// position after its bytes. Text cannot carry everything: a CR becomes a line's end, NUL and broken UTF-8 become
// U+FFFD, and no event ends inside a character or between CR and LF; base64 carries the exact bytes. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "queue/log_store.h"

namespace caisson::api {

struct EventOptions {
  std::optional<queue::LogStream> stream;  // others are passed over
  bool base64 = false;
};

struct EncodedEvents {
  std::string text;
  uint64_t position = 0;  // what the reader has, once it has the text
};

// `chunks` lie one after the other from `position` on. Unless `complete` (no byte will ever follow), a character that
// is cut off at their end is left for the next call.
EncodedEvents EncodeLogEvents(const std::vector<queue::LogChunk>& chunks, uint64_t position,
                              const EventOptions& options, bool complete);

// One event; `data` may have line ends but no CR.
std::string EncodeEvent(std::string_view event, std::string_view data);
// With an id, for readers that come back.
std::string EncodeEvent(uint64_t id, std::string_view event, std::string_view data);

}  // namespace caisson::api
