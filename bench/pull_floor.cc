// SPDX-License-Identifier: Apache-2.0
// The floor of bench/pull: fetches the given blobs, three at a time as a pull does, inflates them with the store
// worker's own decoder and computes both digests. Makes no file.
//
//   pull_floor gzip|zstd|none URL ...
#include <cstdio>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/http/http_client.h"
#include "base/io.h"
#include "image/worker/decoder.h"
#include "image/worker/layer_stream.h"

namespace caisson::image {
namespace {

constexpr size_t kParallel = 3;

struct Blob {
  Compression compression;
  std::string url;
};

Digest Inflate(Compression compression, int pipe) {
  LayerInput input(pipe, ~0ull);
  Result<std::unique_ptr<LayerStream>> stream = LayerStream::Start(*OpenDecoder(compression, input), input, {});
  CHECK(stream && (*stream)->Drain());
  return (*stream)->TakeDigest();
}

void Fetch(const Blob& blob) {
  Pipe pipe = *MakePipe();
  Digest diff_id;
  std::thread inflating([&] { diff_id = Inflate(blob.compression, pipe.read.get()); });
  Sha256 sha256;
  HttpRequest request{.url = blob.url};
  request.on_body = [&](std::string_view piece) -> Result<void> {
    sha256.Update(piece);
    return WriteAll(pipe.write.get(), piece);
  };
  const Result<HttpResponse> answer = HttpClient().Perform(request);
  CHECK(answer && answer->status == 200);
  pipe.write.reset();
  inflating.join();
  printf("%s %s\n", std::move(sha256).Finish().ToString().c_str(), diff_id.ToString().c_str());
}

int Main(int argc, char** argv) {
  std::vector<Blob> blobs;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view kind = argv[i];
    blobs.push_back({kind == "gzip"   ? Compression::kGzip
                     : kind == "zstd" ? Compression::kZstd
                                      : Compression::kNone,
                     argv[i + 1]});
  }
  std::mutex mutex;
  size_t next = 0;
  const auto work = [&] {
    for (;;) {
      std::unique_lock lock(mutex);
      if (next == blobs.size()) return;
      const Blob& blob = blobs[next++];
      lock.unlock();
      Fetch(blob);
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kParallel; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace
}  // namespace caisson::image

int main(int argc, char** argv) { return caisson::image::Main(argc, argv); }
