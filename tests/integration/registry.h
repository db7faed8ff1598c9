// SPDX-License-Identifier: Apache-2.0
// Registry: Debian's docker-registry on a free port of 127.0.0.1, with storage and logs of its own, and images pushed
// to it by scripts/make-image.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace caisson::integration {

// A port of 127.0.0.1 that is free now; a registry cannot choose for itself.
int FreePort();

class Registry {
 public:
  Registry();

  const std::string& address() const { return address_; }  // "127.0.0.1:PORT"
  std::string Name(const std::string& image) const { return address_ + "/" + image; }
  // Makes an image and pushes it as `image` ("busybox:1"); `options` are make-image's. Returns its digest.
  std::string Push(const std::string& image, std::vector<std::string> options = {});
  // "busybox:1" as everybody wants it: made once for all tests of a build, in the build directory.
  void PushBusybox();
  // The same manifest under another tag, without touching a blob.
  void Tag(const std::string& name, const std::string& old_tag, const std::string& new_tag);

  void Stop();
  void Start();  // again, on the same port with the same storage

  // Requests since the last call: "GET /v2/busybox/manifests/1 200".
  std::vector<std::string> TakeRequests();
  // The stored file of a blob, for a test that spoils it.
  std::string BlobPath(const std::string& digest) const;
  std::string ManifestOf(const std::string& name, const std::string& reference) const;

 private:
  bool TryStart();

  TemporaryDirectory directory_;
  int port_ = 0;
  std::string address_;
  Process process_;
  size_t requests_read_ = 0;  // bytes of the access log
};

}  // namespace caisson::integration
