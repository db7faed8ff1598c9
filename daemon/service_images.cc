// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_images.h"

#include <algorithm>
#include <map>
#include <set>

#include "image/layer/limits.h"
#include "image/reference.h"

namespace caisson::daemon {
namespace {

constexpr std::string_view kDigestStart = "sha256:";
constexpr size_t kLeastDigits = 8;  // of a digest that is not given whole

// ---- The store's values as the API's --------------------------------------------------------------------------

// By the tenant's own names of it: the name under which another tenant pulled it first is not its business.
api::ImageSummary SummaryOf(const image::ImageRecord& record, std::vector<std::string> names,
                            const std::string& repository) {
  api::ImageSummary summary{.reference = names.empty() ? repository + "@" + record.manifest.ToString() : names.front(),
                            .names = std::move(names),
                            .digest = record.manifest.ToString(),
                            .layers = static_cast<int>(record.layers.size()),
                            .pulled_at = record.pulled_at,
                            .warnings = record.warnings};
  for (const image::LayerRecord& layer : record.layers) {
    summary.compressed_bytes += layer.compressed_bytes;
    summary.unpacked_bytes += layer.unpacked_bytes;
  }
  return summary;
}

api::ImageConfigView ConfigOf(const image::ImageConfig& config) {
  return {.architecture = config.architecture,
          .os = config.os,
          .user = config.user,
          .entrypoint = config.entrypoint,
          .command = config.command,
          .env = config.env,
          .working_dir = config.working_dir,
          .stop_signal = config.stop_signal};
}

std::string_view ToString(image::SignatureState state) {
  switch (state) {
    case image::SignatureState::kNotRequired: return "not-required";
    case image::SignatureState::kVerified: return "verified";
    case image::SignatureState::kUnverified: return "unverified";
  }
  return "";
}

image::PullPolicy PolicyOf(api::PullPolicy policy) {
  switch (policy) {
    case api::PullPolicy::kAlways: return image::PullPolicy::kAlways;
    case api::PullPolicy::kIfMissing: return image::PullPolicy::kIfMissing;
    case api::PullPolicy::kNever: return image::PullPolicy::kNever;
  }
  return image::PullPolicy::kAlways;
}

api::LayerState StateOf(image::LayerProgress::State state) {
  switch (state) {
    case image::LayerProgress::kWaiting: return api::LayerState::kWaiting;
    case image::LayerProgress::kDownloading: return api::LayerState::kDownloading;
    case image::LayerProgress::kUnpacking: return api::LayerState::kUnpacking;
    case image::LayerProgress::kDone: return api::LayerState::kDone;
    case image::LayerProgress::kCached: return api::LayerState::kCached;
  }
  return api::LayerState::kWaiting;
}

api::PullProgress ProgressOf(const image::PullProgress& progress) {
  api::PullProgress result{.bytes_done = progress.bytes_done, .bytes_total = progress.bytes_total, .layers = {}};
  for (const image::LayerProgress& layer : progress.layers)
    result.layers.push_back({.digest = layer.digest.ToString(),
                             .state = StateOf(layer.state),
                             .bytes_done = layer.bytes_done,
                             .bytes_total = layer.bytes_total});
  return result;
}

image::PullContext ContextOf(const api::Tenant& tenant, const api::LongCall& call) {
  image::PullContext context{.tenant = tenant.name, .progress = {}, .cancelled = call.cancelled, .interactive = true};
  if (call.progress)
    context.progress = [&call](const image::PullProgress& progress) { call.progress(ProgressOf(progress)); };
  return context;
}

api::LayerCheck CheckOf(const image::LayerVerdict& layer) {
  api::LayerCheck check{.digest = "sha256:" + layer.name.hex(), .verdict = {}, .detail = layer.reason};
  switch (layer.state) {
    case image::LayerVerdict::kOk:
      check.verdict = layer.repaired ? api::LayerVerdict::kRepaired : api::LayerVerdict::kOk;
      break;
    case image::LayerVerdict::kDamaged: check.verdict = api::LayerVerdict::kDamaged; break;
    case image::LayerVerdict::kMissing: check.verdict = api::LayerVerdict::kMissing; break;
  }
  return check;
}

class Upload final : public api::BlobUpload {
 public:
  explicit Upload(std::unique_ptr<image::BlobUpload> upload) : upload_(std::move(upload)) {}
  Result<void> Write(std::string_view bytes) override { return upload_->Write(bytes); }
  Result<void> Finish() override {
    Result<void> finished = upload_->Finish();
    if (!finished && finished.error().code == ErrorCode::kCorrupt) finished.error().code = ErrorCode::kInvalid;
    return finished;
  }

 private:
  std::unique_ptr<image::BlobUpload> upload_;
};

tl::unexpected<Error> NoSuchImage(const std::string& image) {
  return Fail(ErrorCode::kNotFound, "there is no image {}: \"caisson image ls\" shows those that there are", image);
}

}  // namespace

// ---- Which image is meant --------------------------------------------------------------------------------------

Result<std::optional<Digest>> Images::DigestOf(const api::Tenant& tenant, const std::string& image) {
  if (image.starts_with(kDigestStart)) return std::optional(TRY(CompleteDigest(tenant, image)));
  const image::Reference reference = TRY(image::ParseReference(image));
  if (reference.digest) return reference.digest;
  const std::optional<image::RememberedTag> tag = TRY(images_.FindTag(tenant.name, image));
  return tag ? std::optional(tag->digest) : std::nullopt;
}

// The digest whose first digits these are, among those that the tenant may know of.
Result<Digest> Images::CompleteDigest(const api::Tenant& tenant, const std::string& text) {
  const Result<Digest> whole = Digest::Parse(text);
  if (whole || text.size() < kDigestStart.size() + kLeastDigits) return whole;
  std::set<Digest> found;
  for (const queue::ImageGrant& grant : TRY(jobs_.ImageGrants(tenant.id)))
    if (grant.manifest.ToString().starts_with(text)) found.insert(grant.manifest);
  if (found.empty()) return NoSuchImage(text);
  if (found.size() > 1) return Fail(ErrorCode::kInvalid, "several digests begin with {}: give more of it", text);
  return *found.begin();
}

// A right that has ended still lets the tenant know of the image, but no more.
Result<Images::Known> Images::Find(const api::Tenant& tenant, const std::string& image) {
  const std::optional<Digest> digest = TRY(DigestOf(tenant, image));
  if (!digest) return NoSuchImage(image);
  Known known{.digest = *digest, .repository = {}, .record = TRY(images_.Find(*digest))};
  std::set<std::string> repositories;
  for (const queue::ImageGrant& grant : TRY(jobs_.ImageGrants(tenant.id)))
    if (grant.manifest == *digest || (known.record && grant.manifest == known.record->manifest))
      repositories.insert(grant.repository);
  if (repositories.empty()) return NoSuchImage(image);
  known.repository = *repositories.begin();
  if (known.record && repositories.contains(known.record->repository)) known.repository = known.record->repository;
  if (!image.starts_with(kDigestStart))
    if (const std::string named = TRY(image::ParseReference(image)).repository(); repositories.contains(named))
      known.repository = named;
  return known;
}

Result<Images::Known> Images::FindStored(const api::Tenant& tenant, const std::string& image) {
  Known known = TRY(Find(tenant, image));
  if (!known.record) return NoSuchImage(image);
  return known;
}

// Every digest that the tenant has or had a right to and that leads to this image.
Result<std::vector<Digest>> Images::DigestsOf(queue::TenantId tenant, const Known& known) {
  std::set<Digest> digests{known.digest};
  if (known.record) digests.insert({known.record->manifest, known.record->index});
  for (const queue::ImageGrant& grant : TRY(jobs_.ImageGrants(tenant))) {
    if (digests.contains(grant.manifest) || !known.record) continue;
    const std::optional<image::ImageRecord> record = TRY(images_.Find(grant.manifest));
    if (record && record->manifest == known.record->manifest) digests.insert(grant.manifest);
  }
  return std::vector<Digest>(digests.begin(), digests.end());
}

Result<bool> Images::OthersHold(queue::TenantId tenant, const Digest& manifest) {
  const int holders = TRY(jobs_.ImageHolders(manifest));
  for (const queue::ImageGrant& grant : TRY(jobs_.ImageGrants(tenant)))
    if (grant.manifest == manifest && TRY(jobs_.MayUseImage(tenant, grant.repository, manifest))) return holders > 1;
  return holders > 0;
}

// What a registry says of a tag proves nothing: a name counts in a repository that gave the tenant a right to its
// digest.
Result<Images::Names> Images::NamesOf(const api::Tenant& tenant, const std::vector<queue::ImageGrant>& grants) {
  std::set<std::pair<std::string, Digest>> granted;
  for (const queue::ImageGrant& grant : grants) granted.emplace(grant.repository, grant.manifest);
  std::map<Digest, Digest> manifests;  // of each digest: an index leads to one
  Names names;
  for (const auto& [name, digest] : TRY(images_.Names(tenant.name))) {
    if (!granted.contains({TRY(image::ParseReference(name)).repository(), digest})) continue;
    auto manifest = manifests.find(digest);
    if (manifest == manifests.end()) {
      const std::optional<image::ImageRecord> record = TRY(images_.Find(digest));
      manifest = manifests.emplace(digest, record ? record->manifest : digest).first;
    }
    names[manifest->second].push_back(name);
  }
  for (auto& [manifest, list] : names) std::sort(list.begin(), list.end());
  return names;
}

Result<api::ImageSummary> Images::SummaryFor(const api::Tenant& tenant, const image::ImageRecord& record,
                                             const std::string& repository) {
  Names names = TRY(NamesOf(tenant, TRY(jobs_.ImageGrants(tenant.id))));
  return SummaryOf(record, std::move(names[record.manifest]), repository);
}

Result<api::ImageDetails> Images::DetailsOf(const image::ImageRecord& record, const std::string& repository,
                                            api::ImageSummary summary) {
  api::ImageDetails details{.summary = std::move(summary),
                            .index_digest = record.index == record.manifest ? "" : record.index.ToString(),
                            .config = ConfigOf(record.config),
                            .layers = {},
                            .signature = std::string(ToString(TRY(images_.Signature(record, repository))))};
  for (const image::LayerRecord& layer : record.layers)
    details.layers.push_back({.digest = layer.digest.ToString(),
                              .diff_id = layer.diff_id.ToString(),
                              .compressed_bytes = layer.compressed_bytes,
                              .unpacked_bytes = layer.unpacked_bytes,
                              .entries = layer.entries});
  return details;
}

// ---- Look and remove -------------------------------------------------------------------------------------------

// Whoever has a right through an index has one to the manifest that it led to, so the manifest alone is looked for.
Result<std::vector<api::ImageSummary>> Images::ListImages(const api::Tenant& tenant) {
  const std::vector<queue::ImageGrant> grants = TRY(jobs_.ImageGrants(tenant.id));
  std::map<Digest, std::string> granted;  // and a repository of each
  for (const queue::ImageGrant& grant : grants) granted.emplace(grant.manifest, grant.repository);
  Names names = TRY(NamesOf(tenant, grants));
  std::vector<api::ImageSummary> summaries;
  for (const image::ImageRecord& record : TRY(images_.List()))
    if (const auto found = granted.find(record.manifest); found != granted.end())
      summaries.push_back(SummaryOf(record, std::move(names[record.manifest]), found->second));
  return summaries;
}

Result<std::string> Images::NormaliseReference(const std::string& text) { return image::NormaliseReference(text); }

Result<api::ImageDetails> Images::Inspect(const api::Tenant& tenant, const std::string& image) {
  const Known known = TRY(FindStored(tenant, image));
  return DetailsOf(*known.record, known.repository, TRY(SummaryFor(tenant, *known.record, known.repository)));
}

// The data first: a right to what is no longer there is only one more pull, data without a right is nobody's.
Result<void> Images::Remove(const api::Tenant& tenant, const std::string& image) {
  const Known known = TRY(Find(tenant, image));
  if (known.record && !TRY(OthersHold(tenant.id, known.record->manifest))) {
    const Result<image::CollectReport> removed = images_.Remove(known.record->manifest);
    if (!removed && removed.error().code != ErrorCode::kNotFound) return tl::unexpected(removed.error());
  }
  const std::vector<Digest> digests = TRY(DigestsOf(tenant.id, known));
  for (const Digest& digest : digests) TRY(jobs_.RevokeImage(tenant.id, digest));
  return images_.ForgetTags(tenant.name, digests);
}

Result<api::CollectReport> Images::Collect(bool all) {
  const image::CollectReport report = TRY(images_.Collect({.all = all}));
  return api::CollectReport{.images = report.images, .layers = report.layers, .bytes = report.bytes};
}

// ---- What takes long -------------------------------------------------------------------------------------------

Result<api::ImageDetails> Images::Pull(const api::Tenant& tenant, const std::string& reference, api::PullPolicy policy,
                                       const api::LongCall& call) {
  const executor::BroughtImage image = TRY(access_.Bring(
      {.tenant = tenant.id, .reference = reference, .pinned = {}, .policy = PolicyOf(policy), .imports_win = false},
      ContextOf(tenant, call)));
  api::ImageSummary summary = TRY(SummaryFor(tenant, image.record, image.reference.repository));
  summary.reference = image.reference.reference;
  return DetailsOf(image.record, image.reference.repository, std::move(summary));
}

// A right that outlived its image is enough for a repair: it pulls.
Result<api::ImageVerdict> Images::Verify(const api::Tenant& tenant, const std::string& image, bool repair,
                                         const api::LongCall& call) {
  Known known = TRY(repair ? Find(tenant, image) : FindStored(tenant, image));
  const image::PullContext context = ContextOf(tenant, call);
  const image::ImageVerdict verdict =
      TRY(repair ? images_.Repair(known.digest, known.reference(), context) : images_.Verify(known.digest, context));
  if (!known.record) known = TRY(FindStored(tenant, image));
  api::ImageVerdict result{.image = TRY(SummaryFor(tenant, *known.record, known.repository)), .layers = {}};
  for (auto layer = verdict.layers.rbegin(); layer != verdict.layers.rend(); ++layer)
    result.layers.push_back(CheckOf(*layer));
  return result;
}

// As a job would get it: by a right that holds now, under the policy, and from nobody else.
Result<void> Images::Export(const api::Tenant& tenant, const std::string& image,
                            const std::function<Result<void>(std::string_view)>& sink, const api::LongCall& call) {
  const Known known = TRY(FindStored(tenant, image));
  const executor::BroughtImage brought =
      TRY(access_.Bring({.tenant = tenant.id,
                         .reference = known.repository + "@" + known.record->manifest.ToString(),
                         .pinned = {},
                         .policy = image::PullPolicy::kNever},
                        ContextOf(tenant, call)));
  return images_.Export(brought.record.manifest, sink, call.cancelled);
}

// ---- Import ----------------------------------------------------------------------------------------------------

Result<bool> Images::HasUpload(const api::Tenant& tenant, const std::string& digest) {
  return images_.HasUpload(tenant.name, TRY(Digest::Parse(digest)));
}

Result<std::unique_ptr<api::BlobUpload>> Images::StartUpload(const api::Tenant& tenant, const std::string& digest) {
  return std::make_unique<Upload>(TRY(images_.StartUpload(tenant.name, TRY(Digest::Parse(digest)))));
}

uint64_t Images::max_blob_bytes() const { return image::kMaxLayerBytes; }

Result<api::ImportOutcome> Images::Import(const api::Tenant& tenant, const api::ImportRequest& request,
                                          const api::LongCall& call) {
  const image::Reference reference = TRY(image::ParseReference(request.reference));
  const auto grant = [&](const image::ImageRecord& record) -> Result<void> {
    for (const Digest& digest : std::set{record.manifest, record.index})
      TRY(jobs_.GrantImage(tenant.id, reference.repository(), digest, /*permanent=*/true));
    return {};
  };
  const image::ImportRequest order{
      .tenant = tenant.name, .reference = request.reference, .manifest = request.manifest, .on_record = grant};
  api::ImportOutcome outcome;
  for (const Digest& digest : TRY(images_.MissingBlobs(order))) outcome.missing.push_back(digest.ToString());
  if (!outcome.missing.empty()) return outcome;
  const image::ImageRecord record = TRY(images_.Import(order, ContextOf(tenant, call)));
  api::ImageSummary summary = TRY(SummaryFor(tenant, record, reference.repository()));
  summary.reference = reference.ToString() + "@" + record.index.ToString();
  outcome.image = TRY(DetailsOf(record, reference.repository(), std::move(summary)));
  return outcome;
}

}  // namespace caisson::daemon
