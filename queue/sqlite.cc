// SPDX-License-Identifier: Apache-2.0
#include "queue/sqlite.h"

#include <fcntl.h>
#include <sqlite3.h>

#include "base/check.h"
#include "base/io.h"

namespace caisson::queue {
namespace {

// FULL: a commit is on disk before anybody hears of it. auto_vacuum must come before the first table.
// journal_size_limit gives back the disk of a write-ahead log that a long reader once let grow.
constexpr char kPragmas[] =
    "PRAGMA auto_vacuum=INCREMENTAL;"
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=FULL;"
    "PRAGMA foreign_keys=ON;"
    "PRAGMA trusted_schema=OFF;"
    "PRAGMA temp_store=MEMORY;"
    "PRAGMA wal_autocheckpoint=4000;"
    "PRAGMA journal_size_limit=67108864;";
constexpr int kBusyTimeoutMs = 5000;

ErrorCode CodeOf(int result) {
  switch (result & 0xFF) {
    case SQLITE_FULL: return ErrorCode::kExhausted;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorCode::kCorrupt;
    case SQLITE_READONLY:
    case SQLITE_PERM: return ErrorCode::kDenied;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

Query::Query(Query&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

Query::~Query() {
  if (!statement_) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Result<bool> Query::Next() {
  const int result = sqlite3_step(statement_);
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return database_->LastError(sqlite3_sql(statement_));
}

Result<int> Query::Run() {
  while (TRY(Next())) {
  }
  return sqlite3_changes(database_->handle_);
}

bool Query::IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
int64_t Query::Int(int column) const { return sqlite3_column_int64(statement_, column); }
double Query::Real(int column) const { return sqlite3_column_double(statement_, column); }

std::string Query::Text(int column) const {
  // The pointer first: it converts the value, and only then is the size known.
  const void* bytes = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  return size == 0 ? std::string() : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

std::optional<int64_t> Query::OptionalInt(int column) const {
  return IsNull(column) ? std::nullopt : std::optional(Int(column));
}

std::optional<double> Query::OptionalReal(int column) const {
  return IsNull(column) ? std::nullopt : std::optional(Real(column));
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path, int cache_kib) {
  // Made by us, so that neither the database nor the files that SQLite makes beside it are readable for others.
  TRY_IN("open store", OpenAt(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  std::unique_ptr<Database> database(new Database(path));
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(path.c_str(), &database->handle_, flags, nullptr) != SQLITE_OK) {
    return database->LastError("open");
  }
  sqlite3_busy_timeout(database->handle_, kBusyTimeoutMs);
  TRY(database->Execute(kPragmas));
  TRY(database->Execute(fmt::format("PRAGMA cache_size=-{};", cache_kib).c_str()));
  return database;
}

Database::~Database() {
  for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

Result<void> Database::Execute(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return LastError(sql);
  return {};
}

Result<Query> Database::Ask(std::string_view sql, std::initializer_list<Value> values) {
  return Bind(sql, values.begin(), values.size());
}

Result<Query> Database::Ask(std::string_view sql, const std::vector<Value>& values) {
  return Bind(sql, values.data(), values.size());
}

bool Database::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(handle_); }
int64_t Database::total_changes() const { return sqlite3_total_changes64(handle_); }

Result<sqlite3_stmt*> Database::Prepare(std::string_view sql) {
  if (const auto found = statements_.find(sql); found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement, nullptr);
  if (result != SQLITE_OK) return LastError(sql);
  statements_.emplace(sql, statement);
  return statement;
}

Result<Query> Database::Bind(std::string_view sql, const Value* values, size_t count) {
  sqlite3_stmt* statement = TRY(Prepare(sql));
  CHECK(!sqlite3_stmt_busy(statement));
  CHECK(static_cast<size_t>(sqlite3_bind_parameter_count(statement)) == count);
  Query query(this, statement);
  for (size_t i = 0; i < count; ++i) {
    const int at = static_cast<int>(i) + 1;
    const auto& value = values[i].value_;
    int result = SQLITE_OK;  // of a null: nothing to do
    if (const int64_t* integer = std::get_if<int64_t>(&value)) {
      result = sqlite3_bind_int64(statement, at, *integer);
    } else if (const double* real = std::get_if<double>(&value)) {
      result = sqlite3_bind_double(statement, at, *real);
    } else if (const std::string_view* text = std::get_if<std::string_view>(&value)) {
      // An empty view may have no address, which SQLite would take for null.
      result = sqlite3_bind_text64(statement, at, text->empty() ? "" : text->data(), text->size(), SQLITE_TRANSIENT,
                                   SQLITE_UTF8);
    } else if (const Blob* blob = std::get_if<Blob>(&value)) {
      const std::string_view bytes = blob->bytes;
      result = sqlite3_bind_blob64(statement, at, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
    }
    if (result != SQLITE_OK) return LastError(sql);
  }
  return query;
}

tl::unexpected<Error> Database::LastError(std::string_view attempted) {
  ++failures_;
  const int result = handle_ ? sqlite3_extended_errcode(handle_) : SQLITE_NOMEM;
  const char* message = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
  return Fail(CodeOf(result), "store {}: {} (in \"{}\")", path_, message, attempted.substr(0, 60));
}

}  // namespace caisson::queue
