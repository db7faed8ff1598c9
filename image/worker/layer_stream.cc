// SPDX-License-Identifier: Apache-2.0
#include "image/worker/layer_stream.h"

#include "image/layer/limits.h"

namespace caisson::image {

Result<std::string_view> LayerStream::Next() {
  const std::string_view piece = TRY(decoder_->Next());
  bytes_ += piece.size();
  if (bytes_ > kMaxUnpackedBytes)
    return Fail(ErrorCode::kTooLarge, "the layer unpacks to more than {} bytes", kMaxUnpackedBytes);
  if (bytes_ > kRatioFreeBytes && bytes_ / kMaxRatio > input_.bytes_read())
    return Fail(ErrorCode::kTooLarge, "the layer swells to more than {} times its size", kMaxRatio);
  sha256_.Update(piece);
  TRY(headers_.Feed(piece));
  return piece;
}

Result<void> LayerStream::Drain() {
  while (!TRY(Next()).empty()) {
  }
  return headers_.Finish();
}

}  // namespace caisson::image
