// SPDX-License-Identifier: Apache-2.0
// ImageHandlers: what /v1/images and /v1/blobs answer. The port decides who may see and touch what; here are the forms
// of requests and answers, and the threads: what asks a registry or reads a whole image runs on threads of its own, and
// never on the pool's. Owned by Handlers; safe on any thread.
#pragma once

#include <memory>
#include <string>

#include "api/answers.h"
#include "api/image_request.h"
#include "api/long_calls.h"
#include "api/server.h"

namespace caisson::api {

class ImageHandlers {
 public:
  explicit ImageHandlers(ImagesPort& images) : images_(images) {}
  // Ends what is under way; the port may go away after it.
  void Stop();

  Answer List(const Request& request);
  Answer Pull(const Request& request);
  Answer Inspect(const Request& request, const std::string& image);
  Answer Remove(const Request& request, const std::string& image);
  Answer Verify(const Request& request, const std::string& image);
  Answer Export(const Request& request, const std::string& image);
  Answer Collect(const Request& request);
  Answer HasBlob(const Request& request, const std::string& digest);
  Answer Import(const Request& request);
  tl::expected<std::unique_ptr<BodySink>, Problem> OpenBlob(const Request& request, const std::string& digest);
  uint64_t max_blob_bytes() const { return images_.max_blob_bytes(); }

 private:
  class BlobSink;
  // Runs `work` on `calls` and answers with what it returns.
  Answer Later(LongCalls& calls, std::string_view what, const Request& request,
               std::function<Answer(const LongCall&)> work);
  Answer PullWithEvents(const Request& request, const PullRequest& pull);

  ImagesPort& images_;
  Shares uploads_{16};   // at once
  LongCalls pulls_{32};  // mostly waiting, and many of them for one image
  LongCalls store_calls_{8};
  LongCalls exports_{8};
};

}  // namespace caisson::api
