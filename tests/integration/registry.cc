// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/registry.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/check.h"
#include "base/http/http_client.h"

namespace caisson::integration {
namespace {

Result<HttpResponse> Request(const HttpRequest& request) { return HttpClient().Perform(request); }

}  // namespace

int FreePort() {
  const Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK(bind(probe.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  CHECK(getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

Registry::Registry() {
  for (int attempt = 0; attempt < 5; ++attempt) {
    port_ = FreePort();
    address_ = fmt::format("127.0.0.1:{}", port_);
    if (TryStart()) return;
  }
  ADD_FAILURE() << "docker-registry did not start: " << ReadWholeFile(directory_.path() + "/errors");
}

bool Registry::TryStart() {
  const std::string config = directory_.path() + "/config.yml";
  WriteFile(config, fmt::format("version: 0.1\nlog: {{level: error}}\n"
                                "storage: {{filesystem: {{rootdirectory: {}/storage}}, delete: {{enabled: true}}}}\n"
                                "http: {{addr: \"{}\"}}\n",
                                directory_.path(), address_));
  process_ = Process({"docker-registry", "serve", config},
                     {.out_file = directory_.path() + "/access", .err_file = directory_.path() + "/errors"});
  bool up = false;
  WaitUntil([&] {
    const Result<HttpResponse> answer = Request({.url = "http://" + address_ + "/v2/"});
    up = answer && answer->status == 200;
    return up || !process_.running();
  });
  return up && process_.running();
}

void Registry::Stop() { process_ = Process(); }
void Registry::Start() { ASSERT_TRUE(TryStart()); }

std::string Registry::Push(const std::string& image, std::vector<std::string> options) {
  std::vector<std::string> arguments = {CAISSON_SOURCE "/scripts/make-image"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(Name(image));
  const Finished made = RunProgram(arguments);
  EXPECT_EQ(made.status, 0) << made.err;
  return made.out.substr(0, made.out.find('\n'));
}

std::string Registry::ManifestOf(const std::string& name, const std::string& reference) const {
  const Result<HttpResponse> answer =
      Request({.url = fmt::format("http://{}/v2/{}/manifests/{}", address_, name, reference),
               .headers = {{"Accept", "application/vnd.oci.image.manifest.v1+json"}}});
  EXPECT_TRUE(answer && answer->status == 200) << name << ":" << reference;
  return answer ? answer->body : "";
}

void Registry::PushBusybox() {
  namespace fs = std::filesystem;
  std::string key;  // another script or another busybox makes another image
  for (const char* source : {CAISSON_SOURCE "/scripts/make-image", "/bin/busybox"})
    key += fmt::format("-{}", fs::last_write_time(source).time_since_epoch().count());
  const fs::path kept = std::string(CAISSON_PROGRAMS) + "/integration-image" + key;
  const fs::path storage = directory_.path() + "/storage";
  std::error_code error;
  if (fs::exists(kept)) return fs::copy(kept, storage, fs::copy_options::recursive);
  Push("busybox:1");
  const fs::path fresh = kept.string() + fmt::format(".{}", getpid());
  fs::copy(storage, fresh, fs::copy_options::recursive);
  fs::rename(fresh, kept, error);  // another test may have been faster
  if (error) fs::remove_all(fresh, error);
}

void Registry::Tag(const std::string& name, const std::string& old_tag, const std::string& new_tag) {
  const Result<HttpResponse> answer =
      Request({.method = "PUT",
               .url = fmt::format("http://{}/v2/{}/manifests/{}", address_, name, new_tag),
               .headers = {{"Content-Type", "application/vnd.oci.image.manifest.v1+json"}},
               .body = ManifestOf(name, old_tag)});
  EXPECT_TRUE(answer && answer->status == 201) << (answer ? answer->body : answer.error().message);
}

std::vector<std::string> Registry::TakeRequests() {
  const std::string log = ReadWholeFile(directory_.path() + "/access");
  std::vector<std::string> requests;
  // 127.0.0.1 - - [time] "GET /v2/ HTTP/1.1" 200 2 "" "curl/7.88.1"
  for (size_t start = requests_read_, end; (end = log.find('\n', start)) != std::string::npos; start = end + 1) {
    const std::string line = log.substr(start, end - start);
    const size_t open = line.find('"'), close = line.find(" HTTP/1.1\" ");
    if (open != std::string::npos && close != std::string::npos)
      requests.push_back(line.substr(open + 1, close - open - 1) + " " + line.substr(close + 11, 3));
    requests_read_ = end + 1;
  }
  return requests;
}

std::string Registry::BlobPath(const std::string& digest) const {
  const std::string hex = digest.substr(digest.find(':') + 1);
  return fmt::format("{}/storage/docker/registry/v2/blobs/sha256/{}/{}/data", directory_.path(), hex.substr(0, 2), hex);
}

}  // namespace caisson::integration
