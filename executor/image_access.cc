// SPDX-License-Identifier: Apache-2.0
#include "executor/image_access.h"

#include <set>

#include "image/reference.h"

namespace caisson::executor {
namespace {

// Trouble of the store while an image is brought must not read as the image's fault.
tl::unexpected<Error> StoreFault(Error error) {
  error.code = ErrorCode::kUnavailable;
  return tl::unexpected(std::move(error).Context("the job store"));
}

}  // namespace

Result<image::ResolvedReference> ImageAccess::Resolve(const ImageRequest& request, const image::PullContext& context) {
  if (request.pinned) {
    image::Reference pinned = TRY(image::ParseReference(request.reference));
    pinned.digest = *request.pinned;
    return image::ResolvedReference{.reference = pinned.ToString(),
                                    .repository = pinned.repository(),
                                    .digest = *request.pinned,
                                    .cached_only = request.policy == image::PullPolicy::kNever};
  }
  image::PullPolicy policy = request.policy;
  if (request.imports_win && !TRY(image::ParseReference(request.reference)).digest) {
    const auto tag = TRY(images_.FindTag(context.tenant, request.reference));
    if (tag && tag->imported) policy = image::PullPolicy::kNever;  // a registry's image of that name is another one
  }
  return images_.Resolve(request.reference, policy, context);
}

Result<BroughtImage> ImageAccess::Bring(const ImageRequest& request, const image::PullContext& context,
                                        const OnDigest& on_digest) {
  BroughtImage brought{.record = {}, .reference = TRY(Resolve(request, context))};
  const image::ResolvedReference& reference = brought.reference;
  if (on_digest && reference.digest != request.pinned) TRY(on_digest(reference.digest));
  const auto granted = jobs_.MayUseImage(request.tenant, reference.repository, reference.digest);
  if (!granted) return StoreFault(granted.error());
  // What the registry says a tag means is the word of its owner, and no right.
  brought.record = TRY(images_.Pull(reference, /*may_use_cached=*/*granted, context));
  if (!*granted) TRY(Grant(request.tenant, reference, brought.record));
  // It came through an index.
  if (on_digest && brought.record.manifest != reference.digest) TRY(on_digest(brought.record.manifest));
  return brought;
}

Result<BroughtImage> ImageAccess::BringAgain(const image::ResolvedReference& reference, const ImageRequest& request,
                                             const image::PullContext& context) {
  BroughtImage brought{.record = TRY(images_.Pull(reference, /*may_use_cached=*/false, context)),
                       .reference = reference};
  TRY(Grant(request.tenant, reference, brought.record));
  return brought;
}

// For every digest that a later attempt or another tag may name this image by.
Result<void> ImageAccess::Grant(queue::TenantId tenant, const image::ResolvedReference& reference,
                                const image::ImageRecord& record) {
  for (const Digest& digest : std::set{reference.digest, record.manifest, record.index}) {
    auto granted = jobs_.GrantImage(tenant, reference.repository, digest);
    if (!granted) return StoreFault(std::move(granted).error());
  }
  return {};
}

}  // namespace caisson::executor
