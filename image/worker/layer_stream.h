// SPDX-License-Identifier: Apache-2.0
// LayerStream: the uncompressed tar stream of a layer on its way to libarchive. Each piece is counted against the
// limits, hashed for the diff_id and shown to TarHeaders before anybody else sees it. Owned by one unpacking.
#pragma once

#include <memory>
#include <string_view>

#include "base/crypto/crypto.h"
#include "base/result.h"
#include "image/worker/decoder.h"
#include "image/worker/tar_headers.h"

namespace caisson::image {

class LayerStream {
 public:
  LayerStream(std::unique_ptr<Decoder> decoder, const LayerInput& input)
      : decoder_(std::move(decoder)), input_(input) {}

  // Empty at the end. The view dies with the next call.
  Result<std::string_view> Next();
  // Reads what is left, so that the digest covers every byte; then nothing but digest() and bytes() is of use.
  Result<void> Drain();

  TarHeaders& headers() { return headers_; }
  uint64_t bytes() const { return bytes_; }
  Digest TakeDigest() { return std::move(sha256_).Finish(); }

 private:
  std::unique_ptr<Decoder> decoder_;
  const LayerInput& input_;
  TarHeaders headers_;
  Sha256 sha256_;
  uint64_t bytes_ = 0;
};

}  // namespace caisson::image
