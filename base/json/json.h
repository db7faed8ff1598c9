// SPDX-License-Identifier: Apache-2.0
// Json: a JSON value (RFC 8259), and the one strict parser for bytes that others wrote: depth and size are bounded,
// duplicate keys and broken UTF-8 refused, numbers kept as 64-bit integers where they are such. Parsing is
// nlohmann/json behind this face. Plain value; objects keep the order of insertion.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace caisson {

class Json {
 public:
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;  // null
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(unsigned value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(static_cast<int64_t>(value)) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  // Borrowed views of the value, nullptr where it is of another type.
  const bool* AsBool() const { return std::get_if<bool>(&value_); }
  const int64_t* AsInt() const { return std::get_if<int64_t>(&value_); }
  const std::string* AsString() const { return std::get_if<std::string>(&value_); }
  const Array* AsArray() const { return std::get_if<Array>(&value_); }
  const Object* AsObject() const { return std::get_if<Object>(&value_); }
  // An integer counts as a number too.
  bool IsNumber() const;
  double NumberOr(double fallback) const;

  // A member of an object, nullptr where there is none or this is no object.
  const Json* Find(std::string_view key) const;
  // Text, integer or array of a member; the fallback where it is missing or of another type.
  std::string StringOr(std::string_view key, std::string_view fallback) const;
  int64_t IntOr(std::string_view key, int64_t fallback) const;
  const Array& ArrayOrEmpty(std::string_view key) const;

  // Appends a member (this must be an object or null).
  void Set(std::string key, Json value);

  std::string Dump(bool pretty = false) const;  // strings must be UTF-8; broken bytes become U+FFFD

  static Json MakeObject() { return Json(Object{}); }
  static Json MakeArray() { return Json(Array{}); }

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> value_;
};

struct JsonLimits {
  size_t max_bytes = 4 << 20;
  size_t max_depth = 32;
  size_t max_values = 1'000'000;  // a value takes 40 bytes here and may take 2 of the text
};

// kTooLarge over max_bytes; kInvalid with the reason and the byte offset otherwise.
Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

}  // namespace caisson
