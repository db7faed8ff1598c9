// SPDX-License-Identifier: Apache-2.0
#include "cli/log_reader.h"

#include <string_view>

#include "base/encoding.h"
#include "base/io.h"
#include "base/json/json.h"

namespace caisson::cli {
namespace {

constexpr int kQuietWaits = 3;  // a restart of the service is over before that: nothing to tell

std::string PathOf(const LogRequest& request) {
  // base64 since plain events cannot carry carriage returns, NUL and broken UTF-8.
  std::string path = "/v1/jobs/" + UrlEncode(request.job_id) + "/logs?encoding=base64";
  if (request.follow) path += "&follow=1";
  if (!request.stream.empty()) path += "&stream=" + UrlEncode(request.stream);
  return path;
}

}  // namespace

Result<void> LogReader::TakeEvent(const SseEvent& event, bool discard) {
  if (event.name == "end") {
    ended_ = true;
    if (const Result<Json> job = ParseJson(event.data)) dropped_bytes_ = job->IntOr("log_dropped_bytes", 0);
    return Fail(ErrorCode::kCancelled, "end of the log");  // ends the transfer; Read() knows better
  }
  if (event.name == "stdout" || event.name == "stderr") {
    const std::optional<std::string> bytes = Base64Decode(event.data);
    if (!bytes) return Fail(ErrorCode::kInvalid, "the log stream holds what is not base64");
    if (before_output_) before_output_();
    const Result<void> written =
        discard ? Result<void>() : WriteAll(event.name == "stdout" ? console_.out : console_.err, *bytes);
    if (!written) {
      output_error_ = Error(written.error()).Context(event.name == "stdout" ? "standard output" : "standard error");
      return tl::unexpected(*output_error_);
    }
  }
  if (event.id) position_ = event.id;
  return {};
}

Result<void> LogReader::Read(const LogRequest& request, bool discard) {
  const std::string path = PathOf(request);
  for (;;) {
    const Result<void> result = client_.Stream(
        path, position_, [&](const SseEvent& event) { return TakeEvent(event, discard); }, [&] { patience_.Reset(); });
    if (ended_) return {};
    if (output_error_) return tl::unexpected(*output_error_);
    // A stream that ended without `end` broke, whatever its peer thought.
    if (!result && result.error().code != ErrorCode::kUnavailable) return tl::unexpected(result.error());
    if (patience_.waits() == kQuietWaits && console_.err_is_terminal()) {
      if (before_output_) before_output_();
      console_.Say("lost the connection to " + client_.endpoint().name + ", trying again");
    }
    if (!patience_.Wait())
      return result ? Fail(ErrorCode::kUnavailable, "the log stream breaks again and again")
                    : Result<void>(tl::unexpected(result.error()));
  }
}

}  // namespace caisson::cli
