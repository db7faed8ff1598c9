// SPDX-License-Identifier: Apache-2.0
// Fields: reads the members of one JSON object by a table of names, and collects what is wrong with them as
// FieldErrors: unknown names, wrong types, values out of range, NUL in a string. Lives for one request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/problem.h"
#include "base/json/json.h"

namespace caisson::api {

class FieldErrors {
 public:
  void Add(std::string pointer, std::string detail);
  bool empty() const { return errors_.empty(); }
  bool full() const;  // further ones are not kept: reading on has no use
  std::vector<FieldError> Take() && { return std::move(errors_); }

 private:
  std::vector<FieldError> errors_;  // bounded: a body of a million faults gets the first hundred
};

// "/env" and "A~/B" give "/env/A~0~1B" (RFC 6901).
std::string JsonPointer(std::string_view parent, std::string_view name);

struct StringRule {
  size_t max_bytes;
  bool may_be_empty = false;
  bool printable = false;  // no control characters at all, otherwise no NUL
};

// Each returns the value or adds an error at `pointer`.
std::optional<std::string> ReadString(const Json& json, const std::string& pointer, StringRule rule,
                                      FieldErrors& errors);
std::optional<int64_t> ReadInteger(const Json& json, const std::string& pointer, int64_t least, int64_t greatest,
                                   FieldErrors& errors);
std::optional<double> ReadNumber(const Json& json, const std::string& pointer, double least, double greatest,
                                 FieldErrors& errors);
std::optional<std::vector<std::string>> ReadStrings(const Json& json, const std::string& pointer, StringRule rule,
                                                    FieldErrors& errors);

// A table of the members that an object may have. T is what they are read into.
template <typename T>
struct Field {
  std::string_view name;
  void (*read)(const Json& value, const std::string& pointer, T& target, FieldErrors& errors);
};

template <typename T, size_t kCount>
void ReadObject(const Json& json, const std::string& pointer, const Field<T> (&fields)[kCount], T& target,
                FieldErrors& errors) {
  const Json::Object* object = json.AsObject();
  if (!object) return errors.Add(pointer, "must be an object");
  for (const auto& [name, value] : *object) {
    if (errors.full()) return;
    const Field<T>* found = nullptr;
    for (const Field<T>& field : fields)
      if (field.name == name) found = &field;
    if (found) {
      found->read(value, JsonPointer(pointer, name), target, errors);
    } else {
      std::string known;
      for (const Field<T>& field : fields) known += fmt::format("{}{}", known.empty() ? "" : ", ", field.name);
      errors.Add(JsonPointer(pointer, name), fmt::format("unknown field; known here: {}", known));
    }
  }
}

}  // namespace caisson::api
