// SPDX-License-Identifier: Apache-2.0
// Whom a registry may send us to, and where a registry may be (server-side request forgery): judged by the address of
// each connection, not by names.
#include "base/crypto/crypto.h"
#include "image/registry_endpoint.h"
#include "tests/image/registry_fixture.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using RegistryAddressTest = RegistryFixture;

// A registry that nobody has vouched for, under a name that resolves to `address`.
class Unvouched : public RegistryFixture {
 protected:
  Result<Digest> ResolveAt(const std::string& address, const std::string& host = "registry.example:5000") {
    access_.resolve = {host + ":" + address};
    return RegistryClient(*ParseReference(host + "/team/app:1"), access_).ResolveTag("1");
  }
};
using UnvouchedRegistryTest = Unvouched;

TEST_F(UnvouchedRegistryTest, IsRefusedAtAddressesOfThisMachineAndOfItsLink) {
  for (const char* address : {"127.0.0.1", "127.9.9.9", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
                              "[64:ff9b::7f00:1]", "169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]",
                              "[fd00:ec2::254]", "100.100.100.200", "224.0.0.1", "255.255.255.255", "[ff02::1]"}) {
    const Result<Digest> resolved = ResolveAt(address);
    ASSERT_FALSE(resolved) << address;
    EXPECT_EQ(resolved.error().code, ErrorCode::kDenied) << address << ": " << resolved.error().message;
    EXPECT_THAT(resolved.error().message, AllOf(HasSubstr("registry.example:5000 is at an address of this machine"),
                                                HasSubstr("add an entry [registries.\"registry.example:5000\"]")))
        << address;
  }
}

TEST_F(UnvouchedRegistryTest, IsRefusedUnderLiteralAddressesAndLocalhostToo) {
  for (const char* host : {"127.0.0.1:5000", "localhost:5000", "169.254.169.254", "[::1]:5000"})
    EXPECT_EQ(RegistryClient(*ParseReference(std::string(host) + "/x:1"), access_).ResolveTag("1").error().code,
              ErrorCode::kDenied)
        << host;
}

// Nobody finds out which ports of this machine are open.
TEST_F(UnvouchedRegistryTest, MessageIsTheSameWhetherThePortIsOpenOrNot) {
  std::string closed_port;
  {
    const ScriptedRegistry gone;
    closed_port = gone.address().substr(gone.address().find(':') + 1);
  }
  const std::string open_port = registry_.address().substr(registry_.address().find(':') + 1);
  const std::string open = ResolveAt("127.0.0.1", "r.example:" + open_port).error().message;
  std::string closed = ResolveAt("127.0.0.1", "r.example:" + closed_port).error().message;
  for (size_t at = 0; (at = closed.find(closed_port, at)) != std::string::npos;)
    closed.replace(at, closed_port.size(), open_port);
  EXPECT_EQ(open, closed);
  EXPECT_TRUE(registry_.requests().empty());
}

// Nor which of its network's.
TEST_F(UnvouchedRegistryTest, MessageIsTheSameForAnyFaultInAPrivateNetwork) {
  const RegistryEndpoint endpoint = *MakeEndpoint("10.0.0.7:22", "x", &registries_, false);
  const auto explain = [&](HttpFault fault) {
    return ExplainFault(endpoint, endpoint.origin, fault, AddressReach::kPrivate,
                        {ErrorCode::kUnavailable, "words of libcurl", 111});
  };
  const Error error = explain(HttpFault::kConnect);
  EXPECT_THAT(error.message, HasSubstr("registry 10.0.0.7:22 is in a private network"));
  for (const HttpFault fault : {HttpFault::kTimedOut, HttpFault::kBroken, HttpFault::kNotHttp, HttpFault::kNotTls,
                                HttpFault::kTlsTooOld, HttpFault::kCertificateExpired, HttpFault::kCertificateHost,
                                HttpFault::kCertificateUntrusted, HttpFault::kClientCertificateWanted}) {
    EXPECT_EQ(explain(fault).message, error.message);
    EXPECT_EQ(explain(fault).code, error.code);
    EXPECT_EQ(explain(fault).sys_errno, error.sys_errno);
  }
}

TEST_F(UnvouchedRegistryTest, AnEntryInTheSettingsIsEnough) {
  const Digest digest = registry_.PutManifest("1", "{}", "x");
  const std::string host = "registry.example:" + registry_.address().substr(registry_.address().find(':') + 1);
  registries_[host].plain_http = true;
  EXPECT_EQ(*ResolveAt("127.0.0.1", host), digest);
}

TEST_F(RegistryAddressTest, LinkIsNeverFollowedWhereNoServerOfARegistryIs) {
  for (const char* location : {"http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://224.0.0.1/",
                               "http://[fd00:ec2::254]/", "http://metadata.example/"}) {
    access_.resolve = {"metadata.example:80:169.254.169.254"};
    AlwaysAnswer({.status = 307, .headers = {{"Location", location}}});
    const Error error = Client().ResolveTag("1").error();
    EXPECT_EQ(error.code, ErrorCode::kDenied) << error.message;
    EXPECT_THAT(error.message, HasSubstr("may not send us to"));
  }
}

// The registries of these tests are at 127.0.0.1; what others may do is a pure function.
TEST_F(RegistryAddressTest, PublicRegistrySendsNobodyIntoAPrivateNetworkOrToThisMachine) {
  using enum AddressReach;
  for (const bool vouched : {false, true}) {
    const RegistryEndpoint endpoint{.vouched = vouched};
    for (const AddressReach own : {kPublic, kPrivate, kThisMachine, kLink, kNobody}) {
      EXPECT_TRUE(endpoint.MaySendTo(own, kPublic, false));
      EXPECT_EQ(endpoint.MaySendTo(own, kPrivate, false), own == kPrivate || own == kThisMachine);
      EXPECT_EQ(endpoint.MaySendTo(own, kThisMachine, false), own == kThisMachine);
      EXPECT_FALSE(endpoint.MaySendTo(own, kLink, false));
      EXPECT_FALSE(endpoint.MaySendTo(own, kNobody, false));
    }
  }
}

// A tenant's own registry is no way into one of the operator's.
TEST_F(RegistryAddressTest, OnlyRegistriesThatTheSettingsNameSendToOthersThatTheyName) {
  using enum AddressReach;
  for (const AddressReach reach : {kPrivate, kThisMachine, kLink}) {
    EXPECT_TRUE(RegistryEndpoint{.vouched = true}.MaySendTo(kPublic, reach, true));
    EXPECT_FALSE(RegistryEndpoint{.vouched = false}.MaySendTo(kPublic, reach, true));
  }
}

TEST_F(RegistryAddressTest, TokenServiceIsHeldToTheSameRules) {
  AlwaysAnswer({.status = 401, .headers = {{"WWW-Authenticate", "Bearer realm=\"https://auth.example/token\""}}});
  access_.resolve = {"auth.example:443:169.254.169.254"};
  const Error error = Client().ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kDenied);
  EXPECT_THAT(error.message, HasSubstr("auth.example, where registry"));
}

TEST_F(RegistryAddressTest, RegistryIsSentToAnotherThatTheSettingsName) {
  access_.resolve = {"storage.example:1:[fe80::1]"};
  access_.timing.tries = 1;
  access_.timing.connect = std::chrono::seconds(1);
  AlwaysAnswer({.status = 307, .headers = {{"Location", "http://storage.example:1/x"}}});
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kDenied);
  registries_["storage.example:1"] = {};
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kUnavailable);  // nobody is there, but it was tried
}

}  // namespace
}  // namespace caisson::image
