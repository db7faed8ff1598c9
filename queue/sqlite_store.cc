// SPDX-License-Identifier: Apache-2.0
// The embedded JobStore: writes go through the Writer's thread (queue/writer.h), reads through one more connection
// (WAL: a reader sees the last commit and stops nobody). One process at a time, by a lock file.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "base/io.h"
#include "queue/rights.h"
#include "queue/schema.h"
#include "queue/spec_codec.h"
#include "queue/store.h"
#include "queue/transitions.h"

namespace caisson::queue {
namespace {

constexpr int kWriterCacheKib = 65536;
constexpr int kReaderCacheKib = 16384;
constexpr int kJobsPerStep = 200;  // of what time does: other operations' turn comes between two steps
constexpr int kRowsPerStep = 1000;
constexpr std::chrono::milliseconds kGrantMemory = std::chrono::days(30);  // an ended right is still listed so long
constexpr int kMaxPage = 200;
constexpr int64_t kPingTrustMs = 1000;  // a commit that recent proves that the store is writable
constexpr std::string_view kTokenPrefix = "csn_";

// Base64 for URLs (RFC 4648, section 5), without padding.
std::string Base64Url(std::string_view bytes) {
  std::string text = Base64Encode(bytes);
  std::replace(text.begin(), text.end(), '+', '-');
  std::replace(text.begin(), text.end(), '/', '_');
  text.erase(std::find(text.begin(), text.end(), '='), text.end());
  return text;
}

template <size_t Size>
std::string RandomBytes() {
  std::array<uint8_t, Size> bytes;
  FillRandom(bytes);
  return std::string(bytes.begin(), bytes.end());
}

std::string HashOf(const Secret& secret) {
  const Digest digest = Sha256Of(secret.Expose());
  return std::string(digest.bytes.begin(), digest.bytes.end());
}

// The id of a page's last job: ids begin with the time of creation, so it is the whole key.
std::string CursorOf(const JobId& id) { return Base64Url(id.value); }

Result<JobId> IdOfCursor(const std::string& cursor) {
  const auto decoded = Base64Decode(cursor);  // 24 bytes need no padding, and hex none of the two special digits
  auto id = JobId::Parse(decoded.value_or(""));
  if (!id) return Fail(ErrorCode::kInvalid, "cursor \"{}\" is not one that was given out", EscapeForLog(cursor, 60));
  return id;
}

class SqliteStore final : public JobStore {
 public:
  SqliteStore(const StoreOptions& options, Fd lock, std::unique_ptr<Database> writer, std::unique_ptr<Database> reader)
      : options_(options),
        lock_(std::move(lock)),
        reader_(std::move(reader)),
        writer_(std::move(writer), *options.clock) {}

  Result<JobRecord> Submit(NewJob job) override;
  Result<JobRecord> Get(TenantId tenant, const JobId& id) override;
  Result<JobPage> List(const ListFilter& filter) override;
  Result<std::string> Payload(const JobId& id) override;
  Result<CancelResult> Cancel(TenantId tenant, const JobId& id, std::optional<uint32_t> grace_seconds) override;

  Result<std::optional<Claim>> ClaimNext() override;
  Result<void> SetImageDigest(const ClaimRef& claim, const Digest& digest) override;
  Result<void> SetRunning(const ClaimRef& claim, UnixMillis started_at, std::vector<std::string> unenforced) override;
  Result<JobRecord> Finish(const ClaimRef& claim, const Outcome& outcome, uint64_t log_bytes,
                           uint64_t log_dropped) override;
  Result<void> Release(const ClaimRef& claim, uint64_t log_bytes, uint64_t log_dropped) override;
  Result<std::vector<ClaimRef>> Renew(const std::vector<ClaimRef>& claims) override;

  Result<int> Tick() override;
  Result<int> RecoverLeases() override;

  Result<NewToken> CreateToken(std::string_view tenant_name) override;
  Result<Token> FindToken(const Secret& secret) override;
  Result<TenantId> FindTenant(std::string_view name) override;

  Result<std::vector<StateCount>> CountByState() override;
  Result<void> Ping() override;

  Result<void> GrantImage(TenantId tenant, std::string_view repository, const Digest& manifest,
                          bool permanent) override;
  Result<bool> MayUseImage(TenantId tenant, std::string_view repository, const Digest& manifest) override;
  Result<std::vector<ImageGrant>> ImageGrants(TenantId tenant) override;
  Result<int> RevokeImage(TenantId tenant, const Digest& manifest) override;
  Result<int> ImageHolders(const Digest& manifest) override;
  Result<int> PruneImageGrants() override;

  Result<void> PutRegistryLogin(TenantId tenant, const RegistryLogin& login) override;
  Result<std::vector<RegistryLogin>> ListRegistryLogins(TenantId tenant) override;
  Result<std::optional<RegistryLogin>> FindRegistryLogin(TenantId tenant, std::string_view registry) override;
  Result<void> DeleteRegistryLogin(TenantId tenant, std::string_view registry) override;

  void SetListener(Listener listener) override { writer_.SetListener(std::move(listener)); }

 private:
  using Step = Result<int> (*)(Transaction&, int limit);
  Result<int> RepeatStep(Step step);
  // Grants older than this have ended, but for the permanent ones.
  UnixMillis EarliestValidGrant() const {
    return options_.clock->NowMs() - std::chrono::milliseconds(options_.grant_valid).count();
  }

  const StoreOptions options_;
  const Fd lock_;  // held as long as the store is open
  std::mutex reader_mutex_;
  const std::unique_ptr<Database> reader_;  // under reader_mutex_
  int64_t last_tenant_ = 0;                 // whose turn it was; the writer's thread
  Writer writer_;
};

// ---- What the API asks ------------------------------------------------------------------------------------------

Result<JobRecord> SqliteStore::Submit(NewJob job) {
  job.spec.has_payload = job.payload.has_value();
  const std::string spec_json = SpecToJson(job.spec);
  JobRow row =
      TRY_IN("submit job",
             writer_.Run<JobRow>([&](Transaction& transaction) { return InsertJob(transaction, job, spec_json); }));
  row.record.spec = std::move(job.spec);
  return std::move(row.record);
}

Result<JobRecord> SqliteStore::Get(TenantId tenant, const JobId& id) {
  JobRow row;
  {
    const std::lock_guard lock(reader_mutex_);
    static const std::string kSql = SelectJobs("WHERE id = ? AND tenant = ?");
    Query query = TRY(reader_->Ask(kSql, {id.value, tenant.value}));
    if (!TRY(query.Next())) return Fail(ErrorCode::kNotFound, "there is no job {}", EscapeForLog(id.value, 40));
    row = JobRowOf(query);
  }
  return ToRecord(std::move(row));
}

// Newest first, by key. With states, the newest of each are merged: the index gives each in order, so that a rare
// state among millions of jobs costs a page and not a scan.
Result<JobPage> SqliteStore::List(const ListFilter& filter) {
  const int limit = std::clamp(filter.limit, 1, kMaxPage);
  const std::string before = filter.cursor.empty() ? "g" : TRY(IdOfCursor(filter.cursor)).value;  // "g": after any hex
  std::string sql;
  std::vector<Value> values;
  const auto add = [&](std::string_view condition) {
    sql += fmt::format("{}SELECT * FROM (SELECT id FROM jobs WHERE tenant = ?{} AND id < ? ORDER BY id DESC LIMIT ?)",
                       sql.empty() ? "" : " UNION ALL ", condition);
  };
  std::vector<JobState> states = filter.states;
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  for (const JobState state : states) {
    add(" AND state = ?");
    values.insert(values.end(), {filter.tenant.value, static_cast<int>(state), before, limit + 1});
  }
  if (states.empty()) {
    add("");
    values.insert(values.end(), {filter.tenant.value, before, limit + 1});
  }
  values.push_back(limit + 1);

  std::vector<JobRow> rows;
  {
    const std::lock_guard lock(reader_mutex_);
    Query query = TRY(reader_->Ask(SelectJobs("WHERE id IN (" + sql + ") ORDER BY id DESC LIMIT ?"), values));
    while (TRY(query.Next())) rows.push_back(JobRowOf(query));
  }
  JobPage page;
  if (static_cast<int>(rows.size()) > limit) {
    rows.resize(static_cast<size_t>(limit));
    page.next_cursor = CursorOf(rows.back().record.id);
  }
  for (JobRow& row : rows) page.items.push_back(TRY(ToRecord(std::move(row))));
  return page;
}

Result<std::string> SqliteStore::Payload(const JobId& id) {
  const std::lock_guard lock(reader_mutex_);
  Query query =
      TRY(reader_->Ask("SELECT body FROM payloads WHERE job = (SELECT n FROM jobs WHERE id = ?)", {id.value}));
  if (!TRY(query.Next())) return Fail(ErrorCode::kNotFound, "job {} has no payload", EscapeForLog(id.value, 40));
  return query.Text(0);
}

Result<CancelResult> SqliteStore::Cancel(TenantId tenant, const JobId& id, std::optional<uint32_t> grace_seconds) {
  return writer_.Run<CancelResult>(
      [&](Transaction& transaction) { return CancelJob(transaction, tenant, id, grace_seconds); });
}

// ---- What the executor asks -------------------------------------------------------------------------------------

Result<std::optional<Claim>> SqliteStore::ClaimNext() {
  for (;;) {
    std::optional<JobRow> row = TRY_IN("claim job", writer_.Run<std::optional<JobRow>>([&](Transaction& transaction) {
      return ClaimJob(transaction, options_.lease, &last_tenant_);
    }));
    if (!row) return std::optional<Claim>();
    JobRecord& record = row->record;
    auto spec = SpecFromJson(row->spec_json);
    if (!spec) {  // must not stop the jobs behind it
      Outcome damaged;
      damaged.reason = Reason::kSetupError;
      damaged.message = spec.error().message;
      TRY(Finish({record.id, row->fence}, damaged, record.log_bytes, record.log_dropped));
      continue;
    }
    Claim claim;
    claim.id = record.id;
    claim.tenant = record.tenant;
    claim.tenant_name = record.tenant_name;
    claim.spec = std::move(*spec);
    claim.attempt = record.attempts;
    claim.fence = row->fence;
    claim.image_digest = record.image_digest;
    claim.log_bytes = record.log_bytes;
    claim.log_dropped = record.log_dropped;
    claim.failures = {record.user_failures, record.platform_failures};
    return std::optional(std::move(claim));
  }
}

Result<void> SqliteStore::SetImageDigest(const ClaimRef& claim, const Digest& digest) {
  return writer_.Run<void>([&](Transaction& transaction) { return StoreImageDigest(transaction, claim, digest); });
}

Result<void> SqliteStore::SetRunning(const ClaimRef& claim, UnixMillis started_at,
                                     std::vector<std::string> unenforced) {
  const std::string names = JoinNames(unenforced);
  return writer_.Run<void>([&](Transaction& transaction) { return StartJob(transaction, claim, started_at, names); });
}

Result<JobRecord> SqliteStore::Finish(const ClaimRef& claim, const Outcome& outcome, uint64_t log_bytes,
                                      uint64_t log_dropped) {
  const LogEnd log{log_bytes, log_dropped};
  JobRow row =
      TRY(writer_.Run<JobRow>([&](Transaction& transaction) { return FinishJob(transaction, claim, outcome, log); }));
  // It is committed: a stored spec that cannot be read is no reason to say otherwise.
  JobRecord record = row.record;
  if (auto whole = ToRecord(std::move(row))) return whole;
  return record;
}

Result<void> SqliteStore::Release(const ClaimRef& claim, uint64_t log_bytes, uint64_t log_dropped) {
  const LogEnd log{log_bytes, log_dropped};
  return writer_.Run<void>([&](Transaction& transaction) { return ReleaseJob(transaction, claim, log); });
}

Result<std::vector<ClaimRef>> SqliteStore::Renew(const std::vector<ClaimRef>& claims) {
  return writer_.Run<std::vector<ClaimRef>>([&](Transaction& transaction) -> Result<std::vector<ClaimRef>> {
    std::vector<ClaimRef> lost;
    for (const ClaimRef& claim : claims) {
      if (!TRY(RenewLease(transaction, claim, options_.lease))) lost.push_back(claim);
    }
    return lost;
  });
}

// Runs a step until nothing is left for it.
Result<int> SqliteStore::RepeatStep(Step step) {
  int total = 0;
  for (;;) {
    const int changed =
        TRY(writer_.Run<int>([&](Transaction& transaction) { return step(transaction, kJobsPerStep); }));
    total += changed;
    if (changed < kJobsPerStep) return total;
  }
}

Result<int> SqliteStore::Tick() {
  const int due = TRY_IN("queue due jobs", RepeatStep(QueueDueJobs));
  const int expired = TRY_IN("end expired leases", RepeatStep(LoseExpiredJobs));
  return due + expired;
}

Result<int> SqliteStore::RecoverLeases() { return RepeatStep(LoseLeasedJobs); }

// ---- Tenants, tokens --------------------------------------------------------------------------------------------

Result<NewToken> SqliteStore::CreateToken(std::string_view tenant_name) {
  NewToken created;
  const std::string random_id = RandomBytes<8>();
  created.token.id =
      "tok_" + HexEncode(std::span(reinterpret_cast<const uint8_t*>(random_id.data()), random_id.size()));
  created.token.tenant = TRY(FindTenant(tenant_name));
  created.token.tenant_name = tenant_name;
  created.secret = Secret(std::string(kTokenPrefix) + Base64Url(RandomBytes<32>()));
  const std::string hash = HashOf(created.secret);
  TRY_IN("store token", writer_.Run<void>([&](Transaction& transaction) -> Result<void> {
    Query insert =
        TRY(transaction.database.Ask("INSERT INTO tokens(id, tenant, hash, created_at) VALUES(?,?,?,?)",
                                     {created.token.id, created.token.tenant.value, Blob{hash}, transaction.now}));
    TRY(insert.Run());
    return {};
  }));
  return created;
}

// By its hash: what an attacker can time is the search for a hash, not for the token.
Result<Token> SqliteStore::FindToken(const Secret& secret) {
  const std::string hash = HashOf(secret);
  const std::lock_guard lock(reader_mutex_);
  Query query = TRY(reader_->Ask(
      "SELECT tokens.id, tenant, name FROM tokens JOIN tenants ON tenants.id = tenant WHERE hash = ?", {Blob{hash}}));
  if (!TRY(query.Next())) return Fail(ErrorCode::kDenied, "unknown token");
  return Token{query.Text(0), TenantId{query.Int(1)}, query.Text(2)};
}

Result<TenantId> SqliteStore::FindTenant(std::string_view name) {
  const std::lock_guard lock(reader_mutex_);
  Query query = TRY(reader_->Ask("SELECT id FROM tenants WHERE name = ?", {name}));
  if (!TRY(query.Next())) return Fail(ErrorCode::kNotFound, "there is no tenant \"{}\"", EscapeForLog(name, 60));
  return TenantId{query.Int(0)};
}

// ---- Rights to images, logins at registries ---------------------------------------------------------------------

Result<void> SqliteStore::GrantImage(TenantId tenant, std::string_view repository, const Digest& manifest,
                                     bool permanent) {
  return writer_.Run<void>([&](Transaction& transaction) {
    return StoreImageGrant(transaction, tenant, {std::string(repository), manifest, transaction.now, permanent},
                           kMaxImageGrants);
  });
}

Result<bool> SqliteStore::MayUseImage(TenantId tenant, std::string_view repository, const Digest& manifest) {
  const std::lock_guard lock(reader_mutex_);
  return HasImageGrant(*reader_, tenant, repository, manifest, EarliestValidGrant());
}

Result<std::vector<ImageGrant>> SqliteStore::ImageGrants(TenantId tenant) {
  const std::lock_guard lock(reader_mutex_);
  return ReadImageGrants(*reader_, tenant);
}

Result<int> SqliteStore::RevokeImage(TenantId tenant, const Digest& manifest) {
  return writer_.Run<int>([&](Transaction& transaction) { return DeleteImageGrants(transaction, tenant, manifest); });
}

Result<int> SqliteStore::ImageHolders(const Digest& manifest) {
  const std::lock_guard lock(reader_mutex_);
  return CountImageHolders(*reader_, manifest, EarliestValidGrant());
}

Result<int> SqliteStore::PruneImageGrants() {
  const UnixMillis before = EarliestValidGrant() - kGrantMemory.count();
  int total = 0;
  for (;;) {
    const int deleted = TRY(writer_.Run<int>(
        [&](Transaction& transaction) { return DeleteOldImageGrants(transaction, before, kRowsPerStep); }));
    total += deleted;
    if (deleted < kRowsPerStep) return total;
  }
}

Result<void> SqliteStore::PutRegistryLogin(TenantId tenant, const RegistryLogin& login) {
  return writer_.Run<void>([&](Transaction& transaction) { return StoreRegistryLogin(transaction, tenant, login); });
}

Result<std::vector<RegistryLogin>> SqliteStore::ListRegistryLogins(TenantId tenant) {
  const std::lock_guard lock(reader_mutex_);
  return ReadRegistryLogins(*reader_, tenant);
}

Result<std::optional<RegistryLogin>> SqliteStore::FindRegistryLogin(TenantId tenant, std::string_view registry) {
  const std::lock_guard lock(reader_mutex_);
  return ReadRegistryLogin(*reader_, tenant, registry);
}

Result<void> SqliteStore::DeleteRegistryLogin(TenantId tenant, std::string_view registry) {
  return writer_.Run<void>([&](Transaction& transaction) { return EraseRegistryLogin(transaction, tenant, registry); });
}

// ---- For operators ----------------------------------------------------------------------------------------------

Result<std::vector<StateCount>> SqliteStore::CountByState() {
  const std::lock_guard lock(reader_mutex_);
  Query query =
      TRY(reader_->Ask("SELECT name, state, jobs FROM job_counts JOIN tenants ON tenants.id = tenant WHERE jobs > 0 "
                       "ORDER BY name, state"));
  std::vector<StateCount> counts;
  while (TRY(query.Next())) {
    counts.push_back({query.Text(0), static_cast<JobState>(query.Int(1)), query.Int(2)});
  }
  return counts;
}

// A real write, but not more than one a second: the question may come from anybody.
Result<void> SqliteStore::Ping() {
  return writer_.Run<void>([&](Transaction& transaction) -> Result<void> {
    const auto last = writer_.last_commit_ms();
    if (last && transaction.steady_ms - *last < kPingTrustMs) return {};
    Query update = TRY(transaction.database.Ask(
        "INSERT INTO checks(name, at) VALUES('writable', ?) ON CONFLICT DO UPDATE SET at = excluded.at",
        {transaction.now}));
    TRY(update.Run());
    return {};
  });
}

// So that a second service cannot open the same store: both would hand out the same jobs.
Result<Fd> LockStore(const std::string& path) {
  Fd lock = TRY_IN("lock store", OpenAt(AT_FDCWD, path + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return FailErrno(errno, "lock {}.lock", path);
  return Fail(ErrorCode::kConflict,
              "{} is open in another process: is a second caissond running on this data directory?", path);
}

// The new file's name must be as durable as what is committed in it.
Result<void> SyncDirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const Fd directory =
      TRY(OpenAt(AT_FDCWD, slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) != 0) return FailErrno(errno, "fsync directory of {}", path);
  return {};
}

}  // namespace

Result<std::unique_ptr<JobStore>> OpenSqliteStore(const StoreOptions& options) {
  Fd lock = TRY(LockStore(options.path));
  std::unique_ptr<Database> writer = TRY(Database::Open(options.path, kWriterCacheKib));
  TRY(MigrateSchema(*writer, options.path, options.clock->NowMs()));
  TRY(SyncDirectoryOf(options.path));
  std::unique_ptr<Database> reader = TRY(Database::Open(options.path, kReaderCacheKib));
  TRY(reader->Execute("PRAGMA query_only=ON"));
  return std::make_unique<SqliteStore>(options, std::move(lock), std::move(writer), std::move(reader));
}

}  // namespace caisson::queue
