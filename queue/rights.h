// SPDX-License-Identifier: Apache-2.0
// What tenants may fetch and use: their rights to images and their logins at registries, as rows of the embedded
// store. Functions that take a Transaction run on the writer's thread, those that take a Database on whichever thread
// owns it.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "queue/store.h"
#include "queue/writer.h"

namespace caisson::queue {

constexpr int kMaxImageGrants = 10'000;  // of one tenant

// A right that is there already gets the new time, and stays permanent if it was. Past `most` of the tenant's, the
// oldest that are not permanent go.
Result<void> StoreImageGrant(Transaction& transaction, TenantId tenant, const ImageGrant& grant, int most);
Result<int> DeleteImageGrants(Transaction& transaction, TenantId tenant, const Digest& manifest);
Result<int> DeleteOldImageGrants(Transaction& transaction, UnixMillis before, int limit);

// A right counts when it is permanent or was granted after `earliest`.
Result<bool> HasImageGrant(Database& database, TenantId tenant, std::string_view repository, const Digest& manifest,
                           UnixMillis earliest);
Result<int> CountImageHolders(Database& database, const Digest& manifest, UnixMillis earliest);
Result<std::vector<ImageGrant>> ReadImageGrants(Database& database, TenantId tenant);

Result<void> StoreRegistryLogin(Transaction& transaction, TenantId tenant, const RegistryLogin& login);
Result<void> EraseRegistryLogin(Transaction& transaction, TenantId tenant, std::string_view registry);
Result<std::vector<RegistryLogin>> ReadRegistryLogins(Database& database, TenantId tenant);
Result<std::optional<RegistryLogin>> ReadRegistryLogin(Database& database, TenantId tenant, std::string_view registry);

}  // namespace caisson::queue
