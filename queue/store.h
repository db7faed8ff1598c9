// SPDX-License-Identifier: Apache-2.0
// JobStore: the durable truth about jobs. Every call blocks until its effect is on disk (group commit makes that
// cheap when many wait), and is safe on any thread. Leases and fencing tokens make each completion happen once: a
// call whose token is old gets kConflict and changes nothing. Owned by the service's main; lives as long as it.
//
//                     +--> cancelled <------------------------------- any live state
//   blocked --> scheduled --> queued --> preparing --> running --> succeeded | failed
//                   ^            ^           |            |
//                   +-- retry ---+-- lost ---+------------+          final states never change
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "queue/decide.h"
#include "queue/job.h"

namespace caisson::queue {

// A job that this node may run now. Move-only in spirit: exactly one holder finishes it.
struct Claim {
  JobId id;
  TenantId tenant;
  std::string tenant_name;
  JobSpec spec;
  int attempt = 0;                     // 1 is the first
  int64_t fence = 0;                   // fencing token
  std::optional<Digest> image_digest;  // resolved by an earlier attempt
  uint64_t log_bytes = 0;              // where this attempt's output begins in the job's log
  uint64_t log_dropped = 0;
  FailureCount failures;
};

struct ClaimRef {  // names a claim in later calls
  JobId id;
  int64_t fence = 0;
};

struct NewJob {
  TenantId tenant;
  JobSpec spec;
  std::optional<std::string> payload;
};

struct ListFilter {
  TenantId tenant;
  std::vector<JobState> states;  // empty: all
  int limit = 50;                // 1..200
  std::string cursor;            // from the page before
};

struct JobPage {
  std::vector<JobRecord> items;  // newest first
  std::string next_cursor;       // empty on the last page
};

struct Token {
  std::string id;
  TenantId tenant;
  std::string tenant_name;
};
struct NewToken {
  Token token;
  Secret secret;  // "csn_...": shown once, only its hash is stored
};

struct ImageGrant {
  std::string repository;  // host/name
  Digest manifest;         // or index
  UnixMillis granted_at = 0;
  bool permanent = false;  // of what the tenant brought itself: no registry could be asked again
};

// A tenant's login at a registry, or at a part of one. The store cannot read the secret: whoever has the node's key
// sealed it.
struct RegistryLogin {
  std::string registry;  // prefix of host/name at a '/' boundary: "ghcr.io/acme"
  std::string username;
  std::string sealed;
  UnixMillis created_at = 0;
};
constexpr size_t kMaxRegistryLogins = 64;  // of one tenant: each pull looks through them

enum class CancelResult { kCancelled, kStopping, kAlreadyFinal };

struct StateCount {
  std::string tenant;
  JobState state;
  int64_t jobs = 0;
};

class JobStore {
 public:
  virtual ~JobStore() = default;

  virtual Result<JobRecord> Submit(NewJob job) = 0;
  virtual Result<JobRecord> Get(TenantId tenant, const JobId& id) = 0;  // kNotFound across tenants too
  virtual Result<JobPage> List(const ListFilter& filter) = 0;
  virtual Result<std::string> Payload(const JobId& id) = 0;
  // `grace_seconds` overrides the job's own when it is running.
  virtual Result<CancelResult> Cancel(TenantId tenant, const JobId& id, std::optional<uint32_t> grace_seconds) = 0;

  // The next queued job, moved to preparing under a lease; nothing where there is none. Order: tenants take turns,
  // oldest first within one.
  virtual Result<std::optional<Claim>> ClaimNext() = 0;
  virtual Result<void> SetImageDigest(const ClaimRef& claim, const Digest& digest) = 0;
  // preparing -> running.
  virtual Result<void> SetRunning(const ClaimRef& claim, UnixMillis started_at,
                                  std::vector<std::string> unenforced) = 0;
  // Ends the attempt and applies Decide(), in one transaction. `log_bytes` and `log_dropped` are the log's state.
  virtual Result<JobRecord> Finish(const ClaimRef& claim, const Outcome& outcome, uint64_t log_bytes,
                                   uint64_t log_dropped) = 0;
  // Back to queued without using any budget (drain, shutdown); to cancelled where that was asked for meanwhile.
  virtual Result<void> Release(const ClaimRef& claim, uint64_t log_bytes, uint64_t log_dropped) = 0;
  // Renews the leases; returns those that are no longer ours.
  virtual Result<std::vector<ClaimRef>> Renew(const std::vector<ClaimRef>& claims) = 0;

  // What time does: scheduled jobs that are due become queued, expired leases become `lost`. Returns how many.
  virtual Result<int> Tick() = 0;
  // At start of a service: every lease that a service before us held is lost now.
  virtual Result<int> RecoverLeases() = 0;

  virtual Result<NewToken> CreateToken(std::string_view tenant_name) = 0;  // kNotFound: no such tenant
  virtual Result<Token> FindToken(const Secret& secret) = 0;               // kDenied: unknown
  virtual Result<TenantId> FindTenant(std::string_view name) = 0;

  virtual Result<std::vector<StateCount>> CountByState() = 0;
  virtual Result<void> Ping() = 0;  // is the store writable? for /readyz

  // The right of a tenant to use an image without asking the registry again, for StoreOptions::grant_valid from now;
  // a permanent one stays so until it is revoked.
  virtual Result<void> GrantImage(TenantId tenant, std::string_view repository, const Digest& manifest,
                                  bool permanent = false) = 0;
  virtual Result<bool> MayUseImage(TenantId tenant, std::string_view repository, const Digest& manifest) = 0;
  // Every right that the tenant has or had, the expired ones too: the images that it may know of.
  virtual Result<std::vector<ImageGrant>> ImageGrants(TenantId tenant) = 0;
  // Ends the tenant's rights to the digest, from whatever repository. Returns how many there were. A right to the
  // index that led to it is another digest's.
  virtual Result<int> RevokeImage(TenantId tenant, const Digest& manifest) = 0;
  // How many tenants have a right to the digest now.
  virtual Result<int> ImageHolders(const Digest& manifest) = 0;
  // Forgets rights that ended more than 30 days ago. Returns how many.
  virtual Result<int> PruneImageGrants() = 0;

  // Replaces the tenant's login of the same registry; kExhausted past kMaxRegistryLogins.
  virtual Result<void> PutRegistryLogin(TenantId tenant, const RegistryLogin& login) = 0;
  virtual Result<std::vector<RegistryLogin>> ListRegistryLogins(TenantId tenant) = 0;  // by name
  virtual Result<std::optional<RegistryLogin>> FindRegistryLogin(TenantId tenant, std::string_view registry) = 0;
  virtual Result<void> DeleteRegistryLogin(TenantId tenant, std::string_view registry) = 0;  // kNotFound

  // Called from the store's thread after a commit and before its callers hear of it: a job may have become claimable,
  // or changed (its id). Must be quick and must not call the store. Setting another (or none) waits for a call to end.
  using Listener = std::function<void(const JobId& id, JobState state)>;
  virtual void SetListener(Listener listener) = 0;
};

struct StoreOptions {
  std::string path;  // of the database file; its directory exists
  std::chrono::milliseconds lease{30'000};
  std::chrono::hours grant_valid{24};  // how long GrantImage() lasts
  const Clock* clock = &SystemClock();
};

// SQLite, WAL, synchronous=FULL, one writer thread with group commit and a reader connection. kConflict when another
// process has the store open.
Result<std::unique_ptr<JobStore>> OpenSqliteStore(const StoreOptions& options);

}  // namespace caisson::queue
