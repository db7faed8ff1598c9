// SPDX-License-Identifier: Apache-2.0
// Decoder: the uncompressed bytes of a layer, piece by piece, from a descriptor. gzip is inflated by ISA-L where the
// build has it, else by zlib (both give the same verdict on the same bytes: a test holds that), zstd by libzstd with
// a bounded window. Several gzip members or zstd frames in a row are one stream; anything after them is refused.
// Owned by one unpacking, on its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "image/layer/report.h"

namespace caisson::image {

// The compressed side: reads a descriptor (borrowed) and never takes more than `limit` bytes.
class LayerInput {
 public:
  LayerInput(int fd, uint64_t limit, size_t piece_bytes = 256 << 10);
  // Up to a buffer full; empty at the end. kInvalid when more than `limit` bytes come. The view dies with the next
  // call.
  Result<std::string_view> Next();
  // Exactly `size` bytes before the first Next().
  Result<std::string> ReadExactly(size_t size);
  void SetLimit(uint64_t limit) { limit_ = limit; }
  // Next() gives kCancelled once `stop` (borrowed, -1 for none) is readable, even while it waits for bytes.
  void SetStop(int stop) { stop_ = stop; }
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  Result<void> WaitForBytes() const;
  int fd_;
  int stop_ = -1;
  uint64_t limit_;
  uint64_t bytes_read_ = 0;
  std::string buffer_;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Empty at the end of the stream. The view dies with the next call.
  virtual Result<std::string_view> Next() = 0;
  // Brings `piece`, what the last Next() gave, to the front of `buffer`: by exchanging memory where it is the decoder's
  // own, else by copying. `buffer` is one that came out of here, or empty.
  virtual void MoveTo(std::string& buffer, std::string_view piece) = 0;
};

// Looks at the first bytes: kInvalid when they are not what `expected` says.
Result<std::unique_ptr<Decoder>> OpenDecoder(Compression expected, LayerInput& input);

namespace internal {  // for tests that compare the two
std::unique_ptr<Decoder> MakeZlibDecoder(LayerInput& input, std::string first);
std::unique_ptr<Decoder> MakeIsalDecoder(LayerInput& input, std::string first);  // null where the build has none
}  // namespace internal

}  // namespace caisson::image
