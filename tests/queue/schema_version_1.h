// SPDX-License-Identifier: Apache-2.0
// The schema of the embedded store as the first version wrote it. It never changes: files that look like this are on
// disks, and every later version must open them.
#pragma once

namespace caisson::queue {

inline constexpr char kSchemaVersion1[] = R"sql(
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

}  // namespace caisson::queue
