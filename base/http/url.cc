// SPDX-License-Identifier: Apache-2.0
#include "base/http/url.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <memory>

#include "base/check.h"
#include "base/encoding.h"

namespace caisson {
namespace {

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, FreeUrl>;

constexpr unsigned kParseFlags = CURLU_DISALLOW_USER;

// A query may be a signature that opens something, and what stands before '@' a password: neither is repeated.
std::string WithoutSecrets(std::string_view text) {
  text = text.substr(0, text.find_first_of("?#"));
  const size_t at = text.rfind('@');
  if (at == std::string_view::npos) return EscapeForLog(text, 200);
  const size_t scheme = text.find("://");
  const std::string start(scheme == std::string_view::npos ? "" : text.substr(0, scheme + 3));
  return EscapeForLog(start + "..." + std::string(text.substr(at)), 200);
}

tl::unexpected<Error> Refuse(const std::string& text, std::string_view why) {
  return Fail(ErrorCode::kInvalid, "address \"{}\": {}", WithoutSecrets(text), why);
}

Result<std::string> Part(CURLU* url, CURLUPart part, const std::string& text, unsigned flags = 0) {
  char* value = nullptr;
  const CURLUcode code = curl_url_get(url, part, &value, flags);
  if (code != CURLUE_OK) return Refuse(text, curl_url_strerror(code));
  std::string copy = value;
  curl_free(value);
  return copy;
}

Result<Url> TakeApart(CURLU* handle, const std::string& text) {
  Url url;
  url.scheme = TRY(Part(handle, CURLUPART_SCHEME, text));
  if (url.scheme != "http" && url.scheme != "https") return Refuse(text, "neither http nor https");
  url.host = TRY(Part(handle, CURLUPART_HOST, text));
  if (url.host.starts_with('[')) url.host = url.host.substr(1, url.host.size() - 2);
  std::transform(url.host.begin(), url.host.end(), url.host.begin(), [](unsigned char c) { return std::tolower(c); });
  url.port = std::stoi(TRY(Part(handle, CURLUPART_PORT, text, CURLU_DEFAULT_PORT)));
  curl_url_set(handle, CURLUPART_FRAGMENT, nullptr, 0);
  url.text = TRY(Part(handle, CURLUPART_URL, text));
  return url;
}

}  // namespace

Result<Url> ParseUrl(const std::string& text) {
  const UrlHandle handle(curl_url());
  CHECK(handle);
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, text.c_str(), kParseFlags);
  if (code != CURLUE_OK) return Refuse(text, curl_url_strerror(code));
  return TakeApart(handle.get(), text);
}

Result<Url> ResolveUrl(const Url& base, const std::string& reference) {
  const UrlHandle handle(curl_url());
  CHECK(handle);
  CHECK(curl_url_set(handle.get(), CURLUPART_URL, base.text.c_str(), 0) == CURLUE_OK);
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, reference.c_str(), kParseFlags);
  if (code != CURLUE_OK) return Refuse(reference, curl_url_strerror(code));
  return TakeApart(handle.get(), reference);
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kUnreserved = "-._~";
  std::string encoded;
  for (const unsigned char c : text) {
    if (std::isalnum(c) || kUnreserved.find(static_cast<char>(c)) != std::string_view::npos) {
      encoded += static_cast<char>(c);
    } else {
      encoded += fmt::format("%{:02X}", c);
    }
  }
  return encoded;
}

}  // namespace caisson
