// SPDX-License-Identifier: Apache-2.0
#include "base/http/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <string>
#include <vector>

namespace caisson {
namespace {

TEST(AddressTest, ReachFollowsTheSpecialPurposeRegistries) {
  using enum AddressReach;
  const struct {
    AddressReach reach;
    std::vector<std::string> addresses;
  } kCases[] = {
      {kPublic,
       {"1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
        "100.63.255.255", "100.128.0.0", "128.0.0.1", "169.253.0.1", "2606:4700::1111", "2001:db8::1", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8", "2002:808:808::1"}},
      {kPrivate,
       {"10.0.0.1", "172.16.0.0", "172.31.255.255", "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.8", "fc00::1",
        "fd12::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "2001::1", "2002:a00:1::"}},
      {kThisMachine,
       {"127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1",
        "64:ff9b::127.0.0.1", "2002:7f00:1::", "::ffff:0.0.0.0"}},
      {kLink,
       {"169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
        "::ffff:169.254.169.254"}},
      {kNobody,
       {"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1", "100::1", "4000::1", "nonsense",
        ""}},
  };
  for (const auto& [reach, addresses] : kCases)
    for (const std::string& address : addresses) EXPECT_EQ(ToString(ReachOf(address)), ToString(reach)) << address;
}

TEST(AddressTest, SocketAddressesAreReadAsTheyAre) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(ReachOf(reinterpret_cast<const sockaddr&>(v4)), AddressReach::kThisMachine);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  ASSERT_EQ(::inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr), 1);
  EXPECT_EQ(ReachOf(reinterpret_cast<const sockaddr&>(v6)), AddressReach::kLink);
  const sockaddr unix_address{AF_UNIX, {}};
  EXPECT_EQ(ReachOf(unix_address), AddressReach::kNobody);
}

// The address that packets to the outside would leave from is of an interface of this host, whatever its network.
TEST(AddressTest, OwnAddressesAreThisMachine) {
  EXPECT_EQ(ReachFromHere(std::string("127.0.0.1")), AddressReach::kThisMachine);
  EXPECT_EQ(ReachFromHere(std::string("192.0.2.1")), AddressReach::kPublic);
  EXPECT_EQ(ReachFromHere(std::string("10.255.254.253")), AddressReach::kPrivate);
  EXPECT_EQ(ReachFromHere(std::string("169.254.169.254")), AddressReach::kLink);
  EXPECT_EQ(ReachFromHere(std::string("nonsense")), AddressReach::kNobody);
  ifaddrs* all = nullptr;
  ASSERT_EQ(::getifaddrs(&all), 0);
  for (const ifaddrs* one = all; one; one = one->ifa_next)
    if (one->ifa_addr && one->ifa_addr->sa_family == AF_INET) {
      EXPECT_EQ(ReachFromHere(*one->ifa_addr), AddressReach::kThisMachine) << one->ifa_name;
    }
  ::freeifaddrs(all);
}

}  // namespace
}  // namespace caisson
