// SPDX-License-Identifier: Apache-2.0
// What a worker that a layer has taken over may write. Whatever is accepted has one spelling.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/layer/report.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (const auto report = DecodeUnpackReport(bytes)) CHECK(EncodeReport(*report) == bytes);
  if (const auto report = DecodeMergeReport(bytes)) CHECK(DecodeMergeReport(EncodeReport(*report)));
  if (const auto order = DecodeMergeOrder(bytes)) CHECK(EncodeMergeOrder(*order) == bytes);
  if (const auto order = DecodeUnpackOrder(bytes)) CHECK(EncodeUnpackOrder(*order) == bytes);
  return 0;
}
