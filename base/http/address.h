// SPDX-License-Identifier: Apache-2.0
// Where an IP address leads, as far as it matters for who may send us there (against server-side request forgery). An
// IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4) leads where the IPv4 address does. Pure functions,
// but for ReachFromHere.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

namespace caisson {

enum class AddressReach {
  kPublic,
  kPrivate,      // RFC 1918, unique local, carrier-grade NAT, benchmarking: somebody's own network
  kThisMachine,  // loopback and unspecified
  kLink,         // link-local, where clouds keep their metadata services, and the other addresses of those
  kNobody,       // multicast, broadcast, reserved: no server is there
};

AddressReach ReachOf(const sockaddr& address);  // other families than IP are kNobody
// The same, but that an address of one of this host's own interfaces is kThisMachine, whatever network it is of.
AddressReach ReachFromHere(const sockaddr& address);
AddressReach ReachFromHere(const std::string& literal);
// Of a literal as inet_ntop writes it; kNobody for anything else.
AddressReach ReachOf(const std::string& literal);

std::string_view ToString(AddressReach reach);  // "a public address", "an address of this machine", ...

}  // namespace caisson
