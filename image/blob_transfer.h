// SPDX-License-Identifier: Apache-2.0
// BlobTransfer: one blob on its way to a sink, from the first byte to the proof that all of it is right, over as many
// answers, and from as many places, as it takes. Belongs to one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/crypto/crypto.h"
#include "base/result.h"
#include "image/image_source.h"
#include "image/registry_transport.h"

namespace caisson::image {

class BlobTransfer {
 public:
  BlobTransfer(const Descriptor& blob, const ImageSource::Sink& sink) : blob_(blob), sink_(sink) {}

  // Brings what is missing from there, taking up a transfer that breaks where it broke. After an error another place
  // may go on, unless the sink failed.
  Result<void> Continue(RegistryTransport& place);
  // Whether what came is the blob.
  Result<void> Finish();

  bool sink_failed() const { return sink_failed_; }
  uint64_t received() const { return received_; }

 private:
  enum class Ended { kComplete, kBroken, kStartOver };
  Result<Ended> OneAnswer(RegistryTransport& place, bool use_range);
  Result<void> TakeHeaders(const HttpResponse& response, bool& start_over);
  Result<void> TakeBytes(std::string_view piece);
  std::string name() const { return "blob " + blob_.digest.ToString(); }

  const Descriptor& blob_;
  const ImageSource::Sink& sink_;
  Sha256 sha256_;
  uint64_t received_ = 0;  // and handed on
  uint64_t to_skip_ = 0;   // of an answer that begins again at the start
  bool sink_failed_ = false;
  int from_start_ = 0;    // answers of the present place that began there again
  Error broke_{};         // why the last answer ended early
  std::string no_range_;  // why the rest alone cannot be had
  std::string encoding_;
};

}  // namespace caisson::image
