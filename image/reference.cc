// SPDX-License-Identifier: Apache-2.0
#include "image/reference.h"

#include <algorithm>

#include "base/encoding.h"
#include "image/image_store.h"

namespace caisson::image {
namespace {

constexpr size_t kMaxReferenceBytes = 512;   // repository, tag and digest fit
constexpr size_t kMaxRepositoryBytes = 255;  // host and name (distribution's reference grammar)
constexpr size_t kMaxTagBytes = 128;
constexpr std::string_view kDockerHub = "docker.io";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsAlnum(char c) { return IsDigit(c) || IsLower(c) || (c >= 'A' && c <= 'Z'); }

template <typename Predicate>
bool All(std::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

std::string_view CutFront(std::string_view& text, char separator) {
  const std::string_view front = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(front.size() + 1, text.size()));
  return front;
}

bool IsPort(std::string_view text) {
  if (text.empty() || text.size() > 5 || text.front() == '0' || !All(text, IsDigit)) return false;
  const int port = std::stoi(std::string(text));
  return port > 0 && port <= 65535;
}

bool IsHostLabel(std::string_view label) {
  return !label.empty() && IsAlnum(label.front()) && IsAlnum(label.back()) &&
         All(label, [](char c) { return IsAlnum(c) || c == '-'; });
}

bool IsHost(std::string_view host) {
  if (host.starts_with('[')) {  // IPv6
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return false;
    const std::string_view address = host.substr(1, end - 1), rest = host.substr(end + 1);
    return address.size() >= 2 &&
           All(address,
               [](char c) {
                 return IsDigit(c) || c == ':' || c == '.' || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
               }) &&
           (rest.empty() || (rest.front() == ':' && IsPort(rest.substr(1))));
  }
  const size_t colon = host.find(':');
  if (colon != std::string_view::npos && !IsPort(host.substr(colon + 1))) return false;
  std::string_view labels = host.substr(0, colon);
  if (labels.empty() || labels.back() == '.') return false;
  while (!labels.empty())
    if (!IsHostLabel(CutFront(labels, '.'))) return false;
  return true;
}

// The first component is a host when it cannot be part of a name on Docker Hub.
bool LooksLikeHost(std::string_view component) {
  return component == "localhost" || component.find_first_of(".:") != std::string_view::npos ||
         std::any_of(component.begin(), component.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Runs of [a-z0-9] joined by ".", "_", "__" or any number of "-".
bool IsNameComponent(std::string_view text) {
  const auto is_word = [](char c) { return IsDigit(c) || IsLower(c); };
  while (!text.empty()) {
    const size_t word = std::find_if_not(text.begin(), text.end(), is_word) - text.begin();
    if (word == 0) return false;
    text.remove_prefix(word);
    if (text.empty()) return true;
    const size_t separator = std::find_if(text.begin(), text.end(), is_word) - text.begin();
    const std::string_view joint = text.substr(0, separator);
    if (joint != "." && joint != "_" && joint != "__" && !All(joint, [](char c) { return c == '-'; })) return false;
    text.remove_prefix(separator);
  }
  return false;
}

bool IsTag(std::string_view tag) {
  return !tag.empty() && tag.size() <= kMaxTagBytes && tag.front() != '.' && tag.front() != '-' &&
         All(tag, [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  return lower;
}

// Takes ":tag" and "@digest" off the end of `text`.
Result<void> CutSuffixes(std::string_view& text, Reference& reference) {
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    reference.digest = TRY(Digest::Parse(text.substr(at + 1)));
    text = text.substr(0, at);
  }
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos && text.find('/', colon) == std::string_view::npos) {
    reference.tag = text.substr(colon + 1);
    text = text.substr(0, colon);
    if (!IsTag(reference.tag))
      return Fail(ErrorCode::kInvalid, "\"{}\" is not a tag: letters, digits, \"_\", \".\" and \"-\", at most {}",
                  EscapeForLog(reference.tag, 64), kMaxTagBytes);
  }
  if (reference.tag.empty() && !reference.digest) reference.tag = "latest";
  return {};
}

Result<void> SetRepository(std::string_view text, Reference& reference) {
  std::string_view name = text;
  const size_t slash = text.find('/');
  if (slash != std::string_view::npos && LooksLikeHost(text.substr(0, slash))) {
    reference.host = ToLower(text.substr(0, slash));
    name = text.substr(slash + 1);
    if (!IsHost(reference.host))
      return Fail(ErrorCode::kInvalid, "\"{}\" is not a registry's host", EscapeForLog(reference.host, 100));
    // One spelling for one registry: lists of allowed ones, settings and credentials go by it.
    constexpr std::string_view kHttpsPort = ":443";
    if (reference.host.ends_with(kHttpsPort)) {
      const std::string bare = reference.host.substr(0, reference.host.size() - kHttpsPort.size());
      if (LooksLikeHost(bare)) reference.host = bare;  // else it would be read as a name on Docker Hub
    }
    if (reference.host == "index.docker.io" || reference.host == "registry-1.docker.io") reference.host = kDockerHub;
  } else {
    reference.host = kDockerHub;
  }
  reference.name = name;
  if (reference.host == kDockerHub && name.find('/') == std::string_view::npos)
    reference.name = "library/" + reference.name;
  if (reference.repository().size() > kMaxRepositoryBytes)
    return Fail(ErrorCode::kInvalid, "the name is longer than {} characters", kMaxRepositoryBytes);
  if (name.empty()) return Fail(ErrorCode::kInvalid, "the name is missing");
  for (std::string_view rest = name;;) {
    const std::string_view component = CutFront(rest, '/');
    if (!IsNameComponent(component))
      return Fail(ErrorCode::kInvalid,
                  "\"{}\" is not a name: lower-case letters and digits, joined by \".\", \"_\", \"__\" or \"-\"",
                  EscapeForLog(component, 64));
    if (rest.empty()) break;
  }
  if (name.back() == '/') return Fail(ErrorCode::kInvalid, "the name ends with a slash");
  return {};
}

}  // namespace

std::string Reference::ToString() const {
  std::string text = repository();
  if (!tag.empty()) text += ":" + tag;
  if (digest) text += "@" + digest->ToString();
  return text;
}

Result<Reference> ParseReference(std::string_view text) {
  const std::string context = fmt::format("image reference \"{}\"", EscapeForLog(text, 120));
  if (text.empty()) return Fail(ErrorCode::kInvalid, "image reference is empty");
  if (text.size() > kMaxReferenceBytes)
    return Fail(ErrorCode::kInvalid, "{} is longer than {} bytes", context, kMaxReferenceBytes);
  Reference reference;
  std::string_view rest = text;
  TRY_IN(context, CutSuffixes(rest, reference));
  TRY_IN(context, SetRepository(rest, reference));
  return reference;
}

std::string EndpointOf(const std::string& host) { return host == kDockerHub ? "registry-1.docker.io" : host; }

Result<std::string> NormaliseReference(std::string_view text) { return TRY(ParseReference(text)).ToString(); }

}  // namespace caisson::image
