// SPDX-License-Identifier: Apache-2.0
// What a hostile registry writes into Content-Range, Retry-After, Link and a list of referrers; and, as hostile as a
// configuration can be, a mirror.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/mirror.h"
#include "image/referrers.h"
#include "image/registry_headers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto range = ParseContentRange(text)) CHECK(range->first <= range->last && range->last < range->total);
  if (const auto wait = ParseRetryAfter(text, 784111777000)) CHECK(wait->count() >= 0);
  if (const auto link = NextLink(text)) CHECK(link->size() < size);
  if (const auto referrers = ParseReferrers(text, "")) CHECK(referrers->size() <= size);
  if (const auto mirror = ParseMirror(text)) CHECK(!mirror->host.empty() && mirror->host.size() < 256);
  return 0;
}
