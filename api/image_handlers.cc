// SPDX-License-Identifier: Apache-2.0
#include "api/image_handlers.h"

#include <utility>

#include "api/image_streams.h"
#include "api/image_view.h"
#include "base/encoding.h"

namespace caisson::api {
namespace {

Tenant TenantOf(const Request& request) { return {request.caller.tenant, request.caller.tenant_name}; }

// What a long call keeps of a request for the words of its answer.
Request WithoutBody(const Request& request) {
  Request copy;
  copy.method = request.method;
  copy.path = request.path;
  copy.id = request.id;
  copy.caller = request.caller;
  return copy;
}

Response ToResponse(Answer answer, const Request& request) {
  return answer ? *std::move(answer) : ToResponse(answer.error(), request);
}

Json ItemsOf(Json::Array items) {
  Json json = Json::MakeObject();
  json.Set("items", std::move(items));
  return json;
}

}  // namespace

void ImageHandlers::Stop() {
  pulls_.Stop();
  store_calls_.Stop();
  exports_.Stop();
}

Answer ImageHandlers::Later(LongCalls& calls, std::string_view what, const Request& request,
                            std::function<Answer(const LongCall&)> work) {
  auto token = std::make_shared<CallToken>();
  auto pending = std::make_shared<PendingAnswer>(token);
  const bool started =
      calls.Start(request.caller.tenant, token, [token, pending, work = std::move(work), copy = WithoutBody(request)] {
        pending->Set(ToResponse(work({.progress = {}, .cancelled = token->cancelled()}), copy));
      });
  if (!started) return tl::unexpected(TooMany(what));
  return PendingAnswer::ResponseOf(pending);
}

Answer ImageHandlers::List(const Request& request) {
  auto images = images_.ListImages(TenantOf(request));
  if (!images) return tl::unexpected(ProblemOf(images.error(), request));
  Json::Array items;
  for (const ImageSummary& image : *images) items.push_back(ImageView(image));
  return JsonResponse(200, ItemsOf(std::move(items)));
}

Answer ImageHandlers::Pull(const Request& request) {
  auto pull = ParseBodyWith(request, ParsePullRequest);
  if (!pull) return tl::unexpected(std::move(pull).error());
  if (const auto normal = images_.NormaliseReference(pull->reference); !normal)
    return tl::unexpected(Invalid({{.pointer = "/reference", .detail = normal.error().message}}));
  if (AcceptsEvents(request.Header("accept"))) return PullWithEvents(request, *pull);
  return Later(pulls_, "pulls", request,
               [this, pull = *std::move(pull), copy = WithoutBody(request)](const LongCall& call) -> Answer {
                 auto image = images_.Pull(TenantOf(copy), pull.reference, pull.policy, call);
                 if (!image) return tl::unexpected(ImageProblemOf(image.error(), copy));
                 return JsonResponse(200, ImageDetailsView(*image));
               });
}

Answer ImageHandlers::PullWithEvents(const Request& request, const PullRequest& pull) {
  auto events = std::make_shared<PullEvents>();
  const bool started =
      pulls_.Start(request.caller.tenant, events->token(), [this, events, pull, copy = WithoutBody(request)] {
        const LongCall call{.progress = [&events](const PullProgress& progress) { events->Progress(progress); },
                            .cancelled = events->token()->cancelled()};
        const auto image = images_.Pull(TenantOf(copy), pull.reference, pull.policy, call);
        if (image) {
          events->End("end", ImageDetailsView(*image).Dump());
        } else {
          events->End("error", ToJson(ImageProblemOf(image.error(), copy), copy).Dump());
        }
      });
  if (!started) return tl::unexpected(TooMany("pulls"));
  Response response = EventResponse();
  response.stream = PullEvents::StreamOf(events);
  return response;
}

Answer ImageHandlers::Inspect(const Request& request, const std::string& image) {
  const auto details = images_.Inspect(TenantOf(request), image);
  if (!details) return tl::unexpected(ImageProblemOf(details.error(), request));
  return JsonResponse(200, ImageDetailsView(*details));
}

Answer ImageHandlers::Remove(const Request& request, const std::string& image) {
  return Later(store_calls_, "calls that change images", request,
               [this, image, copy = WithoutBody(request)](const LongCall&) -> Answer {
                 const auto removed = images_.Remove(TenantOf(copy), image);
                 if (!removed) return tl::unexpected(ImageProblemOf(removed.error(), copy));
                 Response response;
                 response.status = 204;
                 return response;
               });
}

Answer ImageHandlers::Verify(const Request& request, const std::string& image) {
  const auto verify = ParseOptionalBodyWith(request, ParseVerifyRequest);
  if (!verify) return tl::unexpected(verify.error());
  return Later(store_calls_, "calls that change images", request,
               [this, image, repair = verify->repair, copy = WithoutBody(request)](const LongCall& call) -> Answer {
                 const auto verdict = images_.Verify(TenantOf(copy), image, repair, call);
                 if (!verdict) return tl::unexpected(ImageProblemOf(verdict.error(), copy));
                 return JsonResponse(200, VerdictView(*verdict));
               });
}

// The status is known with the archive's first bytes: until then there is no answer.
Answer ImageHandlers::Export(const Request& request, const std::string& image) {
  auto pipe = std::make_shared<RootfsPipe>();
  auto pending = std::make_shared<PendingAnswer>(pipe->token());
  const auto work = [this, pipe, pending, image, copy = WithoutBody(request)] {
    bool begun = false;
    const auto sink = [&](std::string_view bytes) -> Result<void> {
      if (!std::exchange(begun, true)) {
        Response response = TextResponse(200, "application/x-tar", "");
        response.stream = RootfsPipe::StreamOf(pipe);
        pending->Set(std::move(response));
      }
      return pipe->Write(bytes);
    };
    Result<void> exported =
        images_.Export(TenantOf(copy), image, sink, {.progress = {}, .cancelled = pipe->token()->cancelled()});
    if (begun) return pipe->End(std::move(exported));
    if (exported) exported = Fail(ErrorCode::kInternal, "the export of {} is empty", EscapeForLog(image, 200));
    pending->Set(api::ToResponse(ImageProblemOf(exported.error(), copy), copy));
  };
  if (!exports_.Start(request.caller.tenant, pipe->token(), work)) return tl::unexpected(TooMany("exports"));
  return PendingAnswer::ResponseOf(pending);
}

Answer ImageHandlers::Collect(const Request& request) {
  const auto collect = ParseOptionalBodyWith(request, ParseCollectRequest);
  if (!collect) return tl::unexpected(collect.error());
  return Later(store_calls_, "calls that change images", request,
               [this, all = collect->all, copy = WithoutBody(request)](const LongCall&) -> Answer {
                 const auto report = images_.Collect(all);
                 if (!report) return tl::unexpected(ImageProblemOf(report.error(), copy));
                 return JsonResponse(200, CollectReportView(*report));
               });
}

// ---- Imports
// -----------------------------------------------------------------------------------------------------------

class ImageHandlers::BlobSink final : public BodySink {
 public:
  BlobSink(std::unique_ptr<BlobUpload> upload, Request request, std::string digest, Shares& uploads)
      : upload_(std::move(upload)), request_(std::move(request)), digest_(std::move(digest)), uploads_(uploads) {}
  ~BlobSink() override {
    upload_.reset();
    uploads_.Return(request_.caller.tenant);
  }

  std::optional<Response> Write(std::string_view bytes) override {
    const Result<void> written = upload_->Write(bytes);
    if (written) return std::nullopt;
    return api::ToResponse(ImageProblemOf(written.error(), request_), request_);
  }

  Response Finish() override {
    const Result<void> finished = upload_->Finish();
    if (!finished) return api::ToResponse(ImageProblemOf(finished.error(), request_), request_);
    Json json = Json::MakeObject();
    json.Set("digest", digest_);
    return JsonResponse(201, json);
  }

 private:
  std::unique_ptr<BlobUpload> upload_;
  const Request request_;
  const std::string digest_;
  Shares& uploads_;
};

tl::expected<std::unique_ptr<BodySink>, Problem> ImageHandlers::OpenBlob(const Request& request,
                                                                         const std::string& digest) {
  if (!uploads_.Take(request.caller.tenant)) return tl::unexpected(TooMany("uploads"));
  auto upload = images_.StartUpload(TenantOf(request), digest);
  if (!upload) {
    uploads_.Return(request.caller.tenant);
    return tl::unexpected(ImageProblemOf(upload.error(), request));
  }
  return std::make_unique<BlobSink>(*std::move(upload), WithoutBody(request), digest, uploads_);
}

Answer ImageHandlers::HasBlob(const Request& request, const std::string& digest) {
  const auto has = images_.HasUpload(TenantOf(request), digest);
  if (!has) return tl::unexpected(ImageProblemOf(has.error(), request));
  if (!*has)
    return tl::unexpected(
        Problem{ProblemType::kNotFound, fmt::format("no blob {} was uploaded", EscapeForLog(digest, 80))});
  return TextResponse(200, "application/octet-stream", "");
}

Answer ImageHandlers::Import(const Request& request) {
  auto import = ParseBodyWith(request, ParseImportRequest);
  if (!import) return tl::unexpected(std::move(import).error());
  if (const auto normal = images_.NormaliseReference(import->reference); !normal)
    return tl::unexpected(Invalid({{.pointer = "/reference", .detail = normal.error().message}}));
  return Later(
      store_calls_, "calls that change images", request,
      [this, import = *std::move(import), copy = WithoutBody(request)](const LongCall& call) -> Answer {
        auto outcome = images_.Import(TenantOf(copy), import, call);
        if (!outcome) return tl::unexpected(ImageProblemOf(outcome.error(), copy));
        if (outcome->image) return JsonResponse(201, ImageDetailsView(*outcome->image));
        return tl::unexpected(Problem{
            .type = ProblemType::kConflict,
            .detail = fmt::format("{} blobs that the manifest names were not uploaded", outcome->missing.size()),
            .missing = std::move(outcome->missing)});
      });
}

}  // namespace caisson::api
