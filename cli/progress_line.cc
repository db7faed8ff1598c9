// SPDX-License-Identifier: Apache-2.0
#include "cli/progress_line.h"

#include <fmt/core.h>

#include <chrono>

#include "base/io.h"
#include "cli/quantity.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr std::chrono::milliseconds kInterval{500};
constexpr size_t kBarWidth = 22;
constexpr size_t kWidth = 79;  // so that the line never wraps: a wrapped one cannot be cleared
constexpr std::string_view kClearLine = "\r\x1b[K";

}  // namespace

std::string ProgressText(const JobView& job) {
  if (job.state == "blocked" || job.state == "queued") return "waiting for a free slot";
  if (job.state == "scheduled") return Shorten(Printable("waiting to try again: " + job.message), kWidth);
  if (job.state != "preparing") return {};
  std::string text = "pulling " + Printable(job.image);
  if (job.progress && job.progress->bytes_total > 0) {
    const std::string amount =
        fmt::format(" {} {} of {}", Bar(job.progress->bytes_done, job.progress->bytes_total, kBarWidth),
                    FormatSize(job.progress->bytes_done), FormatSize(job.progress->bytes_total));
    return Shorten(text, kWidth - amount.size()) + amount;
  }
  return Shorten(text, kWidth);
}

ProgressLine::ProgressLine(Endpoint endpoint, Identity identity, const Console& console, std::string job_id)
    : client_(std::move(endpoint), std::move(identity)), console_(console), job_id_(std::move(job_id)) {
  thread_ = std::thread([this] { Run(); });
}

void ProgressLine::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (!shown_.empty()) static_cast<void>(WriteAll(console_.err, kClearLine).has_value());
}

void ProgressLine::Run() {
  for (;;) {
    const Result<Json> answer = client_.Get("/v1/jobs/" + UrlEncode(job_id_), &stopping_);
    if (stopping_) return;
    // A daemon that is away for a moment is the log reader's matter.
    const Result<JobView> job = answer ? ParseJob(*answer) : Result<JobView>(tl::unexpected(answer.error()));
    if (job) {
      Show(ProgressText(*job));
      if (job->state == "running" || job->is_final()) return;
    }
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kInterval, [&] { return stopping_.load(); })) return;
  }
}

void ProgressLine::Show(const std::string& text) {
  if (text == shown_) return;
  static_cast<void>(WriteAll(console_.err, std::string(kClearLine) + text).has_value());
  shown_ = text;
}

}  // namespace caisson::cli
