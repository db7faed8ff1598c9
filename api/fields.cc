// SPDX-License-Identifier: Apache-2.0
#include "api/fields.h"

#include <algorithm>

namespace caisson::api {
namespace {

constexpr size_t kMaxErrors = 100;
constexpr size_t kMaxPointerBytes = 512;  // a name in a hostile body can be megabytes long

bool HasControlCharacter(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
}

}  // namespace

void FieldErrors::Add(std::string pointer, std::string detail) {
  if (full()) return;
  if (pointer.size() > kMaxPointerBytes) pointer = pointer.substr(0, kMaxPointerBytes) + "...";
  errors_.push_back({.pointer = std::move(pointer), .detail = std::move(detail)});
}

bool FieldErrors::full() const { return errors_.size() >= kMaxErrors; }

std::string JsonPointer(std::string_view parent, std::string_view name) {
  std::string pointer(parent);
  pointer += '/';
  for (const char c : name) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

std::optional<std::string> ReadString(const Json& json, const std::string& pointer, StringRule rule,
                                      FieldErrors& errors) {
  const std::string* text = json.AsString();
  if (!text) {
    errors.Add(pointer, "must be a string");
  } else if (text->find('\0') != std::string::npos) {
    errors.Add(pointer, "must not contain NUL");
  } else if (rule.printable && HasControlCharacter(*text)) {
    errors.Add(pointer, "must not contain control characters");
  } else if (text->empty() && !rule.may_be_empty) {
    errors.Add(pointer, "must not be empty");
  } else if (text->size() > rule.max_bytes) {
    errors.Add(pointer, fmt::format("is longer than {} bytes", rule.max_bytes));
  } else {
    return *text;
  }
  return std::nullopt;
}

std::optional<int64_t> ReadInteger(const Json& json, const std::string& pointer, int64_t least, int64_t greatest,
                                   FieldErrors& errors) {
  const int64_t* value = json.AsInt();
  if (value && *value >= least && *value <= greatest) return *value;
  errors.Add(pointer, fmt::format("must be an integer from {} to {}", least, greatest));
  return std::nullopt;
}

std::optional<double> ReadNumber(const Json& json, const std::string& pointer, double least, double greatest,
                                 FieldErrors& errors) {
  if (json.IsNumber()) {
    const double value = json.NumberOr(0);
    if (value >= least && value <= greatest) return value;  // false for anything that is no number
  }
  errors.Add(pointer, fmt::format("must be a number from {} to {}", least, greatest));
  return std::nullopt;
}

std::optional<std::vector<std::string>> ReadStrings(const Json& json, const std::string& pointer, StringRule rule,
                                                    FieldErrors& errors) {
  const Json::Array* items = json.AsArray();
  if (!items) {
    errors.Add(pointer, "must be an array of strings");
    return std::nullopt;
  }
  std::vector<std::string> strings;
  for (size_t i = 0; i < items->size() && !errors.full(); ++i) {
    std::optional<std::string> text = ReadString((*items)[i], JsonPointer(pointer, std::to_string(i)), rule, errors);
    if (text) strings.push_back(std::move(*text));
  }
  if (strings.size() != items->size()) return std::nullopt;
  return strings;
}

}  // namespace caisson::api
