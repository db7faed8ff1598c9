// SPDX-License-Identifier: Apache-2.0
#include "image/registry_auth.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json/json.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

constexpr std::chrono::seconds kLeastTokenLife{60};  // also where the service says nothing (distribution's token spec)
constexpr std::chrono::seconds kMostTokenLife{86400};
constexpr std::chrono::seconds kRenewBefore{5};  // the request still has to get there
constexpr size_t kMaxTokens = 64;                // of one client; a registry that asks for more scopes is odd

// It goes into a header: nothing that could end it.
bool IsHeaderSafe(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

// Takes out `secret`, and what is left of it where the text was cut off.
void Hide(std::string& text, std::string_view secret) {
  constexpr std::string_view kHidden = "***";  // is looked for no more: a secret may look like it
  constexpr size_t kLeast = 3, kKnownBy = 8;
  if (secret.size() < kLeast) return;  // would be found everywhere, and says nothing
  for (size_t at = 0; (at = text.find(secret.substr(0, kKnownBy), at)) != std::string::npos; at += kHidden.size()) {
    const auto differs =
        std::mismatch(secret.begin(), secret.end(), text.begin() + static_cast<ptrdiff_t>(at), text.end());
    text.replace(at, static_cast<size_t>(differs.first - secret.begin()), kHidden);
  }
}

Result<std::vector<AuthChallenge>> ChallengesOf(const HttpResponse& refusal) {
  std::vector<AuthChallenge> challenges;
  for (const auto& [name, value] : refusal.headers) {
    if (name != "www-authenticate") continue;
    for (AuthChallenge& challenge : TRY(ParseWwwAuthenticate(value))) challenges.push_back(std::move(challenge));
  }
  return challenges;
}

const AuthChallenge* FindScheme(const std::vector<AuthChallenge>& challenges, std::string_view scheme) {
  const auto found = std::find_if(challenges.begin(), challenges.end(),
                                  [scheme](const AuthChallenge& challenge) { return challenge.scheme == scheme; });
  return found == challenges.end() ? nullptr : &*found;
}

std::string FormOf(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
  std::string form;
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    if (!form.empty()) form += '&';
    form += std::string(name) + "=" + PercentEncode(value);
  }
  return form;
}

}  // namespace

RegistryAuth::RegistryAuth(const RegistryEndpoint& endpoint, const RegistryAccess& access, Exchange exchange)
    : endpoint_(endpoint), access_(access), exchange_(std::move(exchange)) {}

Result<std::string> RegistryAuth::Authorization() {
  const std::lock_guard lock(mutex_);
  if (service_) TRY(UseToken(*service_));
  return value_.Expose();
}

Result<void> RegistryAuth::Answer(const HttpResponse& refusal, const std::string& rejected) {
  const std::lock_guard lock(mutex_);
  if (value_.Expose() != rejected) return {};  // another thread has a newer one
  const std::string context = "registry " + endpoint_.host;
  const std::vector<AuthChallenge> challenges = TRY_IN(context, ChallengesOf(refusal));
  TRY_IN(context, LoadCredentials());
  if (const AuthChallenge* bearer = FindScheme(challenges, "bearer")) {
    Service service{std::string(bearer->Parameter("realm")), std::string(bearer->Parameter("service")),
                    std::string(bearer->Parameter("scope"))};
    if (service.scope.empty()) service.scope = "repository:" + endpoint_.name + ":pull";
    tokens_.erase(service);  // was rejected
    TRY(UseToken(service));
    service_ = std::move(service);
    return {};
  }
  if (!FindScheme(challenges, "basic") || credentials_->username.empty())
    return tl::unexpected(ExplainStatus(endpoint_, refusal, "manifest", credentials_->anonymous()));
  service_.reset();
  value_ = Secret(BasicValue());
  return {};
}

bool RegistryAuth::anonymous() const {
  const std::lock_guard lock(mutex_);
  return !credentials_ || credentials_->anonymous();
}

bool RegistryAuth::may_repeat() const {
  const std::lock_guard lock(mutex_);
  return !credentials_ || credentials_->identity_token.empty();
}

std::string RegistryAuth::WithoutSecrets(std::string text) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [service, token] : tokens_) Hide(text, token.value.Expose());
  if (!credentials_) return text;
  Hide(text, credentials_->password.Expose());
  Hide(text, credentials_->identity_token.Expose());
  if (!credentials_->password.empty()) Hide(text, BasicValue().substr(sizeof "Basic"));
  return text;
}

Result<void> RegistryAuth::LoadCredentials() {
  if (credentials_) return {};
  if (!access_.credentials) {
    credentials_.emplace();
  } else {
    credentials_ = TRY(access_.credentials->Find(access_.tenant, endpoint_.repository()));
  }
  return {};
}

Result<void> RegistryAuth::UseToken(const Service& service) {
  const auto known = tokens_.find(service);
  if (known == tokens_.end() || known->second.expires <= access_.clock->Steady()) {
    if (tokens_.size() >= kMaxTokens) tokens_.clear();
    tokens_[service] = TRY(FetchToken(service));
  }
  value_ = Secret("Bearer " + tokens_[service].value.Expose());
  return {};
}

Result<RegistryAuth::Token> RegistryAuth::FetchToken(const Service& service) {
  const std::string context = fmt::format("registry {}: token service", endpoint_.host);
  Url address;
  HttpRequest request = TRY_IN(context, TokenRequest(service, address));
  const HttpResponse response = TRY(exchange_(std::move(request), address));
  if (response.status == 400 || response.status == 401 || response.status == 403)
    return Fail(ErrorCode::kDenied, "{} {} answers {} ({})", context, EscapeForLog(address.host, 100), response.status,
                credentials_->anonymous() ? "asked without credentials" : "it refuses the credentials that are set");
  if (response.status != 200)
    return Fail(response.status == 429 || response.status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalid,
                "{} {} answers {}", context, EscapeForLog(address.host, 100), response.status);
  return TRY_IN(context, ReadToken(response));
}

// GET with the password, or with nothing; an identity token goes into the body of a POST (OAuth2, RFC 6749 section 6).
Result<HttpRequest> RegistryAuth::TokenRequest(const Service& service, Url& address) const {
  address = TRY(TokenAddress(service.realm));
  HttpRequest request{.max_body_bytes = kMaxTokenBytes};
  if (!credentials_->identity_token.empty()) {
    request.method = "POST";
    request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    request.body = FormOf({{"grant_type", "refresh_token"},
                           {"client_id", "caisson"},
                           {"service", service.service},
                           {"scope", service.scope},
                           {"refresh_token", credentials_->identity_token.Expose()}});
  } else {
    const char* joint = address.text.find('?') == std::string::npos ? "?" : "&";
    address = TRY(ParseUrl(address.text + joint + FormOf({{"scope", service.scope}, {"service", service.service}})));
    if (!credentials_->anonymous()) request.headers.emplace_back("Authorization", BasicValue());
  }
  return request;
}

// https, or the host of a registry that is plain HTTP itself: whoever listens there hears the password already.
Result<Url> RegistryAuth::TokenAddress(const std::string& realm) const {
  const Url address = TRY(ParseUrl(realm));
  const bool plain_too = endpoint_.settings.plain_http && address.host == endpoint_.origin.host;
  if (address.scheme != "https" && !plain_too)
    return Fail(ErrorCode::kDenied, "\"{}\" is not https: no credentials and no token go there",
                EscapeForLog(address.host, 100));
  return address;
}

Result<RegistryAuth::Token> RegistryAuth::ReadToken(const HttpResponse& response) const {
  const Json json = TRY(ParseJson(response.body, {.max_bytes = kMaxTokenBytes, .max_depth = kMaxJsonDepth}));
  std::string token = json.StringOr("token", "");
  if (token.empty()) token = json.StringOr("access_token", "");
  if (token.empty() || !IsHeaderSafe(token)) return Fail(ErrorCode::kUnavailable, "its answer has no token");
  const std::chrono::seconds life =
      std::clamp(std::chrono::seconds(std::clamp<int64_t>(json.IntOr("expires_in", 0), 0, kMostTokenLife.count())),
                 kLeastTokenLife, kMostTokenLife);
  return Token{Secret(std::move(token)), access_.clock->Steady() + life - kRenewBefore};
}

std::string RegistryAuth::BasicValue() const {
  return "Basic " + Base64Encode(credentials_->username + ":" + credentials_->password.Expose());
}

}  // namespace caisson::image
