// SPDX-License-Identifier: Apache-2.0
// Catalogue: which images there are, by every digest that one may be asked for. A record that cannot be read is set
// aside and told to the operator: it hides no other image, and the next pull writes it anew. Safe on any thread; owned
// by the ImageStore.
#pragma once

#include <optional>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/image.h"
#include "image/records.h"
#include "image/store_port.h"

namespace caisson::image {

class Catalogue {
 public:
  Catalogue(const Records& records, StorePort& store) : records_(records), store_(store) {}

  Result<std::vector<ImageRecord>> List() const;  // newest first
  Result<std::optional<ImageRecord>> Find(const Digest& manifest_or_index) const;
  // The record, if the store still has every layer of it.
  Result<std::optional<ImageRecord>> FindUsable(const Digest& manifest_or_index) const;

 private:
  Result<std::optional<ImageRecord>> FindManifest(const Digest& manifest) const;
  void SetAside(const DamagedRecord& damaged) const;

  const Records& records_;
  StorePort& store_;
};

}  // namespace caisson::image
