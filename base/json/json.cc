// SPDX-License-Identifier: Apache-2.0
#include "base/json/json.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/check.h"
#include "base/encoding.h"

namespace caisson {
namespace {

// Builds a Json from nlohmann's events and refuses what its own tree would swallow: depth and duplicate keys.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Add(Json()); }
  bool boolean(bool value) override { return Add(Json(value)); }
  bool number_integer(number_integer_t value) override { return Add(Json(static_cast<int64_t>(value))); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return Add(Json(static_cast<double>(value)));
    return Add(Json(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return Add(Json(value)); }
  bool string(string_t& value) override { return Add(Json(std::move(value))); }
  bool binary(binary_t&) override { return Refuse("binary value"); }
  bool start_object(size_t) override { return Open(Json::MakeObject()); }
  bool key(string_t& name) override {
    if (!open_.back().keys.insert(name).second) return Refuse("duplicate key \"" + EscapeForLog(name, 64) + "\"");
    open_.back().key = std::move(name);
    return true;
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override { return Open(Json::MakeArray()); }
  bool end_array() override { return Close(); }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    return Refuse(fmt::format("not JSON at byte {}: {}", position, EscapeForLog(Reason(error.what()), 160)));
  }

  Json root;
  std::string refusal;

 private:
  struct Level {
    Json value;
    std::string key;  // of the member to come
    std::unordered_set<std::string> keys;
    Json::Array items;
  };

  // "[json.exception.parse_error.101] parse error at line 1, column 2: what" without the parts that name the library.
  static std::string Reason(std::string text) {
    const size_t colon = text.find(": ");
    return colon == std::string::npos ? text : text.substr(colon + 2);
  }

  bool Refuse(std::string why) {
    if (refusal.empty()) refusal = std::move(why);
    return false;
  }
  bool Add(Json value) {
    if (++values_ > limits_.max_values) return Refuse(fmt::format("more than {} values", limits_.max_values));
    if (open_.empty()) {
      root = std::move(value);
      return true;
    }
    Level& level = open_.back();
    if (level.value.AsObject()) {
      level.value.Set(std::move(level.key), std::move(value));
    } else {
      level.items.push_back(std::move(value));
    }
    return true;
  }
  bool Open(Json value) {
    if (open_.size() >= limits_.max_depth)
      return Refuse(fmt::format("nested deeper than {} levels", limits_.max_depth));
    open_.push_back(Level{std::move(value), {}, {}, {}});
    return true;
  }
  bool Close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    return Add(level.value.AsArray() ? Json(std::move(level.items)) : std::move(level.value));
  }

  const JsonLimits& limits_;
  std::vector<Level> open_;
  size_t values_ = 0;
};

nlohmann::ordered_json ToLibrary(const Json& json) {
  if (const bool* value = json.AsBool()) return *value;
  if (const int64_t* value = json.AsInt()) return *value;
  if (const std::string* value = json.AsString()) return *value;
  if (const Json::Array* items = json.AsArray()) {
    nlohmann::ordered_json array = nlohmann::ordered_json::array();
    for (const Json& item : *items) array.push_back(ToLibrary(item));
    return array;
  }
  if (const Json::Object* members = json.AsObject()) {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    for (const auto& [key, value] : *members) object[key] = ToLibrary(value);
    return object;
  }
  if (json.IsNumber()) return json.NumberOr(0);
  return nullptr;
}

}  // namespace

bool Json::IsNumber() const { return AsInt() || std::holds_alternative<double>(value_); }

double Json::NumberOr(double fallback) const {
  if (const int64_t* integer = AsInt()) return static_cast<double>(*integer);
  if (const double* number = std::get_if<double>(&value_)) return *number;
  return fallback;
}

const Json* Json::Find(std::string_view key) const {
  const Object* object = AsObject();
  if (!object) return nullptr;
  for (const auto& [name, value] : *object)
    if (name == key) return &value;
  return nullptr;
}

std::string Json::StringOr(std::string_view key, std::string_view fallback) const {
  const Json* member = Find(key);
  return member && member->AsString() ? *member->AsString() : std::string(fallback);
}

int64_t Json::IntOr(std::string_view key, int64_t fallback) const {
  const Json* member = Find(key);
  return member && member->AsInt() ? *member->AsInt() : fallback;
}

const Json::Array& Json::ArrayOrEmpty(std::string_view key) const {
  static const Array kEmpty;
  const Json* member = Find(key);
  return member && member->AsArray() ? *member->AsArray() : kEmpty;
}

void Json::Set(std::string key, Json value) {
  if (is_null()) value_ = Object{};
  Object* object = std::get_if<Object>(&value_);
  CHECK(object);
  object->emplace_back(std::move(key), std::move(value));
}

std::string Json::Dump(bool pretty) const {
  return ToLibrary(*this).dump(pretty ? 2 : -1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes)
    return Fail(ErrorCode::kTooLarge, "JSON is larger than {} bytes", limits.max_bytes);
  Builder builder(limits);
  try {
    if (nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) return std::move(builder.root);
  } catch (const nlohmann::json::exception& error) {
    return Fail(ErrorCode::kInvalid, "not JSON: {}", error.what());
  }
  return Fail(ErrorCode::kInvalid, "{}", builder.refusal);
}

}  // namespace caisson
