// SPDX-License-Identifier: Apache-2.0
#include "api/image_streams.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "api/image_view.h"
#include "api/log_events.h"

namespace caisson::api {

// ---- Events of a pull
// ------------------------------------------------------------------------------------------------

class PullEvents::Stream final : public BodyStream {
 public:
  explicit Stream(std::shared_ptr<PullEvents> events) : events_(std::move(events)) {}
  ~Stream() override { events_->token_->Cancel(); }

  Result<Piece> Next() override {
    if (ended_) return Piece{Step::kEnd, {}};
    const std::lock_guard lock(events_->mutex_);
    Piece piece{Step::kData, {}};
    const auto now = std::chrono::steady_clock::now();
    ended_ = !events_->last_event_.empty();
    if (events_->newest_ && !ended_ && now < next_progress_)
      return Piece{Step::kWait, {}, std::chrono::ceil<std::chrono::milliseconds>(next_progress_ - now)};
    if (const auto progress = std::exchange(events_->newest_, std::nullopt)) {
      piece.bytes = EncodeEvent("progress", PullProgressView(*progress).Dump());
      next_progress_ = now + kProgressInterval;
    }
    piece.bytes += events_->last_event_;
    if (piece.bytes.empty()) piece.step = Step::kWait;
    return piece;
  }

  void Watch(std::function<void()> notify) override {
    const std::lock_guard lock(events_->mutex_);
    events_->notify_ = std::move(notify);
  }

  std::string_view KeepAlive() const override { return ": ping\n\n"; }

 private:
  const std::shared_ptr<PullEvents> events_;
  std::chrono::steady_clock::time_point next_progress_{};
  bool ended_ = false;
};

void PullEvents::Progress(const PullProgress& progress) {
  const std::lock_guard lock(mutex_);
  newest_ = progress;
  if (notify_) notify_();
}

void PullEvents::End(std::string_view event, std::string_view data) {
  const std::lock_guard lock(mutex_);
  last_event_ = EncodeEvent(event, data);
  if (notify_) notify_();
}

std::shared_ptr<BodyStream> PullEvents::StreamOf(const std::shared_ptr<PullEvents>& events) {
  return std::make_shared<Stream>(events);
}

// ---- A root file system
// ----------------------------------------------------------------------------------------------

struct RootfsPipe::State {
  std::mutex mutex;
  std::condition_variable room;
  std::string bytes;  // these are guarded by mutex
  bool closed = false;
  std::optional<Result<void>> end;
  std::function<void()> notify;

  void Close() {
    const std::lock_guard lock(mutex);
    closed = true;
    room.notify_all();
  }
};

class RootfsPipe::Stream final : public BodyStream {
 public:
  explicit Stream(std::shared_ptr<RootfsPipe> pipe) : pipe_(std::move(pipe)), state_(*pipe_->state_) {}
  ~Stream() override { pipe_->token_->Cancel(); }

  Result<Piece> Next() override {
    const std::lock_guard lock(state_.mutex);
    if (!state_.bytes.empty()) {
      state_.room.notify_all();
      return Piece{Step::kData, std::exchange(state_.bytes, {})};
    }
    if (!state_.end) return Piece{Step::kWait, {}};
    if (!*state_.end) return tl::unexpected(state_.end->error());
    return Piece{Step::kEnd, {}};
  }

  void Watch(std::function<void()> notify) override {
    const std::lock_guard lock(state_.mutex);
    state_.notify = std::move(notify);
  }

  bool MayEndEarly() const override { return false; }  // half an archive must not look like a whole one

 private:
  const std::shared_ptr<RootfsPipe> pipe_;
  State& state_;
};

RootfsPipe::RootfsPipe()
    : state_(std::make_shared<State>()), token_(std::make_shared<CallToken>([state = state_] { state->Close(); })) {}

Result<void> RootfsPipe::Write(std::string_view bytes) {
  std::unique_lock lock(state_->mutex);
  while (!bytes.empty()) {
    state_->room.wait(lock, [this] { return state_->closed || state_->bytes.size() < kRootfsBufferBytes; });
    if (state_->closed) return Fail(ErrorCode::kCancelled, "the reader has gone");
    const size_t fitting = std::min(bytes.size(), kRootfsBufferBytes - state_->bytes.size());
    state_->bytes += bytes.substr(0, fitting);
    bytes.remove_prefix(fitting);
    if (state_->notify) state_->notify();
  }
  return {};
}

void RootfsPipe::End(Result<void> result) {
  const std::lock_guard lock(state_->mutex);
  state_->end = std::move(result);
  if (state_->notify) state_->notify();
}

std::shared_ptr<BodyStream> RootfsPipe::StreamOf(const std::shared_ptr<RootfsPipe>& pipe) {
  return std::make_shared<Stream>(pipe);
}

}  // namespace caisson::api
