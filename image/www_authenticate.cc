// SPDX-License-Identifier: Apache-2.0
#include "image/www_authenticate.h"

#include <algorithm>
#include <cctype>

namespace caisson::image {
namespace {

constexpr size_t kMaxHeaderBytes = 8 << 10;
constexpr size_t kMaxChallenges = 16;
constexpr size_t kMaxParameters = 32;

bool IsTokenByte(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != std::string_view::npos;
}

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<AuthChallenge>> Parse() {
    std::vector<AuthChallenge> challenges;
    SkipListMarks();
    while (!text_.empty()) {
      if (challenges.size() == kMaxChallenges) return Malformed();
      AuthChallenge challenge;
      challenge.scheme = ToLower(Token());
      if (challenge.scheme.empty()) return Malformed();
      SkipSpaces();
      TRY(ParseParameters(challenge));
      challenges.push_back(std::move(challenge));
      SkipListMarks();
    }
    return challenges;
  }

 private:
  static tl::unexpected<Error> Malformed() { return Fail(ErrorCode::kInvalid, "malformed WWW-Authenticate header"); }

  void SkipSpaces() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t')) text_.remove_prefix(1);
  }
  // Commas and blanks between elements; empty elements are allowed.
  void SkipListMarks() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t' || text_[0] == ',')) text_.remove_prefix(1);
  }
  std::string_view Token() {
    size_t size = 0;
    while (size < text_.size() && IsTokenByte(text_[size])) ++size;
    const std::string_view token = text_.substr(0, size);
    text_.remove_prefix(size);
    return token;
  }

  // Whether a parameter comes ("name = value"), not the next challenge's scheme or a token68 ("YWJj=="): all begin with
  // a token.
  bool AtParameter() const {
    size_t i = 0;
    while (i < text_.size() && IsTokenByte(text_[i])) ++i;
    if (i == 0) return false;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
    if (i == text_.size() || text_[i] != '=') return false;
    do ++i;
    while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t'));
    return i < text_.size() && text_[i] != '=' && text_[i] != ',';
  }

  Result<void> ParseParameters(AuthChallenge& challenge) {
    while (AtParameter()) {
      if (challenge.parameters.size() == kMaxParameters) return Malformed();
      std::string name = ToLower(Token());
      SkipSpaces();
      text_.remove_prefix(1);  // '='
      SkipSpaces();
      std::string value = TRY(ParseValue());
      challenge.parameters.emplace_back(std::move(name), std::move(value));
      SkipSpaces();
      if (!text_.empty() && text_[0] != ',') return Malformed();
      SkipListMarks();
    }
    // token68 ("Negotiate abc=="): of no use to us, skipped up to the next comma.
    if (challenge.parameters.empty())
      while (!text_.empty() && text_[0] != ',') text_.remove_prefix(1);
    return {};
  }

  Result<std::string> ParseValue() {
    if (text_.empty() || text_[0] != '"') return std::string(Token());
    std::string value;
    for (size_t i = 1; i < text_.size(); ++i) {
      if (text_[i] == '"') {
        text_.remove_prefix(i + 1);
        return value;
      }
      if (text_[i] == '\\' && ++i == text_.size()) break;
      value += text_[i];
    }
    return Malformed();
  }

  std::string_view text_;
};

}  // namespace

std::string_view AuthChallenge::Parameter(std::string_view name) const {
  for (const auto& [key, value] : parameters)
    if (key == name) return value;
  return {};
}

Result<std::vector<AuthChallenge>> ParseWwwAuthenticate(std::string_view header) {
  if (header.size() > kMaxHeaderBytes)
    return Fail(ErrorCode::kInvalid, "WWW-Authenticate header of {} bytes", header.size());
  return Parser(header).Parse();
}

}  // namespace caisson::image
