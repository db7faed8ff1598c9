// SPDX-License-Identifier: Apache-2.0
#include "image/blob_transfer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/encoding.h"
#include "image/registry_headers.h"

namespace caisson::image {
namespace {

constexpr int kMaxResumes = 5;  // in a row that brought less than this
constexpr uint64_t kProgressBytes = 1 << 20;
constexpr std::chrono::milliseconds kResumeWait{250};  // doubles

std::optional<uint64_t> ContentLength(const HttpResponse& response) {
  const std::string_view text = response.Header("content-length");
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return length;
}

}  // namespace

Result<void> BlobTransfer::Continue(RegistryTransport& place) {
  bool use_range = true;
  from_start_ = 0;
  for (int answers = 1, resumes = 0;; ++answers) {
    const uint64_t before = received_;
    const Ended ended = TRY(OneAnswer(place, use_range));
    if (ended == Ended::kComplete) return {};
    if (ended == Ended::kStartOver && use_range && from_start_ == 0) {
      use_range = false;
      continue;
    }
    if (ended == Ended::kStartOver)
      return Fail(ErrorCode::kUnavailable, "registry {}: {} broke off at byte {} of {} and cannot be continued: {}",
                  place.endpoint().host, name(), received_, blob_.size, no_range_);
    if (received_ == 0) return tl::unexpected(broke_);
    if (received_ - before >= kProgressBytes) resumes = 0;
    if (received_ == before || resumes == kMaxResumes)
      return Fail(ErrorCode::kUnavailable, "{}: it broke off at byte {} of {}, the last of {} times{}{}",
                  broke_.message, received_, blob_.size, answers, no_range_.empty() ? "" : "; ", no_range_);
    if (place.Wait(kResumeWait * (1 << resumes++))) return Fail(ErrorCode::kCancelled, "cancelled");
  }
}

Result<void> BlobTransfer::Finish() {
  const std::string hint =
      encoding_.empty() ? "" : fmt::format("; it came with Content-Encoding {}", EscapeForLog(encoding_, 40));
  if (received_ != blob_.size)
    return Fail(ErrorCode::kCorrupt, "{} has {} bytes, its manifest says {}{}", name(), received_, blob_.size, hint);
  if (const Digest digest = std::move(sha256_).Finish(); digest != blob_.digest)
    return Fail(ErrorCode::kCorrupt, "{} came with the digest {}: the registry sent something else{}", name(),
                digest.ToString(), hint);
  return {};
}

// One answer, from the first byte that is missing on; without a range from the start.
Result<BlobTransfer::Ended> BlobTransfer::OneAnswer(RegistryTransport& place, bool use_range) {
  RegistryRequest request{.path = "blobs/" + blob_.digest.ToString(), .what = name(), .accept = "*/*"};
  if (received_ > 0 && use_range) request.range = fmt::format("bytes={}-", received_);
  bool start_over = false;
  request.on_headers = [&](const HttpResponse& response) { return TakeHeaders(response, start_over); };
  request.on_body = [this](std::string_view piece) { return TakeBytes(piece); };
  const Result<HttpResponse> response = place.Send(request);
  encoding_ = place.WithoutSecrets(encoding_);
  if (!response) {
    broke_ = response.error();
    if (start_over) {
      no_range_ = broke_.message;
      return Ended::kStartOver;
    }
    if (sink_failed_ || broke_.code != ErrorCode::kUnavailable) return tl::unexpected(broke_);
    return received_ == blob_.size ? Ended::kComplete : Ended::kBroken;  // behind the last byte nothing is missed
  }
  if (response->status == 416 && received_ > 0) {
    no_range_ = "it answers 416 to the request for the rest";
    return Ended::kStartOver;
  }
  if (response->status != 200 && response->status != 206) return place.Refused(*response, name());
  if (response->status == 206 && received_ < blob_.size) {
    broke_ = {ErrorCode::kUnavailable, fmt::format("registry {} sends less than the rest", place.endpoint().host), 0};
    return Ended::kBroken;
  }
  return Ended::kComplete;
}

// An answer from the start in place of the rest is taken once, skipping what is there: a server that breaks off and
// knows no ranges would send a blob of n bytes some n times.
Result<void> BlobTransfer::TakeHeaders(const HttpResponse& response, bool& start_over) {
  to_skip_ = 0;
  encoding_ = response.Header("content-encoding");
  if (response.status == 206) {
    const std::optional<ContentRange> range = ParseContentRange(response.Header("content-range"));
    if (received_ > 0 && range && range->first == received_ && range->total == blob_.size) return {};
    start_over = true;
    return Fail(ErrorCode::kCorrupt, "it sends another part than was asked for (Content-Range \"{}\")",
                EscapeForLog(response.Header("content-range"), 60));
  }
  const std::optional<uint64_t> length = ContentLength(response);
  if (length && *length != blob_.size && encoding_.empty())
    return Fail(ErrorCode::kCorrupt, "{} has {} bytes, its manifest says {}", name(), *length, blob_.size);
  if (received_ == 0 || from_start_++ == 0) {
    to_skip_ = received_;
    return {};
  }
  start_over = true;
  return Fail(ErrorCode::kCorrupt, "{}", no_range_.empty() ? "it sends all from the start again" : no_range_);
}

Result<void> BlobTransfer::TakeBytes(std::string_view piece) {
  const size_t skipped = static_cast<size_t>(std::min<uint64_t>(to_skip_, piece.size()));
  to_skip_ -= skipped;
  piece.remove_prefix(skipped);
  if (piece.size() > blob_.size - received_)
    return Fail(ErrorCode::kCorrupt, "{} has more than the {} bytes that its manifest says", name(), blob_.size);
  if (piece.empty()) return {};
  sha256_.Update(piece);
  if (Result<void> taken = sink_(piece); !taken) {
    sink_failed_ = true;
    return taken;
  }
  received_ += piece.size();
  return {};
}

}  // namespace caisson::image
