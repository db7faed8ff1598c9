// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/secured_registry.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/http/http_client.h"

namespace caisson::integration {
namespace {

// Of kPassword, for docker-registry's password file (bcrypt, cost 5).
constexpr char kPasswordHash[] = "$2a$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";

void RunOpenssl(std::vector<std::string> words) {
  words.insert(words.begin(), "openssl");
  const Finished run = RunProgram(words);
  ASSERT_EQ(run.status, 0) << run.err;
}

}  // namespace

SecuredRegistry::SecuredRegistry(RegistryForm form, int token_valid_seconds) : form_(form) {
  MakeCertificates();
  WriteFile(PathOf("htpasswd"), fmt::format("{}:{}\n", kUser, kPasswordHash));
  if (form_ == RegistryForm::kToken) StartTokenService(token_valid_seconds);
  for (int attempt = 0; attempt < 5; ++attempt) {  // a port that was free may be taken meanwhile
    address_ = fmt::format("127.0.0.1:{}", FreePort());
    WriteFile(PathOf("config.yml"), Config());
    process_ = Process({"docker-registry", "serve", PathOf("config.yml")},
                       {.out_file = PathOf("access"), .err_file = PathOf("errors")});
    bool up = false;
    WaitUntil([&] {
      const Result<HttpResponse> answer = HttpClient().Perform({.url = url() + "/v2/", .ca_file = PathOf("ca.pem")});
      up = answer && (answer->status == 200 || answer->status == 401);
      return up || !process_.running();
    });
    if (up) return;
  }
  ADD_FAILURE() << "docker-registry did not start: " << ReadWholeFile(PathOf("errors"));
}

void SecuredRegistry::MakeCertificates() const {
  const std::string days = "2";
  if (form_ == RegistryForm::kTls) {
    RunOpenssl({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", PathOf("ca.key"), "-out", PathOf("ca.pem"),
                "-days", days, "-subj", "/CN=Test authority"});
    RunOpenssl({"req", "-newkey", "rsa:2048", "-nodes", "-keyout", PathOf("server.key"), "-out", PathOf("server.csr"),
                "-subj", "/CN=registry"});
    WriteFile(PathOf("names"), "subjectAltName=IP:127.0.0.1\n");
    RunOpenssl({"x509", "-req", "-in", PathOf("server.csr"), "-CA", PathOf("ca.pem"), "-CAkey", PathOf("ca.key"),
                "-CAcreateserial", "-out", PathOf("server.pem"), "-days", days, "-extfile", PathOf("names")});
  }
  if (form_ == RegistryForm::kToken)
    RunOpenssl({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", PathOf("key.pem"), "-out",
                PathOf("cert.pem"), "-days", days, "-subj", "/CN=Token service"});
}

void SecuredRegistry::StartTokenService(int valid_seconds) {
  token_service_ = Process({"python3", CAISSON_SOURCE "/tests/integration/token_server.py", directory_.path(),
                            fmt::format("{}:{}", kUser, kPassword), std::to_string(valid_seconds)},
                           {.out_file = PathOf("port"), .err_file = PathOf("token-errors")});
  EXPECT_TRUE(WaitUntil([&] { return ReadWholeFile(PathOf("port")).ends_with('\n'); }))
      << ReadWholeFile(PathOf("token-errors"));
  const std::string port = ReadWholeFile(PathOf("port"));
  realm_ = fmt::format("http://127.0.0.1:{}/token", port.substr(0, port.find('\n')));
}

std::string SecuredRegistry::Config() const {
  std::string text = fmt::format(
      "version: 0.1\nlog: {{level: error}}\n"
      "storage: {{filesystem: {{rootdirectory: {}/storage}}}}\n"
      "http:\n  addr: \"{}\"\n  secret: test\n",
      directory_.path(), address_);
  if (form_ == RegistryForm::kTls)
    text += fmt::format("  tls: {{certificate: {}, key: {}}}\n", PathOf("server.pem"), PathOf("server.key"));
  if (form_ == RegistryForm::kPassword)
    text += fmt::format("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", PathOf("htpasswd"));
  if (form_ == RegistryForm::kToken)
    text += fmt::format(
        "auth: {{token: {{realm: \"{}\", service: test-registry, issuer: caisson-test, rootcertbundle: {}}}}}\n",
        realm_, PathOf("cert.pem"));
  return text;
}

void SecuredRegistry::CopyFrom(const Registry& source, const std::string& image) const {
  const std::string certificates = PathOf("certificates");
  RunProgram({"mkdir", "-p", certificates});
  if (form_ == RegistryForm::kTls) RunProgram({"cp", PathOf("ca.pem"), certificates + "/ca.crt"});
  const Finished copy = RunProgram({"skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
                                    fmt::format("--dest-tls-verify={}", form_ == RegistryForm::kTls), "--dest-cert-dir",
                                    certificates, "--dest-creds", fmt::format("{}:{}", kUser, kPassword),
                                    "docker://" + source.Name(image), "docker://" + Name(image)});
  ASSERT_EQ(copy.status, 0) << copy.err << ReadWholeFile(PathOf("errors")) << ReadWholeFile(PathOf("token-errors"));
}

std::string SecuredRegistry::Settings() const {
  const std::string table = fmt::format("[registries.\"{}\"]\n", address_);
  return table +
         (form_ == RegistryForm::kTls ? fmt::format("ca_file = \"{}\"\n", PathOf("ca.pem")) : "plain_http = true\n");
}

std::string SecuredRegistry::AuthJson(bool right) const {
  const std::string login = Base64Encode(fmt::format("{}:{}", kUser, right ? kPassword : "wrong"));
  return fmt::format(R"({{"auths":{{"{}":{{"auth":"{}"}}}}}})", address_, login);
}

size_t SecuredRegistry::tokens_given() const {
  const std::string log = ReadWholeFile(PathOf("tokens"));
  return static_cast<size_t>(std::count(log.begin(), log.end(), '\n'));
}

}  // namespace caisson::integration
