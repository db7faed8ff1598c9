// SPDX-License-Identifier: Apache-2.0
// The registry client over TLS, against a small server (Python's ssl) with certificates of its own authority.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/registry_client.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Gives the file `answer`, status line and headers included, to whoever connects to the socket that is descriptor 3.
constexpr char kServer[] = R"(
import socket, ssl, sys
certificate, client_authority, newest = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate + ".pem", certificate + ".key")
if client_authority:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(client_authority + ".pem")
if newest:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[newest]
listener = socket.socket(fileno=3)
while True:
    accepted = listener.accept()[0]
    with accepted.dup() as kept:  # closed once the client has read our alert, if there was one
        try:
            with context.wrap_socket(accepted, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(open("answer", "rb").read())
        except OSError:
            pass
        try:
            kept.shutdown(socket.SHUT_WR)
            while kept.recv(65536):
                pass
        except OSError:
            pass
)";

struct Server {
  std::string certificate = "good";
  std::string client_authority = {};  // whose certificates it wants to see
  std::string newest_version = {};
};

class TlsTest : public testing::Test {
 protected:
  static constexpr char kManifest[] = "the manifest";

  void SetUp() override {
    if (RunProgram({"openssl", "version"}) != 0) GTEST_SKIP() << "needs the openssl command";
    Serve(std::string("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n") + kManifest);
  }
  void TearDown() override { Stop(); }

  std::string PathOf(const std::string& name) const { return directory_.path() + "/" + name; }
  void MakeCertificate(const std::string& name, const std::string& host) {
    ASSERT_EQ(RunProgram({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                          "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=" + host, "-keyout",
                          PathOf(name + ".key"), "-out", PathOf(name + ".pem")}),
              0);
  }
  // One that ended in 2020: only `openssl ca` takes dates.
  void MakeExpiredCertificate(const std::string& name, const std::string& host) {
    MakeCertificate(name, host);
    const std::string config = PathOf("ca.conf");
    const std::string text = fmt::format(
        "[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index\nrand_serial=yes\nnew_certs_dir={0}\ndefault_md=sha256\n"
        "policy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName={1}\n"
        "basicConstraints=CA:TRUE\n",
        directory_.path(), host);
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, config, text, 0644));
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, PathOf("index"), "", 0644));
    ASSERT_EQ(RunProgram({"openssl", "req", "-new", "-key", PathOf(name + ".key"), "-subj", "/CN=" + name, "-out",
                          PathOf("request")}),
              0);
    ASSERT_EQ(RunProgram({"openssl", "ca", "-batch", "-selfsign", "-notext", "-config", config, "-in",
                          PathOf("request"), "-keyfile", PathOf(name + ".key"), "-startdate", "20200101000000Z",
                          "-enddate", "20200102000000Z", "-out", PathOf(name + ".pem")}),
              0);
  }
  void Serve(const std::string& answer) { ASSERT_TRUE(WriteFileDurably(AT_FDCWD, PathOf("answer"), answer, 0644)); }

  // Listens before it returns; connections wait until the program takes them.
  void Start(const Server& server) {
    const Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    CHECK(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    CHECK(::listen(listener.get(), 16) == 0);
    CHECK(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    host_ = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
    pid_ = ::fork();
    if (pid_ != 0) return;
    const Fd null(::open("/dev/null", O_RDWR));
    for (const int fd : {0, 1, 2}) ::dup2(null.get(), fd);
    if (listener.get() == 3) ::fcntl(3, F_SETFD, 0);
    if (listener.get() != 3) ::dup2(listener.get(), 3);
    if (::chdir(directory_.path().c_str()) != 0) ::_exit(126);
    ::execlp("python3", "python3", "-c", kServer, server.certificate.c_str(), server.client_authority.c_str(),
             server.newest_version.c_str(), nullptr);
    ::_exit(127);
  }
  void Stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  Result<ManifestBytes> Get(const RegistrySettings& settings) {
    const RegistryTable registries = {{host_, settings}};
    RegistryAccess access{.registries = &registries};
    access.timing.tries = 1;
    return RegistryClient(*ParseReference(host_ + "/team/app:1"), access).GetManifest(Sha256Of(kManifest));
  }
  // Final, with these words.
  void ExpectRefusal(const RegistrySettings& settings, const std::string& words, const std::string& more_words = "") {
    const Result<ManifestBytes> manifest = Get(settings);
    ASSERT_FALSE(manifest);
    EXPECT_EQ(manifest.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(manifest.error().message, AllOf(HasSubstr(host_), HasSubstr(words), HasSubstr(more_words)));
  }

  TemporaryDirectory directory_;
  std::string host_;
  pid_t pid_ = -1;
};

TEST_F(TlsTest, AuthorityFromTheSettingsIsTrustedAndNoOther) {
  MakeCertificate("good", "IP:127.0.0.1");
  MakeCertificate("other", "IP:127.0.0.1");
  Start({});
  const Result<ManifestBytes> manifest = Get({.ca_file = PathOf("good.pem")});
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->bytes, kManifest);
  ExpectRefusal({}, "certificate", "ca_file");
  ExpectRefusal({.ca_file = PathOf("other.pem")}, "certificate", "ca_file");
}

TEST_F(TlsTest, AuthorityThatCannotBeReadIsNamed) {
  MakeCertificate("good", "IP:127.0.0.1");
  Start({});
  ExpectRefusal({.ca_file = PathOf("missing.pem")}, "ca_file \"" + PathOf("missing.pem") + "\" has no certificate");
  ExpectRefusal({.ca_file = PathOf("answer")}, "ca_file \"" + PathOf("answer") + "\" has no certificate");
}

TEST_F(TlsTest, CertificateOfAnotherHostIsRefused) {
  MakeCertificate("good", "DNS:elsewhere.example");
  Start({});
  ExpectRefusal({.ca_file = PathOf("good.pem")}, "its certificate is for another host");
}

TEST_F(TlsTest, CertificateThatHasExpiredIsRefused) {
  MakeExpiredCertificate("good", "IP:127.0.0.1");
  Start({});
  ExpectRefusal({.ca_file = PathOf("good.pem")}, "its certificate has expired");
}

TEST_F(TlsTest, ClientCertificateIsShownWhereItIsWanted) {
  MakeCertificate("good", "IP:127.0.0.1");
  MakeCertificate("client", "DNS:client");
  MakeCertificate("stranger", "DNS:client");
  Start({.client_authority = "client"});
  const std::string ca = PathOf("good.pem");
  const Result<ManifestBytes> manifest =
      Get({.ca_file = ca, .client_cert = PathOf("client.pem"), .client_key = PathOf("client.key")});
  ASSERT_TRUE(manifest) << manifest.error().message;
  ExpectRefusal({.ca_file = ca}, "wants a client certificate", "client_cert and client_key");
  ExpectRefusal({.ca_file = ca, .client_cert = PathOf("missing.pem"), .client_key = PathOf("client.key")},
                "client_cert \"" + PathOf("missing.pem") + "\" and client_key cannot be used");
  ExpectRefusal({.ca_file = ca, .client_cert = PathOf("client.pem"), .client_key = PathOf("stranger.key")},
                "cannot be used");
}

TEST_F(TlsTest, OldVersionsAreRefused) {
  MakeCertificate("good", "IP:127.0.0.1");
  Start({.newest_version = "TLSv1_1"});
  ExpectRefusal({.ca_file = PathOf("good.pem")}, "nothing newer than TLS 1.1");
}

TEST_F(TlsTest, RedirectToPlainHttpIsNotFollowed) {
  MakeCertificate("good", "IP:127.0.0.1");
  Serve("HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/x\r\n\r\n");
  Start({});
  const Result<ManifestBytes> manifest = Get({.ca_file = PathOf("good.pem")});
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code, ErrorCode::kDenied);
  EXPECT_THAT(manifest.error().message, HasSubstr("from https to plain http"));
}

TEST_F(TlsTest, TokenServiceOfATlsRegistryIsNotAskedInTheClear) {
  MakeCertificate("good", "IP:127.0.0.1");
  Serve("HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/token\"\r\n\r\n");
  Start({});
  const Result<ManifestBytes> manifest = Get({.ca_file = PathOf("good.pem")});
  ASSERT_FALSE(manifest);
  EXPECT_EQ(manifest.error().code, ErrorCode::kDenied);
  EXPECT_THAT(manifest.error().message, HasSubstr("is not https"));
}

TEST_F(TlsTest, TlsWherePlainHttpIsSetIsNoManifest) {
  MakeCertificate("good", "IP:127.0.0.1");
  Start({});
  EXPECT_FALSE(Get({.plain_http = true}));
}

}  // namespace
}  // namespace caisson::image
