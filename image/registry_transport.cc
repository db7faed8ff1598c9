// SPDX-License-Identifier: Apache-2.0
#include "image/registry_transport.h"

#include <poll.h>

#include <array>

#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "image/registry_headers.h"

namespace caisson::image {
namespace {

constexpr int kMaxRedirects = 5;

bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Statuses that another try may better.
bool IsBusy(int status) { return status == 429 || status == 500 || status == 502 || status == 503 || status == 504; }

double Random() {
  std::array<uint8_t, 2> bytes;
  FillRandom(bytes);
  return (bytes[0] * 256 + bytes[1]) / 65535.0;
}

// As settings name it: "host", or "host:port" where the port is not the scheme's own.
bool HasEntry(const RegistryTable* table, const Url& url) {
  if (!table) return false;
  const std::string host = url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
  const bool usual_port = url.port == (url.scheme == "https" ? 443 : 80);
  return table->contains(fmt::format("{}:{}", host, url.port)) || (usual_port && table->contains(host));
}

}  // namespace

// How a try ended.
struct RegistryTransport::Tried {
  Result<HttpResponse> response;
  bool worth_another = false;
};

struct RegistryTransport::OneRequest {
  bool challenged = false;   // a 401 was answered with credentials
  bool asked_again = false;  // for another address in place of a signed one that has expired
  bool handed_on = false;    // bytes of the body
};

// A connection of the transport's, taken from the idle ones and given back.
class RegistryTransport::Connection {
 public:
  explicit Connection(RegistryTransport& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (owner_.idle_.empty()) return;
    http_ = std::move(owner_.idle_.back());
    owner_.idle_.pop_back();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(http_));
  }
  HttpClient& http() { return http_; }

 private:
  RegistryTransport& owner_;
  HttpClient http_;
};

RegistryTransport::RegistryTransport(RegistryEndpoint endpoint, const RegistryAccess& access)
    : endpoint_(std::move(endpoint)),
      access_(access),
      auth_(endpoint_, access_,
            [this](HttpRequest request, const Url& url) { return Exchange(std::move(request), url); }) {}

Result<HttpResponse> RegistryTransport::Send(const RegistryRequest& request) {
  OneRequest once;
  RegistryRequest tracked = request;
  if (request.on_body) {
    tracked.on_body = [&](std::string_view piece) {
      once.handed_on = true;
      return request.on_body(piece);
    };
  }
  RetryPlan plan(access_.timing, access_.interactive);
  for (;;) {
    const auto start = access_.clock->Steady();
    Tried tried = Try(tracked, once);
    if (!tried.worth_another || once.handed_on) {
      if (!tried.response) tried.response.error().message = auth_.WithoutSecrets(tried.response.error().message);
      return std::move(tried.response);
    }
    std::optional<std::chrono::seconds> asked;
    if (tried.response) asked = ParseRetryAfter(tried.response->Header("retry-after"), access_.clock->NowMs());
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(access_.clock->Steady() - start);
    const auto wait = plan.NextWait(took, asked, Random());
    if (!wait) {
      Error error = tried.response ? Refused(*tried.response, request.what).value() : tried.response.error();
      error.message = auth_.WithoutSecrets(error.message + plan.Summary());
      return tl::unexpected(std::move(error));
    }
    if (Wait(*wait)) return Fail(ErrorCode::kCancelled, "cancelled");
  }
}

tl::unexpected<Error> RegistryTransport::Refused(const HttpResponse& response, std::string_view what) const {
  return tl::unexpected(ExplainStatus(endpoint_, response, what, auth_.anonymous()));
}

bool RegistryTransport::Wait(std::chrono::milliseconds duration) const {
  constexpr int kLookMs = 100;
  if (access_.wait) return access_.wait(duration);
  const auto cancelled = [this] { return access_.cancelled && access_.cancelled->load(); };
  const auto end = std::chrono::steady_clock::now() + duration;
  while (!cancelled() && std::chrono::steady_clock::now() < end) ::poll(nullptr, 0, kLookMs);
  return cancelled();
}

// Up to an answer that is neither a challenge nor a signed address that has expired.
RegistryTransport::Tried RegistryTransport::Try(const RegistryRequest& request, OneRequest& once) {
  for (;;) {
    Result<std::string> authorization = auth_.Authorization();
    if (!authorization)
      return {tl::unexpected(authorization.error()),
              authorization.error().code == ErrorCode::kUnavailable && auth_.may_repeat()};
    bool from_registry = true;
    Result<HttpResponse> response = Follow(request, *authorization, from_registry);
    if (!response) {
      const bool worth_another = response.error().code == ErrorCode::kUnavailable;
      return {std::move(response), worth_another};
    }
    const int status = response->status;
    if (status == 401 && from_registry && !once.challenged) {
      if (Result<void> answered = auth_.Answer(*response, *authorization); !answered)
        return {tl::unexpected(answered.error()),
                answered.error().code == ErrorCode::kUnavailable && auth_.may_repeat()};
      once.challenged = true;
      continue;
    }
    if ((status == 401 || status == 403) && !from_registry && !once.asked_again) {
      once.asked_again = true;
      continue;
    }
    return {std::move(response), IsBusy(status)};
  }
}

Result<HttpResponse> RegistryTransport::Follow(const RegistryRequest& request, const std::string& authorization,
                                               bool& from_registry) {
  Url url =
      TRY(ParseUrl(request.path.find("://") == std::string::npos ? endpoint_.AddressOf(request.path) : request.path));
  from_registry = true;
  for (int redirects = 0; redirects <= kMaxRedirects; ++redirects) {
    HttpRequest http{.method = request.method, .max_body_bytes = request.max_body_bytes};
    http.headers.emplace_back("Accept", request.accept);
    if (!request.range.empty()) http.headers.emplace_back("Range", request.range);
    // What proves our rights goes to the registry and nobody else, and not to it either once somebody else leads us.
    from_registry = from_registry && url.SameOrigin(endpoint_.origin);
    if (!authorization.empty() && from_registry) http.headers.emplace_back("Authorization", authorization);
    http.on_headers = request.on_headers;
    http.on_body = request.on_body;
    HttpResponse response = TRY(Exchange(std::move(http), url));
    if (!IsRedirect(response.status)) return response;
    url = TRY(RedirectTarget(url, response));
  }
  return Fail(ErrorCode::kInvalid, "registry {} redirects more than {} times", endpoint_.host, kMaxRedirects);
}

Result<Url> RegistryTransport::RedirectTarget(const Url& from, const HttpResponse& response) const {
  const std::string context = fmt::format("registry {}: redirect", endpoint_.host);
  const Url to = TRY_IN(context, ResolveUrl(from, std::string(response.Header("location"))));
  if (from.scheme == "https" && to.scheme == "http")
    return Fail(ErrorCode::kDenied, "{} from https to plain http ({}) is not followed", context,
                EscapeForLog(to.host, 100));
  return to;
}

// One request, one answer, whatever its status.
Result<HttpResponse> RegistryTransport::Exchange(HttpRequest request, const Url& url) {
  const bool itself = url.SameOrigin(endpoint_.origin);
  request.url = url.text;
  request.cancelled = access_.cancelled;
  request.ca_file = endpoint_.settings.ca_file;
  if (itself) {
    request.client_cert = endpoint_.settings.client_cert;
    request.client_key = endpoint_.settings.client_key;
  }
  request.connect_timeout = access_.timing.connect;
  request.stall_timeout = access_.timing.stall;
  request.resolve = access_.resolve;
  request.may_connect = [this, &url](AddressReach reach) { return MayConnect(url, reach); };
  Connection connection(*this);
  Result<HttpResponse> response = connection.http().Perform(request);
  if (!response)
    return tl::unexpected(ExplainFault(endpoint_, url, connection.http().fault(), connection.http().tried(),
                                       std::move(response).error()));
  if (itself) reach_ = response->reach;
  return response;
}

bool RegistryTransport::MayConnect(const Url& url, AddressReach reach) const {
  if (url.SameOrigin(endpoint_.origin)) return endpoint_.MayBeAt(reach);
  return endpoint_.MaySendTo(reach_, reach, HasEntry(access_.registries, url));
}

}  // namespace caisson::image
