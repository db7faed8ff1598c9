// SPDX-License-Identifier: Apache-2.0
// RequestParser: bytes of one HTTP/1.1 request in, a Request out. The one place that knows Boost.Beast, whose parser
// does the grammar; on top of it everything is refused that two readers could take for two different requests (RFC
// 9112, 11.2: smuggling). Belongs to one connection; fuzzed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "api/http_types.h"
#include "api/problem.h"

namespace caisson::api {

inline constexpr size_t kMaxHeaderBytes = 16 << 10;  // request line and header fields together
// Unread input that a connection may hold: a whole head, or a chunk's extension or trailer.
inline constexpr size_t kMaxInputBytes = 64 << 10;

class RequestParser {
 public:
  RequestParser();
  ~RequestParser();

  // Takes what belongs to the head from the front of `input`. False: more input is needed.
  tl::expected<bool, Problem> ParseHead(std::string& input);

  // Without body and peer; of a broken head what was understood of it, and an id in any case.
  Request TakeHead();

  // The rest is for after ParseHead() gave true.
  bool keep_alive() const;
  bool http_1_0() const;
  bool has_body() const;
  bool expects_continue() const { return expects_continue_; }
  std::optional<uint64_t> content_length() const;

  // Takes what belongs to the body from the front of `input`. False: more input is needed.
  tl::expected<bool, Problem> ParseBody(std::string& input, uint64_t max_body_bytes);
  size_t body_bytes() const;  // that TakeBody() would give
  std::string TakeBody();     // the body, or what came of it since the last call

 private:
  std::optional<Problem> CheckHead();

  struct Library;
  std::unique_ptr<Library> library_;
  Request request_;
  bool expects_continue_ = false;
};

}  // namespace caisson::api
