// SPDX-License-Identifier: Apache-2.0
#include "api/request_parser.h"

#include <strings.h>

#include <algorithm>
#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <cctype>

#include "base/crypto/crypto.h"
#include "base/encoding.h"

namespace caisson::api {
namespace {

namespace http = boost::beast::http;

// A body as the string of what came since it was last taken. Beast's own string_body makes room for the whole
// Content-Length at once: a stranger's number would decide how much memory we take.
struct PieceBody {
  using value_type = std::string;
  class reader {
   public:
    template <bool kIsRequest, typename Fields>
    reader(http::header<kIsRequest, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>&, boost::system::error_code& error) { error = {}; }
    template <typename Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& error) {
      error = {};
      const size_t before = body_.size();
      for (const boost::asio::const_buffer buffer : boost::beast::buffers_range_ref(buffers))
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
      return body_.size() - before;
    }
    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

using LibraryParser = http::request_parser<PieceBody>;

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

// X-Request-Id of the client where it is harmless in a log and in a header, else one of ours.
std::string RequestId(std::string_view given) {
  const bool usable = !given.empty() && given.size() <= 128 &&
                      std::all_of(given.begin(), given.end(),
                                  [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  if (usable) return std::string(given);
  uint8_t random[8];
  FillRandom(random);
  return HexEncode(random);
}

Problem Malformed(std::string detail) { return {ProblemType::kMalformedRequest, std::move(detail)}; }

Problem ProblemOf(const boost::system::error_code& error, uint64_t max_body_bytes) {
  if (error == http::error::header_limit)
    return {ProblemType::kHeadersTooLarge,
            fmt::format("the request's headers are larger than {} bytes", kMaxHeaderBytes)};
  if (error == http::error::body_limit || error == http::error::buffer_overflow)
    return {ProblemType::kBodyTooLarge, fmt::format("the body is larger than {} bytes", max_body_bytes)};
  return Malformed(error.message());
}

// Feeds `input` to the parser until `done`, an error, or the parser's wish for more.
tl::expected<bool, Problem> Feed(LibraryParser& parser, std::string& input, uint64_t max_body_bytes,
                                 bool (*done)(LibraryParser&)) {
  while (!done(parser)) {
    if (input.empty()) return false;
    boost::system::error_code error;
    const size_t used = parser.put(boost::asio::const_buffer(input.data(), input.size()), error);
    input.erase(0, used);
    if (error == http::error::need_more) {
      if (input.size() >= kMaxInputBytes) return tl::unexpected(Malformed("a chunk's header or trailer is too large"));
      return done(parser);
    }
    if (error) return tl::unexpected(ProblemOf(error, max_body_bytes));
  }
  return true;
}

}  // namespace

struct RequestParser::Library {
  LibraryParser parser;
};

RequestParser::RequestParser() : library_(std::make_unique<Library>()) {
  library_->parser.header_limit(kMaxHeaderBytes);
  library_->parser.body_limit(boost::none);  // the limit depends on the route: ParseBody sets it
}

RequestParser::~RequestParser() = default;

tl::expected<bool, Problem> RequestParser::ParseHead(std::string& input) {
  LibraryParser& parser = library_->parser;
  if (!parser.got_some())
    while (input.starts_with("\r\n")) input.erase(0, 2);  // left over behind an earlier body (RFC 9112, 2.2)
  if (input.empty() || (!parser.got_some() && input == "\r")) return false;
  const auto complete = Feed(parser, input, 0, [](LibraryParser& p) { return p.is_header_done(); });
  if (!complete || !*complete) return complete;
  if (auto problem = CheckHead()) return tl::unexpected(*std::move(problem));
  return true;
}

std::optional<Problem> RequestParser::CheckHead() {
  const auto& message = library_->parser.get();
  size_t hosts = 0;
  size_t lengths = 0;
  std::vector<std::string> codings;
  request_.method = View(message.method_string());
  for (const auto& field : message) {
    std::string name(View(field.name_string()));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string value(View(field.value()));
    hosts += name == "host";
    lengths += name == "content-length" ? 1 + static_cast<size_t>(std::count(value.begin(), value.end(), ',')) : 0;
    if (name == "transfer-encoding") codings.push_back(value);
    request_.headers.push_back({std::move(name), std::move(value)});
  }
  request_.id = RequestId(request_.Header("x-request-id"));
  const Result<void> target = ParseTarget(View(message.target()), request_);
  if (!target) return Malformed(target.error().message);
  if (hosts > 1 || (hosts == 0 && !http_1_0())) return Malformed("a request has exactly one Host header");
  if (lengths > 1) return Malformed("a request has at most one Content-Length");
  if (!codings.empty()) {
    if (http_1_0() || lengths > 0) return Malformed("Transfer-Encoding cannot stand here");
    if (codings.size() > 1 || ::strcasecmp(codings.front().c_str(), "chunked") != 0)
      return Problem{ProblemType::kNotImplemented, "the only transfer coding is chunked"};
  }
  const std::string_view expect = request_.Header("expect");
  if (!expect.empty()) {
    if (::strcasecmp(std::string(expect).c_str(), "100-continue") != 0)
      return Problem{ProblemType::kExpectationFailed, "the only expectation is 100-continue"};
    expects_continue_ = !http_1_0();
  }
  return std::nullopt;
}

Request RequestParser::TakeHead() {
  if (request_.id.empty()) request_.id = RequestId("");
  return std::move(request_);
}

bool RequestParser::keep_alive() const { return library_->parser.keep_alive(); }

bool RequestParser::http_1_0() const { return library_->parser.get().version() < 11; }

bool RequestParser::has_body() const { return library_->parser.chunked() || content_length().value_or(0) > 0; }

std::optional<uint64_t> RequestParser::content_length() const {
  const auto length = library_->parser.content_length();
  if (!length) return std::nullopt;
  return *length;
}

tl::expected<bool, Problem> RequestParser::ParseBody(std::string& input, uint64_t max_body_bytes) {
  LibraryParser& parser = library_->parser;
  if (!parser.eager()) {  // the first call
    parser.eager(true);
    parser.body_limit(max_body_bytes);
  }
  return Feed(parser, input, max_body_bytes, [](LibraryParser& p) { return p.is_done(); });
}

size_t RequestParser::body_bytes() const { return library_->parser.get().body().size(); }

std::string RequestParser::TakeBody() { return std::exchange(library_->parser.get().body(), {}); }

}  // namespace caisson::api
