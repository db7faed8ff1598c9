// SPDX-License-Identifier: Apache-2.0
// LayerStream: the uncompressed tar stream of a layer on its way to libarchive. Three threads work on it at once: one
// reads, inflates and counts against the limits; one hashes for the diff_id; the owner's own takes piece after piece,
// shows each to TarHeaders and makes the files. A few pieces of memory go round between them, so that the fastest waits
// for the slowest. What goes wrong in the first is told to the owner at its place in the stream: the same layer gives
// the same error, whichever thread was ahead. Owned by one unpacking, whose thread calls all functions.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/crypto/crypto.h"
#include "base/fd.h"
#include "base/result.h"
#include "image/layer/limits.h"
#include "image/worker/decoder.h"
#include "image/worker/tar_headers.h"

namespace caisson::image {

class LayerStream {
 public:
  // Starts the threads. `input` is the decoder's, borrowed; nobody else reads from it until this is destroyed.
  static Result<std::unique_ptr<LayerStream>> Start(std::unique_ptr<Decoder> decoder, LayerInput& input,
                                                    const UnpackLimits& limits);
  // Ends the threads wherever they are.
  ~LayerStream();

  // Empty at the end. The view dies with the next call.
  Result<std::string_view> Next();
  // Reads what is left, so that the digest covers every byte; then nothing but TakeDigest() and bytes() is of use.
  Result<void> Drain();

  TarHeaders& headers() { return headers_; }
  uint64_t bytes() const { return bytes_; }
  Digest TakeDigest();  // after Drain()

 private:
  struct Piece {
    std::string buffer;
    size_t size = 0;
    std::string_view view() const { return std::string_view(buffer).substr(0, size); }
  };
  static constexpr size_t kPieces = 8;

  LayerStream(std::unique_ptr<Decoder> decoder, LayerInput& input, const UnpackLimits& limits, Fd stop);
  Result<void> StartThreads();
  void Inflate();
  Result<bool> InflateOne(Piece& piece, uint64_t& total);  // false at the end
  void Hash();

  const std::unique_ptr<Decoder> decoder_;
  LayerInput& input_;
  const UnpackLimits limits_;
  const Fd stop_;  // an event: ends a read of the input

  std::mutex mutex_;                                // guards from here on
  std::condition_variable more_, room_;             // to take; to inflate into
  uint64_t inflated_ = 0, hashed_ = 0, taken_ = 0;  // pieces, from the stream's start
  bool ended_ = false;                              // no more will be inflated
  bool stopped_ = false;
  std::optional<Error> error_;  // at the end

  std::array<Piece, kPieces> pieces_;  // piece i is pieces_[i % kPieces], of whoever's turn it is
  Sha256 sha256_;                      // the hashing thread's
  TarHeaders headers_;                 // the owner's, as is the rest
  bool holds_piece_ = false;
  uint64_t bytes_ = 0;
  std::thread inflating_, hashing_;
};

}  // namespace caisson::image
