// SPDX-License-Identifier: Apache-2.0
#include "image/registry_client.h"

#include "base/crypto/crypto.h"
#include "base/log.h"
#include "image/blob_transfer.h"
#include "image/layer/limits.h"
#include "image/mirror.h"
#include "image/referrers.h"
#include "image/registry_headers.h"
#include "image/registry_transport.h"

namespace caisson::image {
namespace {

constexpr int kMaxReferrerPages = 20;
constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";

// What tells a registry without the referrers API: it knows no such path, or a server before it answers for it.
bool HasNoReferrersApi(const HttpResponse& response) {
  const int status = response.status;
  if (status == 400 || status == 404 || status == 405 || status == 501) return true;
  return status == 200 && !response.Header("content-type").starts_with(kIndexType);
}

void Append(std::vector<Descriptor>& all, std::vector<Descriptor> more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

RegistryClient::RegistryClient(const Reference& reference, const RegistryAccess& access)
    : reference_(reference), access_(access) {
  static const RegistryTable kNone;
  const RegistryTable& registries = access.registries ? *access.registries : kNone;
  Result<RegistryEndpoint> registry = MakeEndpoint(reference.host, reference.name, &registries, false);
  if (!registry) {
    unusable_ = registry.error();
    return;
  }
  mirror_tags_ = registry->settings.mirror_tags;
  if (Result<void> added = AddMirrors(registries); !added) unusable_ = added.error();
  places_.push_back(std::make_unique<Place>());
  places_.back()->transport = std::make_unique<RegistryTransport>(*std::move(registry), access_);
}

RegistryClient::~RegistryClient() = default;

// A mirror is asked once: waiting for it is worse than asking the next.
Result<void> RegistryClient::AddMirrors(const RegistryTable& registries) {
  const auto settings = registries.find(reference_.host);
  if (settings == registries.end()) return {};
  RegistryAccess access = access_;
  access.timing.tries = 1;
  for (const std::string& text : settings->second.mirrors) {
    const Mirror mirror = TRY_IN("registry " + reference_.host, ParseMirror(text));
    const std::string name = mirror.prefix.empty() ? reference_.name : mirror.prefix + "/" + reference_.name;
    Result<RegistryEndpoint> endpoint = MakeEndpoint(mirror.host, name, &registries, true);
    if (!endpoint) {
      LogWarn("mirror_unusable", {{"registry", reference_.host}, {"error", endpoint.error().message}});
      continue;
    }
    places_.push_back(std::make_unique<Place>());
    places_.back()->transport = std::make_unique<RegistryTransport>(*std::move(endpoint), access);
  }
  return {};
}

// Whether the next place is asked after this one's error.
bool RegistryClient::PassOver(Place& mirror, const Error& error) {
  if (error.code == ErrorCode::kCancelled || &mirror == places_.back().get()) return false;
  if (error.code == ErrorCode::kUnavailable) mirror.down = true;
  LogWarn(
      "mirror_passed_over",
      {{"mirror", mirror.transport->endpoint().repository()}, {"registry", reference_.host}, {"error", error.message}});
  return true;
}

template <typename T>
Result<T> RegistryClient::AskInOrder(bool mirrors, const std::function<Result<T>(RegistryTransport&)>& ask) {
  if (unusable_) return tl::unexpected(*unusable_);
  for (const std::unique_ptr<Place>& place : places_) {
    const bool registry = place == places_.back();
    if (!registry && (!mirrors || place->down)) continue;
    Result<T> answer = ask(*place->transport);
    if (answer || !PassOver(*place, answer.error())) return answer;
  }
  return Fail(ErrorCode::kInternal, "no registry to ask for {}", reference_.repository());
}

Result<Digest> RegistryClient::ResolveTag(const std::string& tag) {
  return AskInOrder<Digest>(mirror_tags_, [&tag](RegistryTransport& place) { return ResolveTagAt(place, tag); });
}

// HEAD first: Docker Hub counts only GETs against its quota.
Result<Digest> RegistryClient::ResolveTagAt(RegistryTransport& place, const std::string& tag) {
  const HttpResponse head = TRY(
      place.Send({.method = "HEAD", .path = "manifests/" + tag, .what = "manifest " + tag, .accept = kManifestAccept}));
  if (head.status == 200) {
    if (const Result<Digest> digest = Digest::Parse(head.Header("docker-content-digest"))) return *digest;
  } else if (head.status != 404 && head.status != 405) {
    return place.Refused(head, "manifest " + tag);
  }
  return TRY(GetManifestBytes(place, tag)).digest;
}

Result<std::optional<ManifestBytes>> RegistryClient::FindManifest(const std::string& tag) {
  Result<ManifestBytes> found = AskInOrder<ManifestBytes>(
      mirror_tags_, [&tag](RegistryTransport& place) { return GetManifestBytes(place, tag); });
  if (found) return *std::move(found);
  if (found.error().code == ErrorCode::kNotFound) return std::nullopt;
  return tl::unexpected(std::move(found).error());
}

// A mirror has credentials of its own, so what it sends is no proof that this tenant may have it: the registry says. A
// mirror that is asked for tags too stands for the registry in this as well.
Result<bool> RegistryClient::MayAskMirrors(const Digest& manifest) {
  if (unusable_ || places_.size() == 1 || mirror_tags_) return true;
  RegistryTransport& registry = *places_.back()->transport;
  const std::string what = "manifest " + manifest.ToString();
  const HttpResponse head = TRY(registry.Send(
      {.method = "HEAD", .path = "manifests/" + manifest.ToString(), .what = what, .accept = kManifestAccept}));
  if (head.status == 200) return true;
  if (head.status == 404 || head.status == 405) return false;  // knows no HEAD, perhaps: its GET will tell
  return registry.Refused(head, what);
}

Result<ManifestBytes> RegistryClient::GetManifest(const Digest& digest) {
  const bool mirrors = TRY(MayAskMirrors(digest));
  return AskInOrder<ManifestBytes>(mirrors, [&digest](RegistryTransport& place) -> Result<ManifestBytes> {
    ManifestBytes manifest = TRY(GetManifestBytes(place, digest.ToString()));
    if (manifest.digest != digest)
      return Fail(ErrorCode::kCorrupt, "registry {} sent a manifest with digest {} for {}", place.endpoint().host,
                  manifest.digest.ToString(), digest.ToString());
    return manifest;
  });
}

Result<ManifestBytes> RegistryClient::GetManifestBytes(RegistryTransport& place, const std::string& tag_or_digest) {
  const std::string what = "manifest " + tag_or_digest;
  HttpResponse response = TRY(place.Send({.path = "manifests/" + tag_or_digest,
                                          .what = what,
                                          .accept = kManifestAccept,
                                          .max_body_bytes = kMaxManifestBytes}));
  if (response.status != 200) return place.Refused(response, what);
  ManifestBytes manifest;
  manifest.content_type = place.WithoutSecrets(response.Header("content-type"));
  manifest.bytes = std::move(response.body);
  manifest.digest = Sha256Of(manifest.bytes);
  return manifest;
}

Result<std::vector<Descriptor>> RegistryClient::Referrers(const Digest& digest, const std::string& artifact_type) {
  // A mirror that has none is no word on what the registry has: it is passed over like one that has not the manifest.
  Result<std::vector<Descriptor>> found = AskInOrder<std::vector<Descriptor>>(
      mirror_tags_, [&](RegistryTransport& place) -> Result<std::vector<Descriptor>> {
        std::vector<Descriptor> some = TRY(ReferrersAt(place, digest, artifact_type));
        if (some.empty()) return Fail(ErrorCode::kNotFound, "nothing refers to {} there", digest.ToString());
        return some;
      });
  if (!found && found.error().code == ErrorCode::kNotFound) return std::vector<Descriptor>{};
  return found;
}

Result<std::vector<Descriptor>> RegistryClient::ReferrersAt(RegistryTransport& place, const Digest& digest,
                                                            const std::string& artifact_type) {
  std::vector<Descriptor> all;
  const RegistryEndpoint& endpoint = place.endpoint();
  const std::string context = fmt::format("registry {}: referrers of {}", endpoint.host, digest.ToString());
  std::string path = "referrers/" + digest.ToString();
  if (!artifact_type.empty()) path += "?artifactType=" + PercentEncode(artifact_type);
  for (int page = 0; page < kMaxReferrerPages; ++page) {
    const HttpResponse response = TRY(place.Send(
        {.path = path, .what = "referrers", .accept = std::string(kIndexType), .max_body_bytes = kMaxManifestBytes}));
    if (page == 0 && HasNoReferrersApi(response)) {
      const Result<ManifestBytes> listed = GetManifestBytes(place, ReferrersTag(digest));
      if (!listed && listed.error().code == ErrorCode::kNotFound) return all;
      if (!listed) return tl::unexpected(listed.error());
      return TRY_IN(context, ParseReferrers(listed->bytes, artifact_type));
    }
    if (response.status != 200) return place.Refused(response, "referrers");
    // The registry says that it has filtered, or leaves it to us.
    const bool filtered = response.Header("oci-filters-applied").find("artifactType") != std::string_view::npos;
    Append(all, TRY_IN(context, ParseReferrers(response.body, filtered ? "" : artifact_type)));
    if (all.size() > kMaxIndexEntries)
      return Fail(ErrorCode::kTooLarge, "{}: more than {} of them", context, kMaxIndexEntries);
    const std::optional<std::string> next = NextLink(response.Header("link"));
    if (!next) return all;
    const Url base = TRY(ParseUrl(path.find("://") == std::string::npos ? endpoint.AddressOf(path) : path));
    const Url url = TRY_IN(context, ResolveUrl(base, *next));
    if (!url.SameOrigin(endpoint.origin))
      return Fail(ErrorCode::kDenied, "{}: the next page is at another host", context);
    path = url.text;
  }
  return Fail(ErrorCode::kTooLarge, "{}: more than {} pages", context, kMaxReferrerPages);
}

Result<void> RegistryClient::GetBlob(const Descriptor& blob, const Sink& sink) {
  if (unusable_) return tl::unexpected(*unusable_);
  BlobTransfer transfer(blob, sink);
  const bool registry_only = IsRegistryOnly(blob.digest);
  for (const std::unique_ptr<Place>& place : places_) {
    const bool registry = place == places_.back();
    if (!registry && (registry_only || place->down)) continue;
    const uint64_t before = transfer.received();
    Result<void> got = transfer.Continue(*place->transport);
    if (!registry && transfer.received() > before) {
      const std::lock_guard lock(mutex_);
      from_mirrors_.insert(blob.digest);
    }
    if (got) break;
    if (transfer.sink_failed() || !PassOver(*place, got.error())) return got;
  }
  TRY_IN(repository(), transfer.Finish());
  return {};
}

bool RegistryClient::IsRegistryOnly(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  return registry_only_.contains(digest);
}

bool RegistryClient::MayHaveBetter(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (!from_mirrors_.contains(digest) || !registry_only_.insert(digest).second) return false;
  LogWarn("mirror_distrusted", {{"registry", reference_.host}, {"blob", digest.ToString()}});
  return true;
}

}  // namespace caisson::image
