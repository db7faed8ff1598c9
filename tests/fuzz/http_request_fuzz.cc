// SPDX-License-Identifier: Apache-2.0
// Bytes of a connection: read at once or in two pieces, they are the same requests.
#include <cstddef>
#include <cstdint>
#include <string>

#include "api/request_parser.h"
#include "base/check.h"

namespace {

using namespace caisson;

constexpr size_t kMaxBody = 1000;

// All whole requests in `bytes`, of which the first `first` come before the rest. (A fault in an unfinished head may be
// seen at once or at its end.)
std::string Read(const std::string& bytes, size_t first) {
  std::string seen;
  std::string input = bytes.substr(0, first);
  std::string rest = bytes.substr(first);
  for (;;) {
    api::RequestParser parser;
    tl::expected<bool, api::Problem> done = false;
    while ((done = parser.ParseHead(input)) && !*done && !rest.empty()) input += std::exchange(rest, {});
    if (!done || !*done) return seen;
    const api::Request request = parser.TakeHead();
    seen += request.method + " " + request.path + "\n";
    for (const api::HeaderField& field : request.headers)
      CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    if (!parser.has_body()) continue;
    while ((done = parser.ParseBody(input, kMaxBody)) && !*done && !rest.empty()) input += std::exchange(rest, {});
    if (!done || !*done) return seen;
    const std::string body = parser.TakeBody();
    CHECK(body.size() <= kMaxBody);
    seen += body + "\n";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (bytes.size() > api::kMaxHeaderBytes) return 0;  // where it is cut decides whether a limit is met
  CHECK(Read(bytes, bytes.size()) == Read(bytes, data[0] % (bytes.size() + 1)));
  return 0;
}
