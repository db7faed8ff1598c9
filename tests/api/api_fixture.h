// SPDX-License-Identifier: Apache-2.0
// A real ApiServer on a socket in a temporary directory and on a TCP port of 127.0.0.1, before the real store and log
// store; only the parts that the API must not know (images, node, running jobs) are played here.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/server.h"
#include "base/fd.h"
#include "base/http/http_client.h"
#include "base/json/json.h"
#include "queue/log_store.h"
#include "queue/store.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::api {

// Holds one image that every tenant may use; what its calls do beyond that, a test says.
class FakeImages : public ImagesPort {
 public:
  Result<std::vector<ImageSummary>> ListImages(const Tenant& tenant) override;
  Result<std::string> NormaliseReference(const std::string& text) override;
  Result<ImageDetails> Pull(const Tenant& tenant, const std::string& reference, PullPolicy policy,
                            const LongCall& call) override;
  Result<ImageDetails> Inspect(const Tenant& tenant, const std::string& image) override;
  Result<void> Remove(const Tenant& tenant, const std::string& image) override;
  Result<ImageVerdict> Verify(const Tenant& tenant, const std::string& image, bool repair,
                              const LongCall& call) override;
  Result<void> Export(const Tenant& tenant, const std::string& image,
                      const std::function<Result<void>(std::string_view)>& sink, const LongCall& call) override;
  Result<CollectReport> Collect(bool all) override;
  Result<bool> HasUpload(const Tenant& tenant, const std::string& digest) override;
  Result<std::unique_ptr<BlobUpload>> StartUpload(const Tenant& tenant, const std::string& digest) override;
  uint64_t max_blob_bytes() const override { return 64 << 20; }
  Result<ImportOutcome> Import(const Tenant& tenant, const ImportRequest& request, const LongCall& call) override;

  static ImageDetails Details();
  static constexpr std::string_view kImage = "docker.io/library/busybox:1";

  std::function<Result<ImageDetails>(const LongCall&)> pull;  // in place of an image at once
  std::function<Result<void>(const std::function<Result<void>(std::string_view)>&, const LongCall&)> export_image;
  std::function<Result<void>(std::string_view)> on_write;  // of an upload, before it is kept

  std::mutex mutex;
  std::map<std::string, std::string> blobs;  // guarded by mutex, as are these: finished uploads
  std::vector<std::string> calls;            // "pull default busybox if-missing"
  std::string received;                      // of the upload under way
  int dropped_uploads = 0;

 private:
  class Upload;
  void Note(std::string call);
  Result<void> Find(const std::string& image) const;
};

class FakeRegistries : public RegistriesPort {
 public:
  Result<std::vector<RegistryLogin>> ListLogins(const Tenant& tenant) override;
  Result<RegistryLogin> PutLogin(const Tenant& tenant, const std::string& registry,
                                 const RegistryCredential& credential) override;
  Result<void> DeleteLogin(const Tenant& tenant, const std::string& registry) override;

  std::map<std::pair<std::string, std::string>, RegistryCredential> logins;  // tenant, registry
};

class FakeJobs : public JobsPort {
 public:
  std::vector<std::string> Unenforceable() override { return unenforceable; }
  std::optional<PullProgress> Progress(const queue::JobId& id) override;
  void StopRunning(const queue::JobId& id, std::optional<uint32_t> grace_seconds) override;

  std::vector<std::string> unenforceable;
  std::optional<PullProgress> progress;
  std::vector<std::pair<queue::JobId, std::optional<uint32_t>>> stopped;
};

class FakeNode : public NodePort {
 public:
  Result<std::string> NodeJson() override { return std::string(R"({"kernel":"6.12.0","isolation":"strict"})"); }
  NodeMetrics Metrics() override { return {.slots = 4, .busy = 1}; }
  bool Draining() override { return draining; }

  std::atomic<bool> draining{false};
};

class ApiTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  void OpenStore();

  void StartServer(uint64_t max_body_bytes = 1 << 20, uint32_t admin_gid = 0);
  // TCP of the servers started after it is TLS, with this certificate.
  std::string tls_cert_;
  std::string tls_key_;
  // Another tenant beside `default`.
  void AddTenant(const std::string& name);

  // On the Unix socket, as this process; on TCP with `token` where it is not empty.
  HttpResponse Unix(const std::string& method, const std::string& path, std::optional<std::string> body = {},
                    std::vector<std::pair<std::string, std::string>> headers = {});
  HttpResponse Tcp(const std::string& method, const std::string& path, const std::string& token = {},
                   std::optional<std::string> body = {}, std::vector<std::pair<std::string, std::string>> headers = {});
  std::string TcpUrl(const std::string& path) const;

  std::string NewToken(const std::string& tenant = "default");
  queue::JobRecord Submit(const std::string& body = R"({"image":"busybox"})");
  // What an executor does with a job, in one piece.
  queue::Claim Claim();
  void MakeRunning(const queue::Claim& claim);
  void Finish(const queue::Claim& claim, const queue::Outcome& outcome);
  // Writes to the log of an attempt.
  void Log(const queue::Claim& claim, const std::vector<std::pair<queue::LogStream, std::string>>& writes);

  testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> store_;
  std::unique_ptr<queue::LogStore> logs_;
  FakeImages images_;
  FakeRegistries registries_;
  FakeJobs jobs_;
  FakeNode node_;
  std::unique_ptr<ApiServer> server_;
};

Json ParseOrFail(const std::string& text);
// "invalid-request" of "urn:caisson:problem:invalid-request", after checking the rest of the problem's form.
std::string ProblemName(const HttpResponse& response);

// A connection without any help: bytes out, bytes in.
class RawConnection {
 public:
  static RawConnection ToUnix(const std::string& path);
  static RawConnection ToTcp(int port);
  void Send(std::string_view bytes);
  // Until the peer closes.
  std::string ReadToEnd();
  // Until `text` was seen; what was read until then, and at least up to it.
  std::string ReadUntil(std::string_view text);
  // One response with a Content-Length: its head and body.
  std::string ReadResponse();
  void ShutDownSend();

 private:
  explicit RawConnection(Fd fd) : fd_(std::move(fd)) {}
  bool ReadSome();
  Fd fd_;
  std::string buffer_;
};

}  // namespace caisson::api
