// SPDX-License-Identifier: Apache-2.0
// Listening sockets, non-blocking: made here with plain system calls, so that they can be checked and refused before
// any server exists. The caller owns the descriptor.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::api {

// Replaces a socket at `path` that nobody listens on. kConflict when a living server has it. Its mode is 0666: who may
// connect is decided by the kernel's word about the peer, as the admin group could not always be given the file.
Result<Fd> ListenOnUnixSocket(const std::string& path);

struct HostPort {
  std::string host;  // an address, IPv6 without brackets
  std::string port;
};
// "127.0.0.1:7070", "[::1]:7070", ":7070" (all addresses). kInvalid otherwise.
Result<HostPort> ParseHostPort(std::string_view text);

// kConflict when the port is taken.
Result<Fd> ListenOnTcp(std::string_view listen);

// The port a TCP socket is bound to.
Result<int> BoundPort(int socket);

}  // namespace caisson::api
