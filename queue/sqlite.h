// SPDX-License-Identifier: Apache-2.0
// SQLite behind our own words: a connection with cached statements, values bound by position, errors as Result. Only
// sqlite.cc sees the library. A Database and its queries belong to one thread at a time.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace caisson::queue {

struct Blob {
  std::string_view bytes;  // not copied: must live until the query has ended
};

// A value to bind. Text is copied when it is bound.
class Value {
 public:
  Value(std::nullopt_t) {}
  Value(int64_t value) : value_(value) {}
  Value(int value) : value_(int64_t{value}) {}
  Value(uint32_t value) : value_(int64_t{value}) {}
  Value(uint64_t value) : value_(static_cast<int64_t>(value)) {}
  Value(bool value) : value_(int64_t{value}) {}
  Value(double value) : value_(value) {}
  Value(std::string_view value) : value_(value) {}
  Value(const std::string& value) : value_(std::string_view(value)) {}
  Value(Blob value) : value_(value) {}
  template <typename T>
  Value(const std::optional<T>& value) {
    if (value) *this = Value(*value);
  }

 private:
  friend class Database;
  std::variant<std::monostate, int64_t, double, std::string_view, Blob> value_;
};

class Database;

// One use of a statement: rows are read between calls of Next(). Ends (reset, bindings cleared) when destroyed.
class Query {
 public:
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;
  ~Query();

  Result<bool> Next();  // is there a row?
  Result<int> Run();    // to the end; the number of changed rows

  // Columns of the current row, from 0.
  bool IsNull(int column) const;
  int64_t Int(int column) const;
  double Real(int column) const;
  std::string Text(int column) const;  // also for blobs
  std::optional<int64_t> OptionalInt(int column) const;
  std::optional<double> OptionalReal(int column) const;

 private:
  friend class Database;
  Query(Database* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}

  Database* database_;
  sqlite3_stmt* statement_;
};

class Database {
 public:
  // Opens (and creates, 0600) the file, and sets what every connection of ours wants: WAL, synchronous=FULL, foreign
  // keys, a cache of `cache_kib`.
  static Result<std::unique_ptr<Database>> Open(const std::string& path, int cache_kib);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // Several statements without values.
  Result<void> Execute(const char* sql);
  // Prepares (once) and binds. A statement has one use at a time.
  Result<Query> Ask(std::string_view sql, std::initializer_list<Value> values = {});
  Result<Query> Ask(std::string_view sql, const std::vector<Value>& values);

  bool in_transaction() const;
  int64_t last_insert_rowid() const;
  int64_t total_changes() const;  // rows changed since the start
  // Statements that failed since the start: tells "the database failed" from "the caller was refused".
  uint64_t failures() const { return failures_; }

 private:
  friend class Query;
  explicit Database(std::string path) : path_(std::move(path)) {}
  Result<sqlite3_stmt*> Prepare(std::string_view sql);
  Result<Query> Bind(std::string_view sql, const Value* values, size_t count);
  tl::unexpected<Error> LastError(std::string_view attempted);

  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::string path_;
  sqlite3* handle_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*, TextHash, std::equal_to<>> statements_;
  uint64_t failures_ = 0;
};

}  // namespace caisson::queue
