// SPDX-License-Identifier: Apache-2.0
#include "image/worker/layer_stream.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/check.h"
#include "image/layer/limits.h"

namespace caisson::image {

Result<std::unique_ptr<LayerStream>> LayerStream::Start(std::unique_ptr<Decoder> decoder, LayerInput& input,
                                                        const UnpackLimits& limits) {
  Fd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop) return FailErrno(errno, "make an event");
  std::unique_ptr<LayerStream> stream(new LayerStream(std::move(decoder), input, limits, std::move(stop)));
  TRY(stream->StartThreads());
  return stream;
}

LayerStream::LayerStream(std::unique_ptr<Decoder> decoder, LayerInput& input, const UnpackLimits& limits, Fd stop)
    : decoder_(std::move(decoder)), input_(input), limits_(limits), stop_(std::move(stop)) {
  input_.SetStop(stop_.get());
}

Result<void> LayerStream::StartThreads() {
  try {
    inflating_ = std::thread([this] { Inflate(); });
    hashing_ = std::thread([this] { Hash(); });
  } catch (const std::system_error& error) {
    return FailErrno(error.code().value(), "start a thread");
  }
  return {};
}

LayerStream::~LayerStream() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  more_.notify_all();
  room_.notify_all();
  const uint64_t one = 1;
  CHECK(::write(stop_.get(), &one, sizeof one) == sizeof one);
  for (std::thread* thread : {&inflating_, &hashing_})
    if (thread->joinable()) thread->join();
  input_.SetStop(-1);
}

// ---- The other threads ------------------------------------------------------------------------------------------

void LayerStream::Inflate() {
  uint64_t total = 0;
  for (;;) {
    Piece* piece = nullptr;
    {
      std::unique_lock lock(mutex_);
      room_.wait(lock, [this] { return stopped_ || inflated_ - std::min(hashed_, taken_) < kPieces; });
      if (stopped_) return;
      piece = &pieces_[inflated_ % kPieces];
    }
    Result<bool> more = InflateOne(*piece, total);
    {
      const std::lock_guard lock(mutex_);
      if (more && *more) {
        ++inflated_;
      } else {
        ended_ = true;
        if (!more) error_ = std::move(more).error();
      }
    }
    more_.notify_all();
    if (!more || !*more) return;
  }
}

Result<bool> LayerStream::InflateOne(Piece& piece, uint64_t& total) {
  const std::string_view bytes = TRY(decoder_->Next());
  if (bytes.empty()) return false;
  total += bytes.size();
  if (total > limits_.unpacked_bytes)
    return Fail(ErrorCode::kTooLarge, "the layer unpacks to more than {} bytes", limits_.unpacked_bytes);
  if (total > limits_.ratio_free_bytes && total / kMaxRatio > input_.bytes_read())
    return Fail(ErrorCode::kTooLarge, "the layer swells to more than {} times its size", kMaxRatio);
  piece.size = bytes.size();
  decoder_->MoveTo(piece.buffer, bytes);
  return true;
}

void LayerStream::Hash() {
  for (;;) {
    const Piece* piece = nullptr;
    {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [this] { return stopped_ || ended_ || hashed_ < inflated_; });
      if (stopped_ || hashed_ == inflated_) return;
      piece = &pieces_[hashed_ % kPieces];
    }
    sha256_.Update(piece->view());
    {
      const std::lock_guard lock(mutex_);
      ++hashed_;
    }
    room_.notify_one();
  }
}

// ---- The owner's ------------------------------------------------------------------------------------------------

Result<std::string_view> LayerStream::Next() {
  const Piece* piece = nullptr;
  {
    std::unique_lock lock(mutex_);
    if (holds_piece_) {
      ++taken_;
      holds_piece_ = false;
      room_.notify_one();
    }
    more_.wait(lock, [this] { return ended_ || taken_ < inflated_; });
    if (taken_ == inflated_) {
      if (error_) return tl::unexpected(*error_);
      return std::string_view();
    }
    piece = &pieces_[taken_ % kPieces];
    holds_piece_ = true;
  }
  bytes_ += piece->size;
  TRY(headers_.Feed(piece->view()));
  return piece->view();
}

Result<void> LayerStream::Drain() {
  while (!TRY(Next()).empty()) {
  }
  return headers_.Finish();
}

Digest LayerStream::TakeDigest() {
  CHECK(hashing_.joinable());
  hashing_.join();
  return std::move(sha256_).Finish();
}

}  // namespace caisson::image
