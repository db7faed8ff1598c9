// SPDX-License-Identifier: Apache-2.0
#include "tests/api/api_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sqlite3.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/digest.h"
#include "base/io.h"

namespace caisson::api {

Result<std::vector<ImageSummary>> FakeImages::ListImages(const Tenant&) {
  return std::vector<ImageSummary>{Details().summary};
}

Result<std::string> FakeImages::NormaliseReference(const std::string& text) {
  if (text.find(' ') != std::string::npos) return Fail(ErrorCode::kInvalid, "a space cannot be in an image reference");
  return "docker.io/library/" + text + ":latest";
}

ImageDetails FakeImages::Details() {
  ImageDetails details;
  details.summary = {.reference = std::string(kImage),
                     .digest = "sha256:" + std::string(64, 'a'),
                     .compressed_bytes = 700,
                     .unpacked_bytes = 2100,
                     .layers = 1,
                     .pulled_at = 1'700'000'000'123,
                     .warnings = {"2 device nodes skipped"}};
  details.config = {.architecture = "amd64", .os = "linux", .command = {"sh"}, .env = {"PATH=/bin"}};
  details.layers = {{.digest = "sha256:" + std::string(64, 'b'),
                     .diff_id = "sha256:" + std::string(64, 'c'),
                     .compressed_bytes = 700,
                     .unpacked_bytes = 2100,
                     .entries = 12}};
  details.signature = "not-required";
  return details;
}

void FakeImages::Note(std::string call) {
  const std::lock_guard lock(mutex);
  calls.push_back(std::move(call));
}

Result<void> FakeImages::Find(const std::string& image) const {
  if (image == kImage || image == Details().summary.digest) return {};
  return Fail(ErrorCode::kNotFound, "there is no image {}", image);
}

Result<ImageDetails> FakeImages::Pull(const Tenant& tenant, const std::string& reference, PullPolicy policy,
                                      const LongCall& call) {
  Note(fmt::format("pull {} {} {}", tenant.name, reference, static_cast<int>(policy)));
  if (pull) return pull(call);
  return Details();
}

Result<ImageDetails> FakeImages::Inspect(const Tenant&, const std::string& image) {
  TRY(Find(image));
  return Details();
}

Result<void> FakeImages::Remove(const Tenant& tenant, const std::string& image) {
  TRY(Find(image));
  Note(fmt::format("remove {} {}", tenant.name, image));
  return {};
}

Result<ImageVerdict> FakeImages::Verify(const Tenant&, const std::string& image, bool repair, const LongCall&) {
  TRY(Find(image));
  return ImageVerdict{.image = Details().summary,
                      .layers = {{.digest = "sha256:" + std::string(64, 'b'),
                                  .verdict = repair ? LayerVerdict::kRepaired : LayerVerdict::kDamaged,
                                  .detail = "etc/passwd changed"}}};
}

Result<void> FakeImages::Export(const Tenant&, const std::string& image,
                                const std::function<Result<void>(std::string_view)>& sink, const LongCall& call) {
  TRY(Find(image));
  if (export_image) return export_image(sink, call);
  return sink("a tar archive");
}

Result<CollectReport> FakeImages::Collect(bool all) {
  return CollectReport{.images = all ? 3U : 1U, .layers = 2, .bytes = 4096};
}

Result<bool> FakeImages::HasUpload(const Tenant&, const std::string& digest) {
  const std::lock_guard lock(mutex);
  return blobs.contains(digest);
}

class FakeImages::Upload final : public BlobUpload {
 public:
  Upload(FakeImages& images, std::string digest) : images_(images), digest_(std::move(digest)) {}
  ~Upload() override {
    const std::lock_guard lock(images_.mutex);
    if (!finished_) ++images_.dropped_uploads;
  }
  Result<void> Write(std::string_view bytes) override {
    if (images_.on_write) TRY(images_.on_write(bytes));
    const std::lock_guard lock(images_.mutex);
    images_.received += bytes;
    return {};
  }
  Result<void> Finish() override {
    const std::lock_guard lock(images_.mutex);
    const std::string bytes = std::exchange(images_.received, {});
    if (digest_ != Sha256Of(bytes).ToString()) return Fail(ErrorCode::kInvalid, "the bytes have another digest");
    images_.blobs[digest_] = bytes;
    finished_ = true;
    return {};
  }

 private:
  FakeImages& images_;
  const std::string digest_;
  bool finished_ = false;
};

Result<std::unique_ptr<BlobUpload>> FakeImages::StartUpload(const Tenant&, const std::string& digest) {
  if (!Digest::Parse(digest)) return Fail(ErrorCode::kInvalid, "that is no digest");
  return std::make_unique<Upload>(*this, digest);
}

Result<ImportOutcome> FakeImages::Import(const Tenant&, const ImportRequest& request, const LongCall&) {
  if (request.manifest == "{}") return ImportOutcome{.image = Details()};
  return ImportOutcome{.missing = {"sha256:" + std::string(64, 'd')}};
}

Result<std::vector<RegistryLogin>> FakeRegistries::ListLogins(const Tenant& tenant) {
  std::vector<RegistryLogin> list;
  for (const auto& [key, credential] : logins)
    if (key.first == tenant.name) list.push_back({key.second, credential.username, 1'700'000'000'123});
  return list;
}

Result<RegistryLogin> FakeRegistries::PutLogin(const Tenant& tenant, const std::string& registry,
                                               const RegistryCredential& credential) {
  if (registry.find(' ') != std::string::npos) return Fail(ErrorCode::kInvalid, "that is no registry");
  logins[{tenant.name, registry}] = credential;
  return RegistryLogin{registry, credential.username, 1'700'000'000'123};
}

Result<void> FakeRegistries::DeleteLogin(const Tenant& tenant, const std::string& registry) {
  if (logins.erase({tenant.name, registry}) == 0)
    return Fail(ErrorCode::kNotFound, "there is no login for {}", registry);
  return {};
}

std::optional<PullProgress> FakeJobs::Progress(const queue::JobId&) { return progress; }

void FakeJobs::StopRunning(const queue::JobId& id, std::optional<uint32_t> grace_seconds) {
  stopped.emplace_back(id, grace_seconds);
}

void ApiTest::SetUp() {
  OpenStore();
  ASSERT_TRUE(MakeDirectories(directory_.file("logs"), 0700));
  auto logs = queue::OpenLogStore({.directory = directory_.file("logs"), .cap_bytes = 1 << 20});
  ASSERT_TRUE(logs) << logs.error().message;
  logs_ = *std::move(logs);
  StartServer();
}

void ApiTest::OpenStore() {
  auto store = queue::OpenSqliteStore({.path = directory_.file("caisson.db")});
  ASSERT_TRUE(store) << store.error().message;
  store_ = *std::move(store);
}

// There is no call for it yet: straight into the database.
void ApiTest::AddTenant(const std::string& name) {
  TearDown();
  store_.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(::sqlite3_open(directory_.file("caisson.db").c_str(), &database), SQLITE_OK);
  const std::string insert = "INSERT INTO tenants(name, created_at) VALUES('" + name + "', 1)";
  EXPECT_EQ(::sqlite3_exec(database, insert.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
      << ::sqlite3_errmsg(database);
  ::sqlite3_close(database);
  OpenStore();
  StartServer();
}

void ApiTest::StartServer(uint64_t max_body_bytes, uint32_t admin_gid) {
  server_.reset();
  auto server = ApiServer::Start({.unix_socket = directory_.file("caisson.sock"),
                                  .listen = "127.0.0.1:0",
                                  .tls_cert = tls_cert_,
                                  .tls_key = tls_key_,
                                  .max_body_bytes = max_body_bytes,
                                  .admin_gid = admin_gid,
                                  .version = "1.2.3"},
                                 {store_.get(), logs_.get(), &images_, &jobs_, &node_, &registries_});
  ASSERT_TRUE(server) << server.error().message;
  server_ = *std::move(server);
  store_->SetListener([this](const queue::JobId& id, queue::JobState state) { server_->OnJobChanged(id, state); });
}

void ApiTest::TearDown() {
  if (store_) store_->SetListener({});
  server_.reset();
}

HttpResponse ApiTest::Unix(const std::string& method, const std::string& path, std::optional<std::string> body,
                           std::vector<std::pair<std::string, std::string>> headers) {
  HttpClient client;
  auto response = client.Perform({.method = method,
                                  .url = "http://caisson" + path,
                                  .headers = std::move(headers),
                                  .body = std::move(body),
                                  .unix_socket = directory_.file("caisson.sock")});
  EXPECT_TRUE(response) << response.error().message;
  return response ? *response : HttpResponse{};
}

std::string ApiTest::TcpUrl(const std::string& path) const {
  return (tls_cert_.empty() ? "http" : "https") + std::string("://127.0.0.1:") + std::to_string(server_->tcp_port()) +
         path;
}

HttpResponse ApiTest::Tcp(const std::string& method, const std::string& path, const std::string& token,
                          std::optional<std::string> body, std::vector<std::pair<std::string, std::string>> headers) {
  if (!token.empty()) headers.emplace_back("Authorization", "Bearer " + token);
  HttpClient client;
  auto response = client.Perform({.method = method,
                                  .url = TcpUrl(path),
                                  .headers = std::move(headers),
                                  .body = std::move(body),
                                  .ca_file = tls_cert_});
  EXPECT_TRUE(response) << response.error().message;
  return response ? *response : HttpResponse{};
}

std::string ApiTest::NewToken(const std::string& tenant) {
  auto token = store_->CreateToken(tenant);
  EXPECT_TRUE(token) << token.error().message;
  return token->secret.Expose();
}

queue::JobRecord ApiTest::Submit(const std::string& body) {
  const HttpResponse response = Unix("POST", "/v1/jobs", body);
  EXPECT_EQ(response.status, 202) << response.body;
  const auto id = queue::JobId::Parse(ParseOrFail(response.body).StringOr("id", ""));
  EXPECT_TRUE(id);
  auto job = store_->Get(*store_->FindTenant("default"), *id);
  EXPECT_TRUE(job);
  return *job;
}

queue::Claim ApiTest::Claim() {
  auto claim = store_->ClaimNext();
  EXPECT_TRUE(claim && *claim);
  return **claim;
}

void ApiTest::MakeRunning(const queue::Claim& claim) {
  EXPECT_TRUE(store_->SetRunning({claim.id, claim.fence}, SystemClock().NowMs(), {}));
}

void ApiTest::Finish(const queue::Claim& claim, const queue::Outcome& outcome) {
  const auto state = logs_->State(claim.id);
  ASSERT_TRUE(state);
  auto finished = store_->Finish({claim.id, claim.fence}, outcome, state->bytes, state->dropped);
  ASSERT_TRUE(finished) << finished.error().message;
}

void ApiTest::Log(const queue::Claim& claim, const std::vector<std::pair<queue::LogStream, std::string>>& writes) {
  auto writer = logs_->OpenWriter(claim.id, claim.attempt);
  ASSERT_TRUE(writer) << writer.error().message;
  for (const auto& [stream, bytes] : writes) ASSERT_TRUE((*writer)->Append(stream, bytes));
  ASSERT_TRUE((*writer)->Sync());
}

Json ParseOrFail(const std::string& text) {
  auto json = ParseJson(text, {.max_bytes = SIZE_MAX});
  EXPECT_TRUE(json) << json.error().message << "\n" << text;
  return json ? *json : Json();
}

std::string ProblemName(const HttpResponse& response) {
  EXPECT_EQ(response.Header("content-type"), "application/problem+json");
  const Json problem = ParseOrFail(response.body);
  EXPECT_EQ(problem.IntOr("status", 0), response.status);
  EXPECT_FALSE(problem.StringOr("title", "").empty());
  EXPECT_FALSE(problem.StringOr("detail", "").empty());
  EXPECT_EQ(problem.StringOr("request_id", ""), response.Header("x-request-id"));
  const std::string type = problem.StringOr("type", "");
  const std::string prefix = "urn:caisson:problem:";
  EXPECT_TRUE(type.starts_with(prefix)) << type;
  return type.substr(prefix.size());
}

RawConnection RawConnection::ToUnix(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  return RawConnection(std::move(fd));
}

RawConnection RawConnection::ToTcp(int port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  return RawConnection(std::move(fd));
}

void RawConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the server has closed: what it said before is what counts
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

bool RawConnection::ReadSome() {
  char bytes[65536];
  const ssize_t got = ::recv(fd_.get(), bytes, sizeof bytes, 0);
  if (got > 0) buffer_.append(bytes, static_cast<size_t>(got));
  return got > 0;
}

std::string RawConnection::ReadToEnd() {
  while (ReadSome()) continue;
  return std::exchange(buffer_, {});
}

std::string RawConnection::ReadUntil(std::string_view text) {
  while (buffer_.find(text) == std::string::npos && ReadSome()) continue;
  return std::exchange(buffer_, {});
}

std::string RawConnection::ReadResponse() {
  size_t head;
  while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
    if (!ReadSome()) return std::exchange(buffer_, {});
  head += 4;
  const size_t field = buffer_.find("Content-Length: ");
  CHECK(field < head);
  const size_t end = head + std::stoul(buffer_.substr(field + 16));
  while (buffer_.size() < end)
    if (!ReadSome()) break;
  std::string response = buffer_.substr(0, end);
  buffer_.erase(0, end);
  return response;
}

void RawConnection::ShutDownSend() { ::shutdown(fd_.get(), SHUT_WR); }

}  // namespace caisson::api
