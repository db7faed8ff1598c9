// SPDX-License-Identifier: Apache-2.0
// RegistryServer: Debian's docker-registry on 127.0.0.1 with its storage in a temporary directory, for the tests that
// pull from a real registry; its access log tells what was asked. Tests skip where the program is missing.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/image/temporary.h"

namespace caisson::image {

// A TCP port of 127.0.0.1 that nobody listens on right now.
int FreePort();

class RegistryServer {
 public:
  static bool Available();
  RegistryServer();  // returns once it answers
  RegistryServer(const RegistryServer&) = delete;
  RegistryServer& operator=(const RegistryServer&) = delete;
  ~RegistryServer();

  std::string address() const;  // "127.0.0.1:PORT"
  // Lines of the access log so far that contain `text`.
  int CountRequests(const std::string& text) const;
  // Pushes an OCI layout's tag: "dir:tag" -> address()/NAME:TAG.
  void Push(const std::string& layout_and_tag, const std::string& name_and_tag,
            const std::vector<std::string>& options = {}) const;

 private:
  TemporaryDirectory directory_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace caisson::image
