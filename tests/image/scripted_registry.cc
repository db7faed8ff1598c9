// SPDX-License-Identifier: Apache-2.0
#include "tests/image/scripted_registry.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "base/json/json.h"
#include "image/manifest.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kLayerType[] = "application/vnd.oci.image.layer.v1.tar+gzip";

bool Send(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

std::string LastPartOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Json DescriptorOf(const std::string& type, const std::string& bytes) {
  Json json;
  json.Set("mediaType", type);
  json.Set("digest", Sha256Of(bytes).ToString());
  json.Set("size", static_cast<uint64_t>(bytes.size()));
  return json;
}

}  // namespace

std::string ScriptedRequest::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

ScriptedRegistry::ScriptedRegistry() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        ::listen(listener_.get(), 64) == 0);
  CHECK(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { AcceptLoop(); });
}

ScriptedRegistry::~ScriptedRegistry() {
  stopping_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (const Fd& connection : connections_) ::shutdown(connection.get(), SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

std::string ScriptedRegistry::address() const { return fmt::format("127.0.0.1:{}", port_); }

void ScriptedRegistry::SetScript(Script script) {
  const std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

Digest ScriptedRegistry::PutBlob(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  const Digest digest = Sha256Of(bytes);
  blobs_[digest.ToString()] = {bytes, "application/octet-stream"};
  return digest;
}

Digest ScriptedRegistry::PutManifest(const std::string& tag, const std::string& bytes,
                                     const std::string& content_type) {
  const std::lock_guard lock(mutex_);
  const Digest digest = Sha256Of(bytes);
  manifests_[digest.ToString()] = manifests_[tag] = {bytes, content_type};
  return digest;
}

ScriptedAnswer ScriptedRegistry::Usual(const ScriptedRequest& request) {
  const std::lock_guard lock(mutex_);
  const bool manifest = request.path.find("/manifests/") != std::string::npos;
  const auto& stored = manifest ? manifests_ : blobs_;
  const auto found = stored.find(LastPartOf(request.path));
  if (found == stored.end()) return {.status = 404, .body = "{}"};
  ScriptedAnswer answer{.headers = {{"Content-Type", found->second.content_type}}, .body = found->second.bytes};
  answer.headers.emplace_back("Docker-Content-Digest", Sha256Of(answer.body).ToString());
  return answer;
}

std::vector<ScriptedRequest> ScriptedRegistry::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int ScriptedRegistry::CountRequests(const std::string& method, const std::string& part_of_path) const {
  const std::vector<ScriptedRequest> all = requests();
  return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const ScriptedRequest& request) {
    return request.method == method && request.path.find(part_of_path) != std::string::npos;
  }));
}

void ScriptedRegistry::AcceptLoop() {
  while (!stopping_) {
    Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) continue;
    const std::lock_guard lock(mutex_);
    connections_.push_back(std::move(connection));
    threads_.emplace_back([this, fd = connections_.back().get()] { Serve(fd); });
  }
}

// One request a connection.
void ScriptedRegistry::Serve(int connection) {
  std::string head;
  char buffer[4096];
  while (head.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) return;
    head.append(buffer, static_cast<size_t>(got));
    if (!std::isalpha(static_cast<unsigned char>(head[0]))) {  // TLS; as any web server does
      Send(connection, "HTTP/1.0 400 Bad Request\r\n\r\n");
      ::shutdown(connection, SHUT_RDWR);
      return;
    }
  }
  ScriptedRequest request;
  request.method = head.substr(0, head.find(' '));
  const size_t path = request.method.size() + 1;
  request.path = head.substr(path, head.find(' ', path) - path);
  for (size_t line = head.find("\r\n") + 2; head.compare(line, 2, "\r\n") != 0; line = head.find("\r\n", line) + 2) {
    const size_t colon = head.find(':', line);
    std::string name = head.substr(line, colon - line);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers[name] = head.substr(colon + 2, head.find("\r\n", line) - colon - 2);
  }
  request.body = head.substr(head.find("\r\n\r\n") + 4);
  for (const std::string length = request.Header("content-length");
       !length.empty() && request.body.size() < std::stoul(length);) {
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) return;
    request.body.append(buffer, static_cast<size_t>(got));
  }
  Script script;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    script = script_;
  }
  std::optional<ScriptedAnswer> scripted = script ? script(request) : std::nullopt;
  Give(connection, request, scripted ? *std::move(scripted) : Usual(request));
  ::shutdown(connection, SHUT_RDWR);
}

void ScriptedRegistry::Give(int connection, const ScriptedRequest& request, const ScriptedAnswer& answer) {
  const bool has_body = request.method != "HEAD";
  std::string text = answer.raw;
  if (text.empty() && answer.status != 0) {
    text = fmt::format("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", answer.status);
    for (const auto& [name, value] : answer.headers) text += name + ": " + value + "\r\n";
    if (!answer.endless) text += fmt::format("Content-Length: {}\r\n", answer.body.size());
    text += "\r\n";
  }
  bool sent = Send(connection, text);
  std::string_view body = has_body ? std::string_view(answer.body).substr(0, answer.cut_after) : "";
  while (sent && answer.drip && !body.empty() && !stopping_) {
    ::poll(nullptr, 0, 100);
    sent = Send(connection, body.substr(0, 1));
    body.remove_prefix(1);
  }
  if (sent) sent = Send(connection, body);
  while (sent && answer.endless && has_body && !stopping_) sent = Send(connection, answer.body);
  char ignored = 0;
  if (sent && answer.hang) ::recv(connection, &ignored, 1, 0);  // until the client has had enough
}

Digest PutImage(ScriptedRegistry& registry, const std::string& tag, const ScriptedImage& image) {
  Json::Array diff_ids, layers;
  for (const std::string& tar : image.tars) diff_ids.emplace_back(Sha256Of(tar).ToString());
  if (!image.diff_ids.empty()) diff_ids.assign(image.diff_ids.begin(), image.diff_ids.end());
  Json rootfs, config, manifest;
  rootfs.Set("type", "layers");
  rootfs.Set("diff_ids", diff_ids);
  config.Set("architecture", image.architecture.empty() ? HostPlatform().architecture : image.architecture);
  config.Set("os", "linux");
  config.Set("rootfs", rootfs);
  for (size_t i = 0; i < image.layers.size(); ++i) {
    registry.PutBlob(image.layers[i]);
    layers.push_back(DescriptorOf(i < image.layer_types.size() ? image.layer_types[i] : kLayerType, image.layers[i]));
  }
  const std::string config_bytes = config.Dump();
  registry.PutBlob(config_bytes);
  manifest.Set("schemaVersion", 2);
  manifest.Set("mediaType", kManifestType);
  manifest.Set("config", DescriptorOf(kConfigType, config_bytes));
  manifest.Set("layers", layers);
  return registry.PutManifest(tag, manifest.Dump(), kManifestType);
}

ScriptedImage ImageOf(const std::vector<std::string>& tars) {
  ScriptedImage image{.layers = {}, .tars = tars};
  for (const std::string& tar : tars) image.layers.push_back(MakeGzip(tar));
  return image;
}

}  // namespace caisson::image
