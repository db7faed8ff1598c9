// SPDX-License-Identifier: Apache-2.0
// The registry client over TLS, against a small server (Python's ssl) with a certificate of its own authority.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/registry_client.h"
#include "tests/image/registry_server.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

// Gives the file `answer`, status line and headers included, to whoever connects.
constexpr char kServer[] = R"(
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.recv(65536)
            connection.sendall(open("answer", "rb").read())
    except OSError:
        pass
)";

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    const int made = RunProgram({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                                 "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
                                 "-keyout", directory_.path() + "/key.pem", "-out", ca_file()});
    if (made == 127) GTEST_SKIP() << "needs the openssl command";
    ASSERT_EQ(made, 0);
    port_ = FreePort();
    pid_ = ::fork();
    if (pid_ == 0) {
      const std::string port = std::to_string(port_);
      const Fd null(::open("/dev/null", O_RDWR));
      for (const int fd : {0, 1, 2}) ::dup2(null.get(), fd);
      if (::chdir(directory_.path().c_str()) != 0) ::_exit(126);
      ::execlp("python3", "python3", "-c", kServer, port.c_str(), nullptr);
      ::_exit(127);
    }
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  std::string ca_file() const { return directory_.path() + "/cert.pem"; }
  void Serve(const std::string& answer) {
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, directory_.path() + "/answer", answer, 0644));
  }
  // Tries until the server listens.
  Result<ManifestBytes> Get(const Digest& digest, const std::string& ca) {
    const Reference reference = *ParseReference(fmt::format("127.0.0.1:{}/team/app:1", port_));
    for (int tries = 0;; ++tries) {
      const RegistryTable registries = {{reference.host, {.ca_file = ca}}};
      Result<ManifestBytes> manifest = RegistryClient(reference, {.registries = &registries}).GetManifest(digest);
      if (manifest || manifest.error().message.find("Couldn't connect") == std::string::npos || tries == 100)
        return manifest;
      ::poll(nullptr, 0, 50);
    }
  }

  TemporaryDirectory directory_;
  int port_ = 0;
  pid_t pid_ = -1;
};

TEST_F(TlsTest, AuthorityFromTheSettingsIsTrustedAndNoOther) {
  const Digest digest = Sha256Of("the manifest");
  Serve("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\nthe manifest");
  const Result<ManifestBytes> manifest = Get(digest, ca_file());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->bytes, "the manifest");
  const Result<ManifestBytes> untrusted = Get(digest, "");
  ASSERT_FALSE(untrusted);
  EXPECT_EQ(untrusted.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(untrusted.error().message, HasSubstr("ca_file"));
}

TEST_F(TlsTest, RedirectToPlainHttpIsNotFollowed) {
  const Digest digest = Sha256Of("x");
  Serve("HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/x\r\n\r\n");
  const Result<ManifestBytes> manifest = Get(digest, ca_file());
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code, ErrorCode::kDenied);
  EXPECT_THAT(manifest.error().message, HasSubstr("from https to plain http"));
}

TEST_F(TlsTest, TlsWherePlainHttpIsSetSaysWhatToRemove) {
  const Digest digest = Sha256Of("x");
  Serve("HTTP/1.0 200 OK\r\n\r\nx");
  ASSERT_TRUE(Get(digest, ca_file()));  // it listens
  const Reference reference = *ParseReference(fmt::format("127.0.0.1:{}/team/app:1", port_));
  const RegistryTable registries = {{reference.host, {.plain_http = true}}};
  const Result<ManifestBytes> manifest = RegistryClient(reference, {.registries = &registries}).GetManifest(digest);
  ASSERT_FALSE(manifest);
}

}  // namespace
}  // namespace caisson::image
