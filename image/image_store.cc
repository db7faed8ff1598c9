// SPDX-License-Identifier: Apache-2.0
#include "image/image_store.h"

#include <signal.h>

#include <algorithm>
#include <mutex>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/admission.h"
#include "image/catalogue.h"
#include "image/gc.h"
#include "image/image_check.h"
#include "image/image_pull.h"
#include "image/import_source.h"
#include "image/key_locks.h"
#include "image/layer_pins.h"
#include "image/manifest.h"
#include "image/pull_flights.h"
#include "image/records.h"
#include "image/reference.h"
#include "image/registry_client.h"
#include "image/space_keeper.h"
#include "image/uploads.h"

namespace caisson::image {
namespace {

// A worker may take 1 GiB and a core; three layers of a pull unpack at once.
constexpr int kWorkers = 16, kWorkersOfTenant = 6;

using OptionalRecord = std::optional<ImageRecord>;

tl::unexpected<Error> NoSuchImage(const Digest& digest) {
  return Fail(ErrorCode::kNotFound, "image {} is not in the store", digest.ToString());
}

class LocalImageStore final : public ImageStore {
 public:
  LocalImageStore(const ImageStoreOptions& options, Records records, const StoreSpace& space,
                  std::unique_ptr<Uploads> uploads)
      : options_(options),
        space_(space),
        records_(std::move(records)),
        uploads_(std::move(uploads)),
        locks_(options.directory + "/locks"),
        catalogue_(records_, *options.store),
        admission_(options_.policy, records_,
                   [this](const Reference& reference, const PullContext& context) {
                     return ClientFor(reference, context, context.cancelled);
                   }),
        collector_({.store = *options.store,
                    .records = records_,
                    .catalogue = catalogue_,
                    .pins = pins_,
                    .uploads = *uploads_,
                    .space = space_,
                    .clock = *options.clock,
                    .high_percent = options.gc_high_percent,
                    .low_percent = options.gc_low_percent,
                    .on_collected = options.on_collected}),
        puller_({.store = *options.store,
                 .records = records_,
                 .catalogue = catalogue_,
                 .locks = locks_,
                 .pins = pins_,
                 .space = space_,
                 .keep_space =
                     [this](uint64_t bytes, const std::atomic<bool>* cancelled) {
                       return SpaceKeeper::Make(collector_, space_, bytes, cancelled);
                     },
                 .slots = slots_,
                 .clock = *options.clock}) {
    if (options.collect_interval.count() > 0) collector_.Start(options.collect_interval);
  }

  Result<ResolvedReference> Resolve(const std::string& text, PullPolicy policy, const PullContext& context) override;
  Result<ImageRecord> Pull(const ResolvedReference& resolved, bool may_use_cached, const PullContext& context) override;
  Result<std::vector<ImageRecord>> List() override { return catalogue_.List(); }
  Result<OptionalRecord> Find(const Digest& digest) override { return catalogue_.Find(digest); }
  Result<std::optional<RememberedTag>> FindTag(const std::string& tenant, const std::string& text) override;
  Result<std::vector<std::pair<std::string, Digest>>> Names(const std::string& tenant) override;
  Result<void> ForgetTags(const std::string& tenant, const std::vector<Digest>& digests) override;

  Result<SignatureState> Signature(const ImageRecord& image, const std::string& repository) override {
    return admission_.StateOf(repository, image);
  }
  Result<CollectReport> Remove(const Digest& digest) override { return collector_.Remove(TRY(Get(digest))); }
  Result<CollectReport> Collect(const CollectOptions& options) override { return collector_.Collect(options); }

  Result<ImageVerdict> Verify(const Digest& digest, const PullContext& context) override {
    const WorkerSlots::Slot slot = TRY(slots_.Take(context.tenant, context.cancelled));
    return VerifyImage(*options_.store, records_, pins_, TRY(Get(digest)), context);
  }
  Result<ImageVerdict> Repair(const Digest& digest, const std::string& reference, const PullContext& context) override;
  Result<void> Export(const Digest& digest, const Sink& sink, const std::atomic<bool>* cancelled) override {
    const ImageRecord record = TRY(Get(digest));
    TRY(records_.TouchImage(record.manifest, options_.clock->NowMs()));
    const WorkerSlots::Slot slot = TRY(slots_.Take("", cancelled));
    return ExportImage(*options_.store, records_, pins_, record, sink, cancelled);
  }

  Result<std::unique_ptr<BlobUpload>> StartUpload(const std::string& tenant, const Digest& digest) override {
    return uploads_->Start(tenant, digest);
  }
  Result<bool> HasUpload(const std::string& tenant, const Digest& digest) override;
  Result<std::vector<Digest>> MissingBlobs(const ImportRequest& request) override;
  Result<ImageRecord> Import(const ImportRequest& request, const PullContext& context) override;

 private:
  RegistryClient ClientFor(const Reference& reference, const PullContext& context,
                           const std::atomic<bool>* cancelled) const {
    return RegistryClient(reference, {.registries = &options_.registries,
                                      .credentials = options_.credentials,
                                      .tenant = context.tenant,
                                      .cancelled = cancelled,
                                      .interactive = context.interactive});
  }
  PullOrder OrderFor(const Reference& reference, const Digest& digest, const PullContext& context);
  Result<ImageRecord> Get(const Digest& digest) const {
    OptionalRecord record = TRY(catalogue_.Find(digest));
    if (!record) return NoSuchImage(digest);
    return *std::move(record);
  }
  Result<OptionalRecord> FindCached(const ResolvedReference& resolved, const Reference& reference,
                                    const PullContext& context);
  Result<ResolvedReference> ResolveFromMemory(ResolvedReference resolved, const Reference& reference,
                                              const PullContext& context);
  Result<void> Remember(const std::string& tenant, const Reference& reference, const Digest& digest, bool imported);
  Result<void> CheckImport(const Reference& reference, const ImportRequest& request);

  const ImageStoreOptions options_;
  const StoreSpace space_;
  const Records records_;
  const std::unique_ptr<Uploads> uploads_;
  KeyLocks locks_;
  LayerPins pins_;
  const Catalogue catalogue_;
  const Admission admission_;
  PullFlights flights_;
  WorkerSlots slots_{kWorkers, kWorkersOfTenant};
  std::mutex tags_;  // two writers of one tag
  Collector collector_;
  ImagePuller puller_;
};

// ---- Resolve ----------------------------------------------------------------------------------------------------

// What the tag memory calls it: without a digest.
std::string TagKey(Reference reference) {
  reference.digest.reset();
  return reference.ToString();
}

Result<ResolvedReference> LocalImageStore::Resolve(const std::string& text, PullPolicy policy,
                                                   const PullContext& context) {
  const Reference reference = TRY(ParseReference(text));
  TRY(admission_.CheckAllowed(context.tenant, reference.repository()));
  ResolvedReference resolved{.reference = reference.ToString(),
                             .repository = reference.repository(),
                             .digest = {},
                             .cached_only = policy == PullPolicy::kNever};
  if (reference.digest) {
    resolved.digest = *reference.digest;
    return resolved;
  }
  if (policy != PullPolicy::kAlways) {
    resolved = TRY(ResolveFromMemory(std::move(resolved), reference, context));
    if (resolved.digest != Digest{}) return resolved;
  }
  RegistryClient registry = ClientFor(reference, context, context.cancelled);
  resolved.digest = TRY_IN("resolve " + reference.ToString(), registry.ResolveTag(reference.tag));
  resolved.reference += "@" + resolved.digest.ToString();
  TRY(Remember(context.tenant, reference, resolved.digest, /*imported=*/false));
  return resolved;
}

// Without a digest where the registry has to be asked.
Result<ResolvedReference> LocalImageStore::ResolveFromMemory(ResolvedReference resolved, const Reference& reference,
                                                             const PullContext& context) {
  const std::optional<TagRecord> tag = TRY(records_.FindTag(context.tenant, TagKey(reference)));
  // The memory holds what a registry said. Only for what that repository has sent us does the answer depend on the
  // store: else its owner would see, by whether we ask again, what other tenants have.
  const bool proven = tag && (TRY(records_.WasServed(tag->digest, reference.repository())) ||
                              TRY(records_.WasServed(tag->digest, ImportRepository(context.tenant))));
  if (tag && (resolved.cached_only || (proven && TRY(catalogue_.FindUsable(tag->digest))))) {
    resolved.digest = tag->digest;
    resolved.reference += "@" + tag->digest.ToString();
  } else if (resolved.cached_only) {
    return Fail(ErrorCode::kNotFound,
                "resolve {}: it was never pulled here, and the pull policy \"never\" asks no registry: pull it with "
                "\"caisson image pull\", or use the policy \"if-missing\"",
                reference.ToString());
  }
  return resolved;
}

Result<void> LocalImageStore::Remember(const std::string& tenant, const Reference& reference, const Digest& digest,
                                       bool imported) {
  const std::lock_guard lock(tags_);
  const std::string key = TagKey(reference);
  const std::optional<TagRecord> known = TRY(records_.FindTag(tenant, key));
  if (!known && !TRY(records_.MakeRoomForTag(tenant))) {
    if (!imported) return {};  // the registry is asked again the next time
    return Fail(ErrorCode::kExhausted, "{} has too many imported names: remove some with \"caisson image rm\"", tenant);
  }
  if (known && known->digest == digest && known->imported == imported) return {};  // no write for each job
  return records_.PutTag({.tenant = tenant, .reference = key, .digest = digest, .imported = imported});
}

Result<std::optional<RememberedTag>> LocalImageStore::FindTag(const std::string& tenant, const std::string& text) {
  const std::optional<TagRecord> tag = TRY(records_.FindTag(tenant, TagKey(TRY(ParseReference(text)))));
  if (!tag) return std::optional<RememberedTag>();
  return std::optional(RememberedTag{.digest = tag->digest, .imported = tag->imported});
}

Result<std::vector<std::pair<std::string, Digest>>> LocalImageStore::Names(const std::string& tenant) {
  std::vector<std::pair<std::string, Digest>> names;
  for (const TagRecord& tag : TRY(records_.ListTags(tenant))) names.emplace_back(tag.reference, tag.digest);
  return names;
}

Result<void> LocalImageStore::ForgetTags(const std::string& tenant, const std::vector<Digest>& digests) {
  const std::lock_guard lock(tags_);
  for (const TagRecord& tag : TRY(records_.ListTags(tenant)))
    if (std::find(digests.begin(), digests.end(), tag.digest) != digests.end()) TRY(records_.RemoveTag(tag));
  return {};
}

// ---- Pull -------------------------------------------------------------------------------------------------------

PullOrder LocalImageStore::OrderFor(const Reference& reference, const Digest& digest, const PullContext& context) {
  return {
      .reference = reference,
      .digest = digest,
      .make_source = [this, reference, &context](const std::atomic<bool>* cancelled) -> std::unique_ptr<ImageSource> {
        return std::make_unique<RegistryClient>(reference, RegistryAccess{.registries = &options_.registries,
                                                                          .credentials = options_.credentials,
                                                                          .tenant = context.tenant,
                                                                          .cancelled = cancelled,
                                                                          .interactive = context.interactive});
      },
      .admit = [this, reference, digest, &context](
                   const Digest& manifest) { return admission_.CheckSigned(reference, digest, manifest, context); }};
}

Result<OptionalRecord> LocalImageStore::FindCached(const ResolvedReference& resolved, const Reference& reference,
                                                   const PullContext& context) {
  OptionalRecord record = TRY(catalogue_.FindUsable(resolved.digest));
  if (!record) return record;
  TRY(admission_.CheckSigned(reference, resolved.digest, record->manifest, context));
  TRY(records_.TouchImage(record->manifest, options_.clock->NowMs()));
  return record;
}

Result<ImageRecord> LocalImageStore::Pull(const ResolvedReference& resolved, bool may_use_cached,
                                          const PullContext& context) {
  const Reference reference = TRY(ParseReference(resolved.reference));
  TRY(admission_.CheckAllowed(context.tenant, reference.repository()));
  if (may_use_cached)
    if (OptionalRecord record = TRY_IN("use " + resolved.reference, FindCached(resolved, reference, context)))
      return *std::move(record);
  if (resolved.cached_only)
    return Fail(
        ErrorCode::kNotFound,
        "use {}: {}, and no registry is asked under the pull policy \"never\", nor for an imported name: pull it "
        "with \"caisson image pull\", or import it again",
        resolved.reference, may_use_cached ? "it is not in the store" : "the right to use it without asking has ended");
  const std::string key = context.tenant + "\n" + resolved.repository + "\n" + resolved.digest.ToString();
  Result<ImageRecord> record = flights_.Run(key, context, [&](const PullContext& shared) {
    return puller_.Pull(OrderFor(reference, resolved.digest, shared), shared);
  });
  collector_.Wake();
  if (!record) return tl::unexpected(std::move(record).error().Context("pull " + reference.ToString()));
  return record;
}

Result<ImageVerdict> LocalImageStore::Repair(const Digest& digest, const std::string& text,
                                             const PullContext& context) {
  const Reference reference = TRY(ParseReference(text));
  TRY(admission_.CheckAllowed(context.tenant, reference.repository()));
  const std::string what = "repair " + reference.ToString();
  const OptionalRecord record = TRY(catalogue_.Find(digest));
  if (!record) {  // its record was damaged and set aside
    TRY_IN(what, puller_.Pull(OrderFor(reference, digest, context), context));
    return Verify(digest, context);
  }
  std::vector<LayerName> damaged;
  const ImageVerdict before = TRY(Verify(digest, context));
  for (const LayerVerdict& layer : before.layers)
    if (layer.state != LayerVerdict::kOk) damaged.push_back(layer.name);
  if (damaged.empty()) return before;
  if (TRY(records_.WasServed(record->manifest, ImportRepository(context.tenant))) &&
      !TRY(records_.WasServed(record->manifest, reference.repository())))
    return Fail(ErrorCode::kUnsupported,
                "{}: it was imported, so no registry has it: remove it with \"caisson image rm\" and import it again",
                what);
  TRY_IN(what, puller_.Replace(OrderFor(reference, digest, context), *record, damaged, context));
  ImageVerdict after = TRY(Verify(digest, context));
  for (LayerVerdict& layer : after.layers)
    layer.repaired =
        layer.state == LayerVerdict::kOk && std::find(damaged.begin(), damaged.end(), layer.name) != damaged.end();
  return after;
}

// ---- Import -----------------------------------------------------------------------------------------------------

// Uploaded, or there already from an earlier import of the same tenant.
Result<bool> LocalImageStore::HasUpload(const std::string& tenant, const Digest& digest) {
  if (TRY(uploads_->Has(tenant, digest))) return true;
  if (!TRY(records_.WasServed(digest, ImportRepository(tenant)))) return false;
  if (TRY(records_.FindBlob(digest))) return true;
  const Result<std::optional<UnpackReport>> layer = records_.FindLayer(digest);
  return layer && *layer && TRY(options_.store->HasLayer(LayerName::Of(digest)));
}

Result<std::vector<Digest>> LocalImageStore::MissingBlobs(const ImportRequest& request) {
  auto document = TRY_IN("manifest", ParseManifest(request.manifest, ""));
  if (const Index* index = std::get_if<Index>(&document)) {
    const Descriptor chosen = TRY_IN("index", SelectPlatform(*index));
    if (!TRY(HasUpload(request.tenant, chosen.digest))) return std::vector{chosen.digest};
    ImportSource source(*uploads_, records_, request.tenant, request.manifest);
    const ManifestBytes bytes = TRY(source.GetManifest(chosen.digest));
    document = TRY_IN("manifest", ParseManifest(bytes.bytes, chosen.media_type));
    if (!std::holds_alternative<Manifest>(document))
      return Fail(ErrorCode::kInvalid, "index: its entry is an index again");
  }
  std::vector<Digest> missing;
  const Manifest& manifest = std::get<Manifest>(document);
  const auto look = [&](const Digest& digest) -> Result<void> {
    if (!TRY(HasUpload(request.tenant, digest)) && std::find(missing.begin(), missing.end(), digest) == missing.end())
      missing.push_back(digest);
    return {};
  };
  TRY(look(manifest.config.digest));
  for (const LayerDescriptor& layer : manifest.layers) TRY(look(layer.descriptor.digest));
  return missing;
}

Result<void> LocalImageStore::CheckImport(const Reference& reference, const ImportRequest& request) {
  if (reference.digest)
    return Fail(ErrorCode::kInvalid, "import as {}: the name of an import has no digest", reference.ToString());
  TRY(admission_.CheckAllowed(request.tenant, reference.repository()));
  TRY(admission_.CheckImport(reference));
  const std::vector<Digest> missing = TRY(MissingBlobs(request));
  if (missing.empty()) return {};
  return Fail(ErrorCode::kNotFound, "import as {}: {} blobs were not uploaded, among them {}", reference.ToString(),
              missing.size(), missing.front().ToString());
}

Result<ImageRecord> LocalImageStore::Import(const ImportRequest& request, const PullContext& context) {
  const Reference reference = TRY(ParseReference(request.reference));
  TRY(CheckImport(reference, request));
  const std::string what = "import as " + reference.ToString();
  Reference named = reference;
  named.digest = Sha256Of(request.manifest);
  const PullOrder order{.reference = named,
                        .digest = *named.digest,
                        .make_source = [&](const std::atomic<bool>*) -> std::unique_ptr<ImageSource> {
                          return std::make_unique<ImportSource>(*uploads_, records_, request.tenant, request.manifest);
                        },
                        .admit = {},
                        .on_record = [&](const ImageRecord& record) -> Result<void> {
                          if (request.on_record) TRY(request.on_record(record));
                          return Remember(request.tenant, reference, *named.digest, /*imported=*/true);
                        }};
  ImageRecord record = TRY_IN(what, puller_.Pull(order, context));
  uploads_->Remove(request.tenant, record.manifest);
  for (const LayerRecord& layer : record.layers) uploads_->Remove(request.tenant, layer.digest);
  collector_.Wake();
  return record;
}

}  // namespace

std::string_view ToString(PullPolicy policy) {
  switch (policy) {
    case PullPolicy::kAlways: return "always";
    case PullPolicy::kIfMissing: return "if-missing";
    case PullPolicy::kNever: return "never";
  }
  return "";
}

std::optional<PullPolicy> ParsePullPolicy(std::string_view text) {
  for (const PullPolicy policy : {PullPolicy::kAlways, PullPolicy::kIfMissing, PullPolicy::kNever})
    if (text == ToString(policy)) return policy;
  return std::nullopt;
}

std::string_view ToString(LayerProgress::State state) {
  switch (state) {
    case LayerProgress::kWaiting: return "waiting";
    case LayerProgress::kDownloading: return "downloading";
    case LayerProgress::kUnpacking: return "unpacking";
    case LayerProgress::kDone: return "done";
    case LayerProgress::kCached: return "cached";
  }
  return "";
}

bool ImageVerdict::ok() const {
  return std::all_of(layers.begin(), layers.end(),
                     [](const LayerVerdict& layer) { return layer.state == LayerVerdict::kOk; });
}

Result<std::unique_ptr<ImageStore>> OpenImageStore(const ImageStoreOptions& options) {
  CHECK(options.store);
  Records records = TRY_IN("open the image store", Records::Open(options.directory));
  TRY_IN("open the image store", records.Sweep());
  TRY_IN("open the image store", MakeDirectories(options.directory + "/locks", 0700));
  const StoreSpace space(options.directory, options.min_free_bytes, options.space ? options.space : SpaceOf);
  std::unique_ptr<Uploads> uploads =
      TRY_IN("open the image store", Uploads::Open(options.directory + "/partial", space, *options.clock));
  ::signal(SIGPIPE, SIG_IGN);  // a worker that refuses its layer ends while we write to it
  return std::make_unique<LocalImageStore>(options, std::move(records), space, std::move(uploads));
}

}  // namespace caisson::image
