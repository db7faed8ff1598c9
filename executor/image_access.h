// SPDX-License-Identifier: Apache-2.0
// ImageAccess: the one place that ties a tenant's rights (queue/store.h) to pulls (image/image_store.h). Nothing but a
// stored grant opens the cache, and only what a repository sent for the tenant's credentials, or the tenant imported,
// makes one. Used by attempts and by the API's image calls. Blocking, safe on any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "image/image_store.h"
#include "queue/store.h"

namespace caisson::executor {

struct ImageRequest {
  queue::TenantId tenant;
  std::string reference;         // as the user wrote it
  std::optional<Digest> pinned;  // resolved before: a retry runs the same bytes, whatever the tag means by now
  image::PullPolicy policy = image::PullPolicy::kAlways;
  // A name that the tenant imported means that import, and no registry is asked for it. Off where the user asks for
  // the registry's image by name.
  bool imports_win = true;
};

struct BroughtImage {
  image::ImageRecord record;
  image::ResolvedReference reference;
};

class ImageAccess {
 public:
  ImageAccess(queue::JobStore& jobs, image::ImageStore& images) : jobs_(jobs), images_(images) {}

  // The image, usable by the tenant when this returns. `context.tenant` is the tenant's name. `on_digest` hears each
  // digest that the image is known by, as soon as it is known (the first before anything is pulled); an error of it
  // ends the call. Trouble of the job store is kUnavailable: it is not the image's fault.
  using OnDigest = std::function<Result<void>(const Digest&)>;
  Result<BroughtImage> Bring(const ImageRequest& request, const image::PullContext& context,
                             const OnDigest& on_digest = {});
  // The same once more, without the cache: for an image whose layers turned out to be missing.
  Result<BroughtImage> BringAgain(const image::ResolvedReference& reference, const ImageRequest& request,
                                  const image::PullContext& context);

 private:
  Result<image::ResolvedReference> Resolve(const ImageRequest& request, const image::PullContext& context);
  Result<void> Grant(queue::TenantId tenant, const image::ResolvedReference& reference,
                     const image::ImageRecord& record);

  queue::JobStore& jobs_;
  image::ImageStore& images_;
};

}  // namespace caisson::executor
