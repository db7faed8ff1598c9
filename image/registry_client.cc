// SPDX-License-Identifier: Apache-2.0
#include "image/registry_client.h"

#include <poll.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "base/json/json.h"
#include "image/layer/limits.h"
#include "image/www_authenticate.h"

namespace caisson::image {
namespace {

constexpr int kMaxRedirects = 5;
constexpr int kMaxBusyRetries = 3;      // of one request, on 429 and 503
constexpr int kMaxBusyWaitSeconds = 5;  // longer waits are the queue's: a job slot is held meanwhile
constexpr int kMaxBlobResumes = 5;      // of one blob, each after further bytes came
constexpr int kResumeWaitMs = 500;
constexpr size_t kMaxErrorBodyBytes = 1 << 20;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Credentials go into a header: nothing that could end it.
bool IsHeaderSafe(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Seconds that a busy registry asks us to wait; a date counts as long.
int RetryAfterSeconds(const HttpResponse& response) {
  const std::string_view header = response.Header("retry-after");
  if (header.empty()) return 1;
  const std::optional<uint64_t> seconds = ParseNumber(header);
  return seconds && *seconds <= kMaxBusyWaitSeconds ? static_cast<int>(*seconds) : kMaxBusyWaitSeconds + 1;
}

// Where a 206 answer begins: "bytes 100-199/200" -> 100.
std::optional<uint64_t> RangeStart(std::string_view content_range) {
  constexpr std::string_view kUnit = "bytes ";
  if (!content_range.starts_with(kUnit)) return std::nullopt;
  content_range.remove_prefix(kUnit.size());
  return ParseNumber(content_range.substr(0, content_range.find('-')));
}

}  // namespace

struct RegistryClient::Request {
  std::string method = "GET";
  std::string address;
  std::string accept;
  std::string range;
  size_t max_body_bytes = kMaxErrorBodyBytes;
  std::function<Result<void>(const HttpResponse&)> on_headers = {};
  std::function<Result<void>(std::string_view)> on_body = {};
};

struct RegistryClient::Answer {
  HttpResponse response;
  bool from_registry = true;  // false: from where it redirected us
};

struct RegistryClient::BlobTransfer {
  const Descriptor& blob;
  const Sink& sink;
  Sha256 sha256;
  uint64_t received = 0;  // and handed on
  uint64_t to_skip = 0;   // of an answer that begins again at the start
};

// A connection of the client's, taken from the idle ones and given back.
class RegistryClient::Connection {
 public:
  explicit Connection(RegistryClient& client) : client_(client) {
    const std::lock_guard lock(client_.mutex_);
    if (client_.idle_.empty()) return;
    http_ = std::move(client_.idle_.back());
    client_.idle_.pop_back();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    const std::lock_guard lock(client_.mutex_);
    client_.idle_.push_back(std::move(http_));
  }
  HttpClient& operator*() { return http_; }

 private:
  RegistryClient& client_;
  HttpClient http_;
};

namespace {
RegistrySettings SettingsOf(const RegistryTable* table, const std::string& host) {
  const auto found = table ? table->find(host) : RegistryTable::const_iterator{};
  return table && found != table->end() ? found->second : RegistrySettings{};
}
}  // namespace

RegistryClient::RegistryClient(const Reference& reference, const RegistryAccess& access)
    : reference_(reference),
      settings_(SettingsOf(access.registries, reference.host)),
      origin_((settings_.plain_http ? "http://" : "https://") + EndpointOf(reference.host)),
      cancelled_(access.cancelled) {
  if (!access.credentials) return;
  if (Result<RegistryCredentials> found = access.credentials->Find(access.tenant, reference.repository()))
    credentials_ = *std::move(found);
}

Result<Digest> RegistryClient::ResolveTag(const std::string& tag) {
  // HEAD first: Docker Hub counts only GETs against its quota.
  const HttpResponse head =
      TRY(Send({.method = "HEAD", .address = AddressOf("manifests", tag), .accept = kManifestAccept}));
  if (head.status == 200) {
    if (const Result<Digest> digest = Digest::Parse(head.Header("docker-content-digest"))) return *digest;
  } else if (head.status != 404 && head.status != 405) {
    return FailedStatus(head, "manifest");
  }
  return TRY(GetManifestBytes(tag)).digest;
}

Result<ManifestBytes> RegistryClient::GetManifest(const Digest& digest) {
  ManifestBytes manifest = TRY(GetManifestBytes(digest.ToString()));
  if (manifest.digest != digest)
    return Fail(ErrorCode::kCorrupt, "registry {} sent a manifest with digest {} for {}", reference_.host,
                manifest.digest.ToString(), digest.ToString());
  return manifest;
}

Result<ManifestBytes> RegistryClient::GetManifestBytes(const std::string& tag_or_digest) {
  HttpResponse response = TRY(Send({.address = AddressOf("manifests", tag_or_digest),
                                    .accept = kManifestAccept,
                                    .max_body_bytes = kMaxManifestBytes}));
  if (response.status != 200) return FailedStatus(response, "manifest");
  ManifestBytes manifest;
  manifest.content_type = response.Header("content-type");
  manifest.bytes = std::move(response.body);
  manifest.digest = Sha256Of(manifest.bytes);
  return manifest;
}

Result<void> RegistryClient::GetBlob(const Descriptor& blob, const Sink& sink) {
  BlobTransfer transfer{blob, sink, {}};
  for (int resumes = 0;; ++resumes) {
    const uint64_t before = transfer.received;
    Result<void> done = ContinueBlob(transfer);
    if (done) break;
    const bool got_further = transfer.received > before;
    if (done.error().code != ErrorCode::kUnavailable || !got_further || resumes == kMaxBlobResumes) return done;
    if (WaitOrCancelled(kResumeWaitMs)) return Fail(ErrorCode::kCancelled, "cancelled");
  }
  if (transfer.received != blob.size)
    return Fail(ErrorCode::kCorrupt, "blob {} of {} has {} bytes, its manifest says {}", blob.digest.ToString(),
                reference_.repository(), transfer.received, blob.size);
  if (const Digest digest = std::move(transfer.sha256).Finish(); digest != blob.digest)
    return Fail(ErrorCode::kCorrupt, "blob {} of {} has the digest {}: the registry sent something else",
                blob.digest.ToString(), reference_.repository(), digest.ToString());
  return {};
}

// One answer, from the first byte that is missing on.
Result<void> RegistryClient::ContinueBlob(BlobTransfer& transfer) {
  Request request{.address = AddressOf("blobs", transfer.blob.digest.ToString()), .accept = "*/*"};
  if (transfer.received > 0) request.range = fmt::format("bytes={}-", transfer.received);
  transfer.to_skip = 0;
  request.on_headers = [&transfer](const HttpResponse& response) -> Result<void> {
    if (response.status != 206) {
      transfer.to_skip = transfer.received;  // it does not know ranges
    } else if (RangeStart(response.Header("content-range")) != transfer.received) {
      return Fail(ErrorCode::kCorrupt, "the registry sent another part of the blob than was asked for");
    }
    return {};
  };
  request.on_body = [&transfer, this](std::string_view piece) -> Result<void> {
    const size_t skipped = static_cast<size_t>(std::min<uint64_t>(transfer.to_skip, piece.size()));
    transfer.to_skip -= skipped;
    piece.remove_prefix(skipped);
    if (piece.size() > transfer.blob.size - transfer.received)
      return Fail(ErrorCode::kCorrupt, "blob {} of {} has more than the {} bytes that its manifest says",
                  transfer.blob.digest.ToString(), reference_.repository(), transfer.blob.size);
    transfer.sha256.Update(piece);
    TRY(transfer.sink(piece));
    transfer.received += piece.size();
    return {};
  };
  const HttpResponse response = TRY(Send(request));
  if (response.status != 200 && response.status != 206)
    return FailedStatus(response, "blob " + transfer.blob.digest.ToString());
  return {};
}

Result<HttpResponse> RegistryClient::Send(const Request& request) {
  bool authenticated = false, asked_again = false;
  for (int busy = 0;;) {
    const std::string authorization = CurrentAuthorization();
    Answer answer = TRY(SendOnce(request, authorization));
    const int status = answer.response.status;
    if (status == 401 && answer.from_registry && !authenticated) {
      authenticated = true;
      TRY(Authenticate(answer.response, authorization));
      continue;
    }
    if ((status == 401 || status == 403) && !answer.from_registry && !asked_again) {
      asked_again = true;  // a signed address that has expired: the registry gives a new one
      continue;
    }
    if ((status == 429 || status == 503) && busy < kMaxBusyRetries &&
        RetryAfterSeconds(answer.response) <= kMaxBusyWaitSeconds) {
      ++busy;
      if (WaitOrCancelled(RetryAfterSeconds(answer.response) * 1000)) return Fail(ErrorCode::kCancelled, "cancelled");
      continue;
    }
    return std::move(answer.response);
  }
}

Result<RegistryClient::Answer> RegistryClient::SendOnce(const Request& request, const std::string& authorization) {
  const Url start = TRY(ParseUrl(request.address));
  Url url = start;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    HttpRequest http{
        .method = request.method, .url = url.text, .cancelled = cancelled_, .max_body_bytes = request.max_body_bytes};
    http.headers.emplace_back("Accept", request.accept);
    if (!request.range.empty()) http.headers.emplace_back("Range", request.range);
    // What proves our rights goes to the registry and nobody else, wherever it sends us.
    if (!authorization.empty() && url.SameOrigin(start)) http.headers.emplace_back("Authorization", authorization);
    http.ca_file = settings_.ca_file;
    http.on_headers = request.on_headers;
    http.on_body = request.on_body;
    Connection connection(*this);
    Result<HttpResponse> response = (*connection).Perform(http);
    if (!response) return tl::unexpected(ExplainTransport(std::move(response).error(), url));
    if (!IsRedirect(response->status)) return Answer{std::move(*response), url.SameOrigin(start)};
    url = TRY(FollowRedirect(url, *response));
  }
  return Fail(ErrorCode::kUnavailable, "registry {} redirects more than {} times", reference_.host, kMaxRedirects);
}

Result<Url> RegistryClient::FollowRedirect(const Url& from, const HttpResponse& response) const {
  const std::string context = fmt::format("registry {}: redirect", reference_.host);
  const Url to = TRY_IN(context, ResolveUrl(from, std::string(response.Header("location"))));
  if (from.scheme == "https" && to.scheme == "http")
    return Fail(ErrorCode::kDenied, "{} from https to plain http ({}) is not followed", context,
                EscapeForLog(to.host, 100));
  if (IsLocalHost(to.host) && !IsLocalHost(TRY(ParseUrl(origin_)).host))
    return Fail(ErrorCode::kDenied, "{} to this machine ({}) is not followed", context, EscapeForLog(to.host, 100));
  return to;
}

Result<void> RegistryClient::Authenticate(const HttpResponse& response, const std::string& rejected) {
  {
    const std::lock_guard lock(mutex_);
    if (authorization_.Expose() != rejected) return {};  // another thread has a newer one
  }
  std::vector<AuthChallenge> challenges;
  for (const auto& [name, value] : response.headers) {
    if (name != "www-authenticate") continue;
    for (AuthChallenge& challenge : TRY_IN("registry " + reference_.host, ParseWwwAuthenticate(value)))
      challenges.push_back(std::move(challenge));
  }
  const auto find = [&challenges](std::string_view scheme) {
    return std::find_if(challenges.begin(), challenges.end(),
                        [scheme](const AuthChallenge& challenge) { return challenge.scheme == scheme; });
  };
  std::string authorization;
  if (const auto bearer = find("bearer"); bearer != challenges.end()) {
    authorization = "Bearer " + TRY(FetchToken(bearer->Parameter("realm"), bearer->Parameter("service"),
                                               bearer->Parameter("scope")));
  } else if (find("basic") != challenges.end() && !credentials_.anonymous()) {
    authorization = "Basic " + Base64Encode(credentials_.username + ":" + credentials_.password.Expose());
  } else {
    return FailedStatus(response, "manifest");
  }
  const std::lock_guard lock(mutex_);
  authorization_ = Secret(std::move(authorization));
  return {};
}

Result<Url> RegistryClient::TokenAddress(std::string_view realm, std::string_view service,
                                         std::string_view scope) const {
  const std::string context = fmt::format("registry {}: token service", reference_.host);
  const Url registry = TRY(ParseUrl(origin_));
  const Url address = TRY_IN(context, ParseUrl(std::string(realm)));
  if (address.scheme != "https" && !(settings_.plain_http && address.SameOrigin(registry)) &&
      !(settings_.plain_http && address.host == registry.host))
    return Fail(ErrorCode::kDenied, "{} \"{}\" is not https", context, EscapeForLog(realm, 120));
  if (IsLocalHost(address.host) && !IsLocalHost(registry.host))
    return Fail(ErrorCode::kDenied, "{} \"{}\" is on this machine", context, EscapeForLog(realm, 120));
  std::string query =
      "scope=" + PercentEncode(scope.empty() ? "repository:" + reference_.name + ":pull" : std::string(scope));
  if (!service.empty()) query += "&service=" + PercentEncode(service);
  return ParseUrl(address.text + (address.text.find('?') == std::string::npos ? "?" : "&") + query);
}

Result<std::string> RegistryClient::FetchToken(std::string_view realm, std::string_view service,
                                               std::string_view scope) {
  const Url address = TRY(TokenAddress(realm, service, scope));
  HttpRequest request{.url = address.text, .cancelled = cancelled_, .max_body_bytes = kMaxTokenBytes};
  request.ca_file = settings_.ca_file;
  if (!credentials_.anonymous())
    request.headers.emplace_back("Authorization",
                                 "Basic " + Base64Encode(credentials_.username + ":" + credentials_.password.Expose()));
  Connection connection(*this);
  Result<HttpResponse> response = (*connection).Perform(request);
  if (!response) return tl::unexpected(ExplainTransport(std::move(response).error(), address));
  if (response->status != 200) return FailedStatus(*response, "token");
  const Json json = TRY_IN(fmt::format("registry {}: token", reference_.host),
                           ParseJson(response->body, {.max_bytes = kMaxTokenBytes, .max_depth = kMaxJsonDepth}));
  std::string token = json.StringOr("token", "");
  if (token.empty()) token = json.StringOr("access_token", "");
  if (token.empty() || !IsHeaderSafe(token))
    return Fail(ErrorCode::kUnavailable, "registry {}: the token service gave no token", reference_.host);
  return token;
}

tl::unexpected<Error> RegistryClient::FailedStatus(const HttpResponse& response, std::string_view what) const {
  const std::string repository = reference_.repository();
  switch (response.status) {
    case 404:
      return Fail(ErrorCode::kNotFound, "registry {} has no {} for {}: check the name and the tag", reference_.host,
                  what, reference_.ToString());
    case 401:
    case 403:
      return Fail(ErrorCode::kDenied, "registry {} refuses {}: it does not exist there or is private ({})",
                  reference_.host, repository,
                  credentials_.anonymous() ? "pulled without credentials" : "with the credentials that are set");
    case 429:
      return Fail(ErrorCode::kUnavailable, "registry {} is asked too often (429), pulling {} has to wait",
                  reference_.host, repository);
    case 400:
      if (settings_.plain_http)
        return Fail(
            ErrorCode::kInvalid,
            "registry {} answers 400 to plain HTTP: if it speaks TLS, remove plain_http from [registries.\"{}\"]",
            reference_.host, reference_.host);
      [[fallthrough]];
    default: break;
  }
  const bool temporary = response.status >= 500 || response.status == 408;
  return Fail(temporary ? ErrorCode::kUnavailable : ErrorCode::kInvalid,
              "registry {} answers {} to the request for the {} of {}", reference_.host, response.status, what,
              repository);
}

// In words that say what to do; what does not mend itself is not kUnavailable.
Error RegistryClient::ExplainTransport(Error error, const Url& url) const {
  if (error.code != ErrorCode::kUnavailable) return error;
  const auto mentions = [&error](std::string_view words) { return error.message.find(words) != std::string::npos; };
  const bool registry_itself = url.text.starts_with(origin_);
  const std::string where = fmt::format("{}{}", registry_itself ? "registry " : "",
                                        url.text.starts_with(origin_) ? reference_.host : url.host);
  if (url.scheme == "https" &&
      (mentions("wrong version number") || mentions("packet length too long") || mentions("record layer failure")))
    return {ErrorCode::kInvalid,
            fmt::format("{} does not speak TLS; if it speaks plain HTTP, set [registries.\"{}\"] plain_http = true",
                        where, reference_.host),
            0};
  if (url.scheme == "https" && mentions("certificate"))
    return {ErrorCode::kInvalid,
            fmt::format("{}: {}; for an authority of your own set [registries.\"{}\"] ca_file", where, error.message,
                        reference_.host),
            0};
  if (url.scheme == "http" && mentions("HTTP/0.9"))
    return {ErrorCode::kInvalid,
            fmt::format("{} does not speak plain HTTP; if it speaks TLS, remove plain_http from [registries.\"{}\"]",
                        where, reference_.host),
            0};
  return {ErrorCode::kUnavailable, fmt::format("{} cannot be reached: {}", where, error.message), error.sys_errno};
}

std::string RegistryClient::AddressOf(std::string_view kind, std::string_view what) const {
  return fmt::format("{}/v2/{}/{}/{}", origin_, reference_.name, kind, what);
}

std::string RegistryClient::CurrentAuthorization() {
  const std::lock_guard lock(mutex_);
  return authorization_.Expose();
}

bool RegistryClient::WaitOrCancelled(int milliseconds) const {
  constexpr int kLookMs = 100;
  for (int waited = 0; waited < milliseconds; waited += kLookMs) {
    if (cancelled_ && cancelled_->load()) return true;
    ::poll(nullptr, 0, kLookMs);
  }
  return cancelled_ && cancelled_->load();
}

}  // namespace caisson::image
