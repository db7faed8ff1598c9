// SPDX-License-Identifier: Apache-2.0
// ScriptedRegistry: a registry on 127.0.0.1 in this process that misbehaves as a test tells it. It serves the images
// that were put into it over plain HTTP, remembers every request, and lets a test answer in its place.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"

namespace caisson::image {

struct ScriptedRequest {
  std::string method;
  std::string path;                            // with the query
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  std::string Header(const std::string& name) const;
};

struct ScriptedAnswer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  bool endless = false;         // the body again and again, no Content-Length
  size_t cut_after = SIZE_MAX;  // closes after so many bytes of the body
  std::string raw = {};         // these bytes in place of an answer; then the connection ends
  bool hang = false;            // then keeps the connection open and silent; with status 0 from the first byte on
  bool drip = false;            // the body byte by byte, some 10 a second
};

class ScriptedRegistry {
 public:
  ScriptedRegistry();
  ScriptedRegistry(const ScriptedRegistry&) = delete;
  ScriptedRegistry& operator=(const ScriptedRegistry&) = delete;
  ~ScriptedRegistry();

  std::string address() const;  // "127.0.0.1:PORT"

  // Asked before the stored content; nullopt for "as usual". Called from several threads at once.
  using Script = std::function<std::optional<ScriptedAnswer>(const ScriptedRequest&)>;
  void SetScript(Script script);

  Digest PutBlob(const std::string& bytes);
  Digest PutManifest(const std::string& tag, const std::string& bytes, const std::string& content_type);
  // What a well-behaved registry says.
  ScriptedAnswer Usual(const ScriptedRequest& request);

  std::vector<ScriptedRequest> requests() const;
  int CountRequests(const std::string& method, const std::string& part_of_path) const;

 private:
  struct Stored {
    std::string bytes;
    std::string content_type;
  };
  void AcceptLoop();
  void Serve(int connection);
  void Give(int connection, const ScriptedRequest& request, const ScriptedAnswer& answer);

  Fd listener_;
  int port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::atomic<bool> stopping_ = false;
  std::list<Fd> connections_;
  std::vector<std::thread> threads_;
  std::vector<ScriptedRequest> requests_;
  std::map<std::string, Stored> blobs_, manifests_;
  Script script_;
};

// An image from tar archives, base first, as the JSON documents that describe it.
struct ScriptedImage {
  std::vector<std::string> layers;            // compressed
  std::vector<std::string> layer_types = {};  // media types; gzip where missing
  std::vector<std::string> diff_ids = {};     // "sha256:..."; empty: the right ones of `tars`
  std::vector<std::string> tars = {};
  std::string architecture = {};  // empty: this host's
};
// Puts blobs and manifest into the registry; returns the manifest's digest.
Digest PutImage(ScriptedRegistry& registry, const std::string& tag, const ScriptedImage& image);
// gzip layers of the archives.
ScriptedImage ImageOf(const std::vector<std::string>& tars);

}  // namespace caisson::image
