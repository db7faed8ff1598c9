// SPDX-License-Identifier: Apache-2.0
#include "base/http/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/fd.h"

namespace caisson {
namespace {

using Bytes6 = std::array<uint8_t, 16>;

struct Block4 {
  uint32_t network;
  int bits;
  AddressReach reach;
};

// The first that matches counts (IANA's special-purpose registry). 100.100.100.200 is a cloud's metadata service.
constexpr Block4 kBlocks4[] = {
    {0x00000000, 8, AddressReach::kThisMachine}, {0x7f000000, 8, AddressReach::kThisMachine},
    {0xa9fe0000, 16, AddressReach::kLink},       {0x646464c8, 32, AddressReach::kLink},
    {0x0a000000, 8, AddressReach::kPrivate},     {0xac100000, 12, AddressReach::kPrivate},
    {0xc0a80000, 16, AddressReach::kPrivate},    {0x64400000, 10, AddressReach::kPrivate},
    {0xc0000000, 24, AddressReach::kPrivate},    {0xc6120000, 15, AddressReach::kPrivate},
    {0xe0000000, 4, AddressReach::kNobody},      {0xf0000000, 4, AddressReach::kNobody},
};

AddressReach Reach4(uint32_t address) {
  for (const Block4& block : kBlocks4)
    if ((address ^ block.network) >> (32 - block.bits) == 0) return block.reach;
  return AddressReach::kPublic;
}

uint32_t Word(const Bytes6& address, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, address.data() + at, sizeof word);
  return ntohl(word);
}

AddressReach Reach6(const Bytes6& a) {
  const uint32_t first = Word(a, 0);
  const bool high_zero = std::all_of(a.begin(), a.begin() + 10, [](uint8_t byte) { return byte == 0; });
  if (high_zero && Word(a, 8) == 0 && Word(a, 12) <= 1) return AddressReach::kThisMachine;    // :: and ::1
  if (high_zero && (Word(a, 8) == 0xffff || Word(a, 8) == 0)) return Reach4(Word(a, 12));     // mapped, compatible
  if (first == 0x0064ff9b && Word(a, 4) == 0 && Word(a, 8) == 0) return Reach4(Word(a, 12));  // NAT64
  if (first >> 16 == 0x2002) return Reach4(Word(a, 2));                                       // 6to4
  if (first == 0x0064ff9b || first == 0x20010000) return AddressReach::kPrivate;              // local NAT64, Teredo
  if (first == 0xfd000ec2 || first == 0xfd2000ce) return AddressReach::kLink;                 // metadata services
  if (first >> 22 == 0xfe80 >> 6) return AddressReach::kLink;                                 // fe80::/10
  if (first >> 25 == 0xfc >> 1 || first >> 22 == 0xfec0 >> 6) return AddressReach::kPrivate;  // fc00::/7, fec0::/10
  if (first >> 29 == 1) return AddressReach::kPublic;                                         // 2000::/3
  return AddressReach::kNobody;
}

}  // namespace

AddressReach ReachOf(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4);
    return Reach4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return AddressReach::kNobody;
  sockaddr_in6 v6{};
  std::memcpy(&v6, &address, sizeof v6);
  Bytes6 bytes;
  std::copy_n(v6.sin6_addr.s6_addr, bytes.size(), bytes.begin());
  return Reach6(bytes);
}

AddressReach ReachFromHere(const sockaddr& address) {
  const AddressReach reach = ReachOf(address);
  if (reach != AddressReach::kPublic && reach != AddressReach::kPrivate) return reach;
  // Only to its own addresses can a host bind a socket. Port 0 is in nobody's way.
  const Fd probe(::socket(address.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage any_port{};
  const bool is_v4 = address.sa_family == AF_INET;
  const socklen_t size = is_v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::memcpy(&any_port, &address, size);
  (is_v4 ? reinterpret_cast<sockaddr_in&>(any_port).sin_port : reinterpret_cast<sockaddr_in6&>(any_port).sin6_port) = 0;
  const bool ours = ::bind(probe.get(), reinterpret_cast<const sockaddr*>(&any_port), size) == 0;
  return ours ? AddressReach::kThisMachine : reach;
}

AddressReach ReachFromHere(const std::string& literal) {
  sockaddr_in v4{.sin_family = AF_INET};
  if (::inet_pton(AF_INET, literal.c_str(), &v4.sin_addr) == 1)
    return ReachFromHere(reinterpret_cast<const sockaddr&>(v4));
  sockaddr_in6 v6{.sin6_family = AF_INET6};
  if (::inet_pton(AF_INET6, literal.substr(0, literal.find('%')).c_str(), &v6.sin6_addr) == 1)
    return ReachFromHere(reinterpret_cast<const sockaddr&>(v6));
  return AddressReach::kNobody;
}

AddressReach ReachOf(const std::string& literal) {
  in_addr v4{};
  if (::inet_pton(AF_INET, literal.c_str(), &v4) == 1) return Reach4(ntohl(v4.s_addr));
  Bytes6 bytes;
  if (::inet_pton(AF_INET6, literal.substr(0, literal.find('%')).c_str(), bytes.data()) == 1) return Reach6(bytes);
  return AddressReach::kNobody;
}

std::string_view ToString(AddressReach reach) {
  switch (reach) {
    case AddressReach::kPublic: return "a public address";
    case AddressReach::kPrivate: return "an address of a private network";
    case AddressReach::kThisMachine: return "an address of this machine";
    case AddressReach::kLink: return "a link-local address";
    case AddressReach::kNobody: return "an address that no server has";
  }
  return "";
}

}  // namespace caisson
