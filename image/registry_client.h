// SPDX-License-Identifier: Apache-2.0
// RegistryClient speaks the OCI distribution protocol with one registry about one repository: manifests and blobs, by
// digest checked byte for byte. Tokens are fetched when the registry asks and kept for the client's life; redirects
// are followed by hand, so that a token goes to nobody else. Made for one pull; calls block and are safe on any thread.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/http/http_client.h"
#include "base/http/url.h"
#include "base/result.h"
#include "base/secret.h"
#include "image/image_store.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace caisson::image {

struct RegistryCredentials {
  std::string username;  // empty: anonymous
  Secret password;

  bool anonymous() const { return username.empty(); }
};

struct ManifestBytes {
  std::string bytes;
  std::string content_type;
  Digest digest;  // SHA-256 of the bytes
};

class RegistryClient {
 public:
  // `cancelled` may be null; it is polled during transfers and waits.
  RegistryClient(const Reference& reference, RegistrySettings settings, RegistryCredentials credentials,
                 const std::atomic<bool>* cancelled);

  std::string repository() const { return reference_.repository(); }

  // What a tag means now. The registry's word only, where it gives one, which proves nothing: anybody's registry can
  // name any digest. Whoever fetches by the digest checks it.
  Result<Digest> ResolveTag(const std::string& tag);
  // The bytes are those of `digest`.
  Result<ManifestBytes> GetManifest(const Digest& digest);
  // Hands the blob's bytes to `sink`, never more than the descriptor's size. Success means that all came and that
  // size and digest are right. A transfer that breaks is taken up again where it broke.
  using Sink = std::function<Result<void>(std::string_view)>;
  Result<void> GetBlob(const Descriptor& blob, const Sink& sink);
  // A small blob in memory.
  Result<std::string> GetBlobBytes(const Descriptor& blob);

 private:
  struct Request;
  struct Answer;
  struct BlobTransfer;
  class Connection;

  Result<HttpResponse> Send(const Request& request);  // answers challenges, waits for a busy registry
  Result<Answer> SendOnce(const Request& request, const std::string& authorization);  // follows redirects
  Result<Url> FollowRedirect(const Url& from, const HttpResponse& response) const;
  Result<void> Authenticate(const HttpResponse& response, const std::string& rejected);
  Result<std::string> FetchToken(std::string_view realm, std::string_view service, std::string_view scope);
  Result<Url> TokenAddress(std::string_view realm, std::string_view service, std::string_view scope) const;
  Result<ManifestBytes> GetManifestBytes(const std::string& tag_or_digest);
  Result<void> ContinueBlob(BlobTransfer& transfer);
  tl::unexpected<Error> FailedStatus(const HttpResponse& response, std::string_view what) const;
  Error ExplainTransport(Error error, const Url& url) const;
  std::string AddressOf(std::string_view kind, std::string_view what) const;
  std::string CurrentAuthorization();
  bool WaitOrCancelled(int milliseconds) const;  // true when cancelled meanwhile

  const Reference reference_;
  const std::string origin_;  // "https://registry-1.docker.io"
  const RegistrySettings settings_;
  const RegistryCredentials credentials_;
  const std::atomic<bool>* const cancelled_;

  std::mutex mutex_;
  Secret authorization_;          // value of the header, once a challenge was answered
  std::vector<HttpClient> idle_;  // connections that nobody uses right now
};

}  // namespace caisson::image
