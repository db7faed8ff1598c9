// SPDX-License-Identifier: Apache-2.0
#include "queue/schema.h"

#include <iterator>

#include "base/check.h"

namespace caisson::queue {
namespace {

constexpr int64_t kApplicationId = 0x43534E31;  // "CSN1": tells our files from other databases

// Numbers of states and reasons: queue/job.h. Times are milliseconds since 1970 UTC, but `lease_until`, which is on
// the steady clock of the process that gave the lease: a step of the wall clock must not end leases, and none
// outlives its process (RecoverLeases).
constexpr char kVersion1[] = R"sql(
CREATE TABLE tenants(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL) STRICT;

CREATE TABLE tokens(
  id TEXT PRIMARY KEY,
  tenant INTEGER NOT NULL REFERENCES tenants(id),
  hash BLOB NOT NULL UNIQUE,                       -- SHA-256 of the whole token
  created_at INTEGER NOT NULL) STRICT;

CREATE TABLE jobs(
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,                         -- begins with created_at: its order is the order of age
  tenant INTEGER NOT NULL REFERENCES tenants(id),
  state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 7),
  reason INTEGER NOT NULL DEFAULT 0,
  queue_seq INTEGER NOT NULL,                      -- a new number at every way into the queue
  run_at INTEGER,
  fence INTEGER NOT NULL DEFAULT 0,                -- one more at every claim
  lease_until INTEGER,
  claimed_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  user_failures INTEGER NOT NULL DEFAULT 0,
  platform_failures INTEGER NOT NULL DEFAULT 0,
  max_attempts INTEGER NOT NULL,                   -- these two also in spec: a transition needs no JSON
  retry_delay_seconds INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  cancel_grace_seconds INTEGER,
  image_digest TEXT,
  unenforced TEXT NOT NULL DEFAULT '',             -- "memory,pids,cpu"
  exit_code INTEGER,
  signal INTEGER,
  message TEXT NOT NULL DEFAULT '',
  cpu_seconds REAL,
  memory_peak_bytes INTEGER,
  pids_peak INTEGER,
  log_bytes INTEGER NOT NULL DEFAULT 0,
  log_dropped INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  spec TEXT NOT NULL) STRICT;
-- A claim reads the first of `jobs_queued` alone, however many jobs wait for a time or have finished.
CREATE INDEX jobs_queued ON jobs(tenant, queue_seq) WHERE state = 2;
CREATE INDEX jobs_scheduled ON jobs(run_at) WHERE state = 1;
CREATE INDEX jobs_leased ON jobs(lease_until) WHERE state IN (3, 4);
CREATE INDEX jobs_by_age ON jobs(tenant, id);
CREATE INDEX jobs_by_state ON jobs(tenant, state, id);

-- Written once, so that claims and completions do not rewrite it.
CREATE TABLE payloads(
  job INTEGER PRIMARY KEY REFERENCES jobs(n) ON DELETE CASCADE,
  body BLOB NOT NULL) STRICT;

CREATE TABLE attempts(
  job INTEGER NOT NULL REFERENCES jobs(n) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  claimed_at INTEGER,
  started_at INTEGER,
  finished_at INTEGER NOT NULL,
  reason INTEGER NOT NULL,                         -- 0: given back to the queue, neither succeeded nor failed
  exit_code INTEGER,
  signal INTEGER,
  message TEXT NOT NULL,
  cpu_seconds REAL,
  memory_peak_bytes INTEGER,
  pids_peak INTEGER,
  PRIMARY KEY(job, number)) STRICT, WITHOUT ROWID;

-- A tenant's right to use an image without asking its registry again.
CREATE TABLE image_grants(
  tenant INTEGER NOT NULL REFERENCES tenants(id),
  repository TEXT NOT NULL,
  manifest TEXT NOT NULL,
  granted_at INTEGER NOT NULL,
  PRIMARY KEY(tenant, repository, manifest)) STRICT, WITHOUT ROWID;

-- Kept by triggers, so that no statement can forget it: counting rows would take as long as there are jobs.
CREATE TABLE job_counts(
  tenant INTEGER NOT NULL,
  state INTEGER NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY(tenant, state)) STRICT, WITHOUT ROWID;
CREATE TRIGGER jobs_count_insert AFTER INSERT ON jobs BEGIN
  INSERT INTO job_counts VALUES(NEW.tenant, NEW.state, 1)
    ON CONFLICT(tenant, state) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_count_update AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
  UPDATE job_counts SET jobs = jobs - 1 WHERE tenant = OLD.tenant AND state = OLD.state;
  INSERT INTO job_counts VALUES(NEW.tenant, NEW.state, 1)
    ON CONFLICT(tenant, state) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER jobs_count_delete AFTER DELETE ON jobs BEGIN
  UPDATE job_counts SET jobs = jobs - 1 WHERE tenant = OLD.tenant AND state = OLD.state;
END;
-- Final states never change, whatever a statement of ours says.
CREATE TRIGGER jobs_final BEFORE UPDATE OF state ON jobs WHEN OLD.state >= 5 BEGIN
  SELECT RAISE(ABORT, 'a final state cannot change');
END;

CREATE TABLE sequence(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE checks(name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT;
)sql";

constexpr char kVersion2[] = R"sql(
ALTER TABLE image_grants ADD COLUMN permanent INTEGER NOT NULL DEFAULT 0;
CREATE INDEX image_grants_by_manifest ON image_grants(manifest, tenant, granted_at);
CREATE INDEX image_grants_by_age ON image_grants(granted_at) WHERE permanent = 0;

CREATE TABLE registry_logins(
  tenant INTEGER NOT NULL REFERENCES tenants(id),
  registry TEXT NOT NULL,                          -- prefix of host/name
  username TEXT NOT NULL,
  sealed BLOB NOT NULL,                            -- under the node's key, which is not in this file
  created_at INTEGER NOT NULL,
  PRIMARY KEY(tenant, registry)) STRICT, WITHOUT ROWID;
)sql";

constexpr const char* kMigrations[] = {kVersion1, kVersion2};  // [i] leads to version i + 1
constexpr int64_t kNewest = std::size(kMigrations);

Result<int64_t> PragmaValue(Database& database, const char* sql) {
  Query query = TRY(database.Ask(sql));
  CHECK(TRY(query.Next()));
  return query.Int(0);
}

Result<void> Apply(Database& database, int64_t version, UnixMillis now) {
  TRY(database.Execute(kMigrations[version]));
  if (version == 0) {
    Query insert = TRY(database.Ask("INSERT INTO tenants(id, name, created_at) VALUES(1, 'default', ?)", {now}));
    TRY(insert.Run());
    TRY(database.Execute(fmt::format("PRAGMA application_id={}", kApplicationId).c_str()));
  }
  return database.Execute(fmt::format("PRAGMA user_version={}", version + 1).c_str());
}

}  // namespace

Result<void> MigrateSchema(Database& database, const std::string& path, UnixMillis now) {
  const int64_t version = TRY(PragmaValue(database, "PRAGMA user_version"));
  const int64_t application = TRY(PragmaValue(database, "PRAGMA application_id"));
  const int64_t tables = TRY(PragmaValue(database, "SELECT count(*) FROM sqlite_schema"));
  if (application != kApplicationId && (application != 0 || version != 0 || tables != 0)) {
    return Fail(ErrorCode::kCorrupt, "{} is a database of another program: give Caisson a data directory of its own",
                path);
  }
  if (version > kNewest) {
    return Fail(ErrorCode::kUnsupported,
                "{} has schema {} and this version knows up to {}: a newer caisson wrote it; run that version or "
                "restore a backup",
                path, version, kNewest);
  }
  for (int64_t next = version; next < kNewest; ++next) {
    TRY(database.Execute("BEGIN IMMEDIATE"));
    if (auto applied = Apply(database, next, now); !applied) {
      if (database.in_transaction()) (void)database.Execute("ROLLBACK");
      return tl::unexpected(std::move(applied).error().Context(fmt::format("bring {} to schema {}", path, next + 1)));
    }
    TRY(database.Execute("COMMIT"));
  }
  return {};
}

}  // namespace caisson::queue
