// SPDX-License-Identifier: Apache-2.0
#include "api/tls.h"

#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/crypto/crypto.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using ::testing::HasSubstr;

// A key and a certificate for 127.0.0.1, signed by itself, as PEM files.
void WriteCertificate(const std::string& certificate_path, const std::string& key_path) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(::EVP_EC_gen("P-256"), ::EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(::X509_new(), ::X509_free);
  ::X509_set_version(certificate.get(), X509_VERSION_3);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate.get()), 1);
  ::X509_gmtime_adj(::X509_getm_notBefore(certificate.get()), -60);
  ::X509_gmtime_adj(::X509_getm_notAfter(certificate.get()), 3600);
  ::X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = ::X509_get_subject_name(certificate.get());
  ::X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("caisson test"), -1, -1,
                               0);
  ::X509_set_issuer_name(certificate.get(), name);
  X509_EXTENSION* extension = ::X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
  ::X509_add_ext(certificate.get(), extension, -1);
  ::X509_EXTENSION_free(extension);
  ASSERT_NE(::X509_sign(certificate.get(), key.get(), ::EVP_sha256()), 0);
  const std::unique_ptr<FILE, int (*)(FILE*)> certificate_file(std::fopen(certificate_path.c_str(), "w"), std::fclose);
  ASSERT_EQ(::PEM_write_X509(certificate_file.get(), certificate.get()), 1);
  const std::unique_ptr<FILE, int (*)(FILE*)> key_file(std::fopen(key_path.c_str(), "w"), std::fclose);
  ASSERT_EQ(::PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
}

class TlsTest : public ApiTest {
 protected:
  void SetUp() override {
    tls_cert_ = directory_.file("cert.pem");
    tls_key_ = directory_.file("key.pem");
    WriteCertificate(tls_cert_, tls_key_);
    ApiTest::SetUp();
  }
};

TEST_F(TlsTest, ServesRequestsOfEverySize) {
  const std::string token = NewToken();
  EXPECT_EQ(Tcp("GET", "/livez").status, 200);
  const std::string payload(500'000, 'x');
  const HttpResponse response = Tcp("POST", "/v1/jobs", token, R"({"image":"busybox","payload":")" + payload + "\"}");
  ASSERT_EQ(response.status, 202) << response.body;
  const auto claim = Claim();
  EXPECT_EQ(*store_->Payload(claim.id), payload);
  MakeRunning(claim);
  Log(claim, {{queue::LogStream::kStdout, payload}});
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
  EXPECT_EQ(Tcp("GET", "/v1/jobs/" + claim.id.value + "/logs", token).body, payload);
  EXPECT_THAT(Tcp("GET", "/v1/jobs/" + claim.id.value + "/logs?follow=1", token).body, HasSubstr("event: end"));
}

TEST_F(TlsTest, OneConnectionServesManyRequests) {
  HttpClient client;
  for (int i = 0; i < 3; ++i) {
    const auto response = client.Perform({.url = TcpUrl("/livez"), .ca_file = tls_cert_});
    ASSERT_TRUE(response) << response.error().message;
    EXPECT_EQ(response->body, "ok\n");
  }
}

TEST_F(TlsTest, RefusedBodyIsAnswered) {
  const HttpResponse response = Tcp("POST", "/v1/jobs", NewToken(), std::string(3 << 20, 'x'));
  EXPECT_EQ(response.status, 413);
}

TEST_F(TlsTest, PlainHttpGetsNothing) {
  auto connection = RawConnection::ToTcp(server_->tcp_port());
  connection.Send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(connection.ReadToEnd().find("ok"), std::string::npos);
  EXPECT_EQ(Unix("GET", "/livez").status, 200);  // the Unix socket needs none
}

TEST_F(TlsTest, UnfinishedHandshakesDoNotDelayOthersOrStop) {
  std::vector<RawConnection> silent;
  for (int i = 0; i < 50; ++i) {
    silent.push_back(RawConnection::ToTcp(server_->tcp_port()));
    silent.back().Send("\x16\x03\x01");
  }
  EXPECT_EQ(Tcp("GET", "/livez").status, 200);
  server_->Stop();
}

TEST_F(TlsTest, FilesThatDoNotFitAreRefusedAtStart) {
  const std::string other_key = directory_.file("other.pem");
  WriteCertificate(directory_.file("other_cert.pem"), other_key);
  const ApiDependencies dependencies{store_.get(), logs_.get(), &images_, &jobs_, &node_};
  const auto start = [&](const std::string& cert, const std::string& key) {
    const auto server = ApiServer::Start(
        {.unix_socket = directory_.file("second.sock"), .listen = "127.0.0.1:0", .tls_cert = cert, .tls_key = key},
        dependencies);
    return server ? std::string("started") : server.error().message;
  };
  EXPECT_THAT(start(tls_cert_, other_key), HasSubstr("mismatch"));
  EXPECT_THAT(start("/missing.pem", tls_key_), HasSubstr("/missing.pem"));
  EXPECT_THAT(start(tls_cert_, tls_cert_), HasSubstr("TLS key"));
  EXPECT_EQ(start(tls_cert_, tls_key_), "started");
}

TEST_F(TlsTest, TakesUploadsPieceByPiece) {
  const std::string token = NewToken();
  const std::string bytes(3'000'000, 'x');
  const HttpResponse response = Tcp("PUT", "/v1/blobs/" + Sha256Of(bytes).ToString(), token, bytes);
  EXPECT_EQ(response.status, 201) << response.body;
  EXPECT_EQ(images_.blobs.size(), 1U);
}

}  // namespace
}  // namespace caisson::api
