// SPDX-License-Identifier: Apache-2.0
// RegistryClient speaks the OCI distribution protocol with one registry about one repository: manifests and blobs, by
// digest checked byte for byte. Tokens are fetched when the registry asks and kept for the client's life; redirects
// are followed by hand, so that a token goes to nobody else. Made for one pull; calls block and are safe on any thread.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/http/http_client.h"
#include "base/http/url.h"
#include "base/result.h"
#include "base/secret.h"
#include "image/credentials.h"
#include "image/image_source.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/registry_settings.h"

namespace caisson::image {

// What a client works with. What it points to outlives the client.
struct RegistryAccess {
  const RegistryTable* registries = nullptr;     // null: no settings
  CredentialSource* credentials = nullptr;       // null: anonymous
  std::string tenant;                            // whose credentials
  const std::atomic<bool>* cancelled = nullptr;  // polled during transfers and waits
  bool interactive = false;  // somebody watches, and no job slot is held: waits for as long as a registry asks
};

class RegistryClient : public ImageSource {
 public:
  RegistryClient(const Reference& reference, const RegistryAccess& access);

  std::string repository() const override { return reference_.repository(); }

  // What a tag means now. The registry's word only, where it gives one, which proves nothing: anybody's registry can
  // name any digest. Whoever fetches by the digest checks it.
  Result<Digest> ResolveTag(const std::string& tag);
  // The bytes are those of `digest`.
  Result<ManifestBytes> GetManifest(const Digest& digest) override;
  // What a tag means now, with its bytes; nullopt where there is none.
  Result<std::optional<ManifestBytes>> FindManifest(const std::string& tag);
  // The manifests that name `digest` as their subject and have that artifact type ("": any), as the referrers API or the
  // fallback tag "sha256-<hex>" lists them. The registry's word: whoever fetches one checks what it says.
  Result<std::vector<Descriptor>> Referrers(const Digest& digest, const std::string& artifact_type);
  // A transfer that breaks is taken up again where it broke.
  Result<void> GetBlob(const Descriptor& blob, const Sink& sink) override;

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
  const RegistrySettings settings_;
  const std::string origin_;  // "https://registry-1.docker.io"
  RegistryCredentials credentials_;
  const std::atomic<bool>* const cancelled_;

  std::mutex mutex_;
  Secret authorization_;          // value of the header, once a challenge was answered
  std::vector<HttpClient> idle_;  // connections that nobody uses right now
};

}  // namespace caisson::image
