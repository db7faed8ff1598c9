// SPDX-License-Identifier: Apache-2.0
#include "queue/rights.h"

#include "base/encoding.h"

namespace caisson::queue {
namespace {

RegistryLogin LoginOf(const Query& query) { return {query.Text(0), query.Text(1), query.Text(2), query.Int(3)}; }

}  // namespace

// Every job grants anew, so that must be one row's work; only a row more is reason to count.
Result<void> StoreImageGrant(Transaction& transaction, TenantId tenant, const ImageGrant& grant, int most) {
  const std::string manifest = grant.manifest.ToString();
  {
    Query update = TRY(transaction.database.Ask(
        "UPDATE image_grants SET granted_at = ?, permanent = max(permanent, ?) WHERE tenant = ? AND repository = ? AND "
        "manifest = ?",
        {grant.granted_at, grant.permanent, tenant.value, grant.repository, manifest}));
    if (TRY(update.Run()) > 0) return {};
  }
  Query insert = TRY(transaction.database.Ask(
      "INSERT INTO image_grants(tenant, repository, manifest, granted_at, permanent) VALUES(?,?,?,?,?)",
      {tenant.value, grant.repository, manifest, grant.granted_at, grant.permanent}));
  TRY(insert.Run());
  Query erase = TRY(transaction.database.Ask(
      "DELETE FROM image_grants WHERE tenant = ?1 AND (tenant, repository, manifest) IN (SELECT tenant, repository, "
      "manifest FROM image_grants WHERE tenant = ?1 AND permanent = 0 ORDER BY granted_at LIMIT max(0, (SELECT "
      "count(*) "
      "FROM image_grants WHERE tenant = ?1) - ?2))",
      {tenant.value, most}));
  TRY(erase.Run());
  return {};
}

Result<int> DeleteImageGrants(Transaction& transaction, TenantId tenant, const Digest& manifest) {
  Query erase = TRY(transaction.database.Ask("DELETE FROM image_grants WHERE tenant = ? AND manifest = ?",
                                             {tenant.value, manifest.ToString()}));
  return erase.Run();
}

Result<int> DeleteOldImageGrants(Transaction& transaction, UnixMillis before, int limit) {
  Query erase = TRY(transaction.database.Ask(
      "DELETE FROM image_grants WHERE (tenant, repository, manifest) IN (SELECT tenant, repository, manifest FROM "
      "image_grants WHERE permanent = 0 AND granted_at <= ? LIMIT ?)",
      {before, limit}));
  return erase.Run();
}

Result<bool> HasImageGrant(Database& database, TenantId tenant, std::string_view repository, const Digest& manifest,
                           UnixMillis earliest) {
  Query query = TRY(database.Ask(
      "SELECT 1 FROM image_grants WHERE tenant = ? AND repository = ? AND manifest = ? AND (permanent OR granted_at > "
      "?)",
      {tenant.value, repository, manifest.ToString(), earliest}));
  return query.Next();
}

Result<int> CountImageHolders(Database& database, const Digest& manifest, UnixMillis earliest) {
  Query query = TRY(database.Ask(
      "SELECT count(DISTINCT tenant) FROM image_grants WHERE manifest = ? AND (permanent OR granted_at > ?)",
      {manifest.ToString(), earliest}));
  TRY(query.Next());
  return static_cast<int>(query.Int(0));
}

Result<std::vector<ImageGrant>> ReadImageGrants(Database& database, TenantId tenant) {
  Query query =
      TRY(database.Ask("SELECT repository, manifest, granted_at, permanent FROM image_grants WHERE tenant = ? ORDER BY "
                       "repository, manifest",
                       {tenant.value}));
  std::vector<ImageGrant> grants;
  while (TRY(query.Next()))
    grants.push_back({query.Text(0), TRY(Digest::Parse(query.Text(1))), query.Int(2), query.Int(3) != 0});
  return grants;
}

Result<void> StoreRegistryLogin(Transaction& transaction, TenantId tenant, const RegistryLogin& login) {
  {
    Query count = TRY(transaction.database.Ask(
        "SELECT count(*) FROM registry_logins WHERE tenant = ? AND registry <> ?", {tenant.value, login.registry}));
    TRY(count.Next());
    if (count.Int(0) >= static_cast<int64_t>(kMaxRegistryLogins))
      return Fail(ErrorCode::kExhausted, "a tenant may have {} registry logins: delete one first", kMaxRegistryLogins);
  }
  Query insert = TRY(transaction.database.Ask(
      "INSERT INTO registry_logins(tenant, registry, username, sealed, created_at) VALUES(?,?,?,?,?) ON CONFLICT DO "
      "UPDATE SET username = excluded.username, sealed = excluded.sealed, created_at = excluded.created_at",
      {tenant.value, login.registry, login.username, Blob{login.sealed}, transaction.now}));
  TRY(insert.Run());
  return {};
}

Result<void> EraseRegistryLogin(Transaction& transaction, TenantId tenant, std::string_view registry) {
  Query erase = TRY(transaction.database.Ask("DELETE FROM registry_logins WHERE tenant = ? AND registry = ?",
                                             {tenant.value, registry}));
  if (TRY(erase.Run()) > 0) return {};
  return Fail(ErrorCode::kNotFound, "there is no login for {}", EscapeForLog(registry));
}

Result<std::vector<RegistryLogin>> ReadRegistryLogins(Database& database, TenantId tenant) {
  Query query = TRY(database.Ask(
      "SELECT registry, username, sealed, created_at FROM registry_logins WHERE tenant = ? ORDER BY registry",
      {tenant.value}));
  std::vector<RegistryLogin> logins;
  while (TRY(query.Next())) logins.push_back(LoginOf(query));
  return logins;
}

Result<std::optional<RegistryLogin>> ReadRegistryLogin(Database& database, TenantId tenant, std::string_view registry) {
  Query query =
      TRY(database.Ask("SELECT registry, username, sealed, created_at FROM registry_logins WHERE tenant = ? AND "
                       "registry = ?",
                       {tenant.value, registry}));
  if (!TRY(query.Next())) return std::optional<RegistryLogin>();
  return std::optional(LoginOf(query));
}

}  // namespace caisson::queue
