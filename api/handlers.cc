// SPDX-License-Identifier: Apache-2.0
#include "api/handlers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/auth.h"
#include "api/job_request.h"
#include "api/job_view.h"
#include "api/log_query.h"
#include "api/log_stream.h"
#include "api/openapi_document.h"
#include "base/encoding.h"
#include "base/log.h"

namespace caisson::api {
namespace {

constexpr size_t kSmallBodyBytes = 64 << 10;  // of every request but a job's
constexpr JsonLimits kJsonLimits{.max_bytes = SIZE_MAX, .max_depth = 32, .max_values = 200'000};
constexpr int kDefaultPage = 50;
constexpr int kMaxPage = 200;

Response JsonResponse(int status, const Json& json) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = json.Dump() + "\n";
  return response;
}

Response TextResponse(int status, std::string_view type, std::string body) {
  Response response;
  response.status = status;
  response.content_type = type;
  response.body = std::move(body);
  return response;
}

Problem Draining() {
  return {.type = ProblemType::kUnavailable,
          .detail = "this node is shutting down and takes no new jobs; another node, or this one in a while, will",
          .headers = {{"Retry-After", "30"}}};
}

Problem Invalid(std::vector<FieldError> errors) {
  const FieldError& first = errors.front();
  std::string detail = fmt::format("{}: {}", first.pointer.empty() ? "the body" : first.pointer, first.detail);
  if (errors.size() > 1) detail += fmt::format(" (and {} more)", errors.size() - 1);
  return {.type = ProblemType::kInvalidRequest, .detail = std::move(detail), .errors = std::move(errors)};
}

// JSON under any of the names that clients send it with: `curl -d` says it is a form, some say nothing.
std::optional<Problem> CheckContentType(const Request& request) {
  const std::string type = MediaType(request.Header("content-type"));
  const auto unsupported = [](std::string detail) {
    return Problem{.type = ProblemType::kUnsupportedMediaType,
                   .detail = std::move(detail),
                   .headers = {{"Accept", "application/json"}}};
  };
  if (!type.empty() && type != "application/json" && type != "application/x-www-form-urlencoded")
    return unsupported(fmt::format("the body must be application/json, not {}", EscapeForLog(type)));
  const std::string coding = MediaType(request.Header("content-encoding"));
  if (!coding.empty() && coding != "identity")
    return unsupported(fmt::format("the body must not be encoded, and is {}", EscapeForLog(coding)));
  return std::nullopt;
}

tl::expected<Json, Problem> ParseBody(const Request& request) {
  if (request.body.empty()) return tl::unexpected(Problem{ProblemType::kMalformedJson, "the body is empty"});
  Result<Json> json = ParseJson(request.body, kJsonLimits);
  if (!json) return tl::unexpected(Problem{ProblemType::kMalformedJson, json.error().message});
  return *std::move(json);
}

std::optional<Problem> RefuseParameters(const Request& request) {
  if (request.query.empty()) return std::nullopt;
  return Problem::InvalidParameter(EscapeForLog(request.query.front().first, 64),
                                   "is unknown: this path has no parameters");
}

tl::expected<std::vector<queue::JobState>, Problem> ParseStates(std::string_view text) {
  std::vector<queue::JobState> states;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::optional<queue::JobState> state = queue::ParseJobState(text.substr(0, end));
    if (!state)
      return tl::unexpected(Problem::InvalidParameter(
          "state", fmt::format("\"{}\" is no state; known: blocked, scheduled, queued, preparing, running, succeeded, "
                               "failed, cancelled",
                               EscapeForLog(text.substr(0, end), 64))));
    states.push_back(*state);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return states;
}

tl::expected<queue::ListFilter, Problem> ParseListFilter(const Request& request) {
  queue::ListFilter filter{.tenant = request.caller.tenant, .limit = kDefaultPage};
  for (const auto& [name, value] : request.query) {
    if (name == "state") {
      auto states = ParseStates(value);
      if (!states) return tl::unexpected(std::move(states).error());
      filter.states = *std::move(states);
    } else if (name == "limit") {
      const auto limit = ParseDecimal(value);
      if (!limit || *limit < 1 || *limit > kMaxPage)
        return tl::unexpected(Problem::InvalidParameter("limit", fmt::format("must be from 1 to {}", kMaxPage)));
      filter.limit = static_cast<int>(*limit);
    } else if (name == "cursor") {
      filter.cursor = value;
    } else {
      return tl::unexpected(
          Problem::InvalidParameter(EscapeForLog(name, 64), "is unknown; known here: state, limit, cursor"));
    }
  }
  return filter;
}

std::string PercentEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

// The same question about the page after (RFC 8288).
std::string NextLink(const queue::ListFilter& filter, const std::string& cursor) {
  std::string states;
  for (const queue::JobState state : filter.states)
    states += fmt::format("{}{}", states.empty() ? "" : ",", ToString(state));
  if (!states.empty()) states = "state=" + states + "&";
  return fmt::format("</v1/jobs?{}limit={}&cursor={}>; rel=\"next\"", states, filter.limit, PercentEncode(cursor));
}

Response PlainLog(queue::LogStore& logs, const queue::JobId& id, const LogQuery& query, const queue::LogState& state,
                  std::string_view range_header) {
  RangeRequest range{RangeRequest::Kind::kWhole, {query.after, state.bytes}};
  if (!range_header.empty()) range = ParseRange(range_header, state.bytes);
  Response response = TextResponse(200, "text/plain", "");
  if (!query.stream) response.headers.push_back({"Accept-Ranges", "bytes"});
  if (range.kind == RangeRequest::Kind::kPart) {
    response.status = 206;
    response.headers.push_back(
        {"Content-Range", fmt::format("bytes {}-{}/{}", range.part.first, range.part.end - 1, state.bytes)});
  }
  response.stream = MakeLogBytes(logs, id, range.part, query.stream);
  return response;
}

Problem BeyondTheLog(uint64_t end) {
  return {.type = ProblemType::kRangeNotSatisfiable,
          .detail = fmt::format("the log ends at position {}", end),
          .headers = {{"Content-Range", fmt::format("bytes */{}", end)}}};
}

}  // namespace

Handlers::Handlers(const ApiOptions& options, const ApiDependencies& dependencies)
    : options_(options), dependencies_(dependencies), changes_(std::make_shared<ChangeFeed>()) {}

void Handlers::OnJobChanged(const queue::JobId& id, queue::JobState state) {
  if (queue::IsFinal(state)) metrics_.CountFinished(state);
  changes_->Report(id);
}

HttpService::Plan Handlers::Begin(const Request& request) {
  const auto match = FindRoute(request);
  if (!match) return {ToResponse(match.error(), request), 0};
  switch (match->route->endpoint) {
    case Endpoint::kLive: return {TextResponse(200, "text/plain", "ok\n"), 0};
    case Endpoint::kDocument: return {TextResponse(200, "application/yaml", std::string(OpenApiDocument())), 0};
    default: break;
  }
  if (refusing_) return {ToResponse(Draining(), request), 0};
  const bool job = match->route->endpoint == Endpoint::kSubmitJob;
  return {std::nullopt, job ? options_.max_body_bytes : kSmallBodyBytes};
}

std::optional<Response> Handlers::Admit(Request& request) {
  const auto match = FindRoute(request);
  if (!match) return ToResponse(match.error(), request);
  auto caller = Authenticate(request, match->route->access, options_.admin_gid, *dependencies_.store);
  if (!caller) return ToResponse(caller.error(), request);
  request.caller = *std::move(caller);
  if (match->route->takes_body)
    if (const auto problem = CheckContentType(request)) return ToResponse(*problem, request);
  if (match->route->endpoint == Endpoint::kSubmitJob && dependencies_.node->Draining())
    return ToResponse(Draining(), request);
  return std::nullopt;
}

Response Handlers::Handle(const Request& request) {
  const auto match = FindRoute(request);
  if (!match) return ToResponse(match.error(), request);
  Answer answer = Dispatch(request, *match);
  return answer ? *std::move(answer) : ToResponse(answer.error(), request);
}

void Handlers::Answered(const Request& request, int status) {
  const auto match = FindRoute(request);
  if (match) metrics_.CountRequest(match->route->method, match->route->pattern, status);
}

Handlers::Answer Handlers::Dispatch(const Request& request, const RouteMatch& match) {
  switch (match.route->endpoint) {
    case Endpoint::kListJobs:
    case Endpoint::kGetLogs: break;  // have parameters of their own
    default:
      if (auto problem = RefuseParameters(request)) return tl::unexpected(*std::move(problem));
  }
  switch (match.route->endpoint) {
    case Endpoint::kSubmitJob: return SubmitJob(request);
    case Endpoint::kListJobs: return ListJobs(request);
    case Endpoint::kGetJob: return GetJob(request, match.id);
    case Endpoint::kCancelJob: return CancelJob(request, match.id);
    case Endpoint::kGetLogs: return GetLogs(request, match.id);
    case Endpoint::kListImages: return ListImages(request);
    case Endpoint::kCreateToken: return CreateToken(request);
    case Endpoint::kGetNode: return GetNode(request);
    case Endpoint::kReady: return GetReadiness(request);
    case Endpoint::kMetrics: return GetMetrics(request);
    case Endpoint::kLive:
    case Endpoint::kDocument: break;  // answered in Begin
  }
  return tl::unexpected(Problem{ProblemType::kNotFound, "there is no such path"});
}

Handlers::Answer Handlers::SubmitJob(const Request& request) {
  auto json = ParseBody(request);
  if (!json) return tl::unexpected(std::move(json).error());
  auto parsed = ParseJobRequest(
      *json, [this](const std::string& text) { return dependencies_.images->NormaliseReference(text); });
  if (!parsed) return tl::unexpected(Invalid(std::move(parsed).error()));
  std::vector<std::string> limits = dependencies_.jobs->Unenforceable();
  if (!limits.empty())
    return tl::unexpected(Problem{
        .type = ProblemType::kUnenforceable,
        .detail =
            fmt::format("this node cannot enforce {}; it runs jobs without only under isolation = \"best-effort\" "
                        "(caisson doctor shows what is missing)",
                        fmt::join(limits, ", ")),
        .limits = std::move(limits)});
  auto job = dependencies_.store->Submit({request.caller.tenant, std::move(parsed->spec), std::move(parsed->payload)});
  if (!job) return tl::unexpected(ProblemOf(job.error(), request));
  Response response = JsonResponse(202, View(*job));
  response.headers.push_back({"Location", "/v1/jobs/" + job->id.value});
  return response;
}

Handlers::Answer Handlers::ListJobs(const Request& request) {
  auto filter = ParseListFilter(request);
  if (!filter) return tl::unexpected(std::move(filter).error());
  auto page = dependencies_.store->List(*filter);
  if (!page && page.error().code == ErrorCode::kInvalid)
    return tl::unexpected(Problem::InvalidParameter("cursor", page.error().message));
  if (!page) return tl::unexpected(ProblemOf(page.error(), request));
  Json::Array items;
  for (const queue::JobRecord& job : page->items) items.push_back(View(job));
  Json json = Json::MakeObject();
  json.Set("items", std::move(items));
  json.Set("next_cursor", page->next_cursor.empty() ? Json() : Json(page->next_cursor));
  Response response = JsonResponse(200, json);
  if (!page->next_cursor.empty()) response.headers.push_back({"Link", NextLink(*filter, page->next_cursor)});
  return response;
}

Handlers::Answer Handlers::GetJob(const Request& request, const std::string& id) {
  auto job = FindJob(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  return JsonResponse(200, View(*job));
}

Handlers::Answer Handlers::CancelJob(const Request& request, const std::string& id) {
  CancelRequest cancel;
  if (!request.body.empty()) {
    auto json = ParseBody(request);
    if (!json) return tl::unexpected(std::move(json).error());
    auto parsed = ParseCancelRequest(*json);
    if (!parsed) return tl::unexpected(Invalid(std::move(parsed).error()));
    cancel = *parsed;
  }
  auto job = FindJob(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  const auto result = dependencies_.store->Cancel(request.caller.tenant, job->id, cancel.grace_seconds);
  if (!result) return tl::unexpected(ProblemOf(result.error(), request));
  const bool stopping = *result == queue::CancelResult::kStopping;
  if (stopping) dependencies_.jobs->StopRunning(job->id, cancel.grace_seconds);
  job = FindJob(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  return JsonResponse(stopping ? 202 : 200, View(*job));
}

Handlers::Answer Handlers::GetLogs(const Request& request, const std::string& id) {
  const auto query = ParseLogQuery(request);
  if (!query) return tl::unexpected(query.error());
  const auto job = FindJob(request, id);
  if (!job) return tl::unexpected(job.error());
  const auto state = dependencies_.logs->State(job->id);
  if (!state) return tl::unexpected(ProblemOf(state.error(), request));
  if (query->after > state->bytes) return tl::unexpected(BeyondTheLog(state->bytes));

  Response response;
  if (query->events) {
    LogEventSource source;
    source.logs = dependencies_.logs;
    source.job = [this, tenant = request.caller.tenant, job_id = job->id] {
      return dependencies_.store->Get(tenant, job_id);
    };
    source.view = [this](const queue::JobRecord& record) { return View(record); };
    source.watch_job = [this, job_id = job->id](std::function<void()> notify) {
      return changes_->Subscribe(job_id, std::move(notify));
    };
    response = TextResponse(200, "text/event-stream", "");
    response.headers.push_back({"Cache-Control", "no-store"});
    response.headers.push_back({"X-Accel-Buffering", "no"});  // nginx would hold events back
    response.stream = MakeLogEvents(std::move(source), job->id, *query);
  } else {
    const std::string_view range = request.HasHeader("if-range") ? std::string_view() : request.Header("range");
    if (ParseRange(range, state->bytes).kind == RangeRequest::Kind::kUnsatisfiable)
      return tl::unexpected(BeyondTheLog(state->bytes));
    response = PlainLog(*dependencies_.logs, job->id, *query, *state, range);
  }
  response.headers.push_back({"X-Caisson-Log-Bytes", std::to_string(state->bytes)});
  response.headers.push_back({"X-Caisson-Log-Dropped-Bytes", std::to_string(state->dropped)});
  return response;
}

Handlers::Answer Handlers::ListImages(const Request& request) {
  auto images = dependencies_.images->ListImages(request.caller.tenant);
  if (!images) return tl::unexpected(ProblemOf(images.error(), request));
  Json::Array items;
  for (const ImageSummary& image : *images) items.push_back(ImageView(image));
  Json json = Json::MakeObject();
  json.Set("items", std::move(items));
  return JsonResponse(200, json);
}

Handlers::Answer Handlers::CreateToken(const Request& request) {
  TokenRequest token;
  if (!request.body.empty()) {
    auto json = ParseBody(request);
    if (!json) return tl::unexpected(std::move(json).error());
    auto parsed = ParseTokenRequest(*json);
    if (!parsed) return tl::unexpected(Invalid(std::move(parsed).error()));
    token = *std::move(parsed);
  }
  if (token.tenant.empty()) token.tenant = request.caller.tenant_name;
  auto created = dependencies_.store->CreateToken(token.tenant);
  if (!created && created.error().code == ErrorCode::kNotFound)
    return tl::unexpected(Invalid(
        {{.pointer = "/tenant", .detail = fmt::format("there is no tenant \"{}\"", EscapeForLog(token.tenant))}}));
  if (!created) return tl::unexpected(ProblemOf(created.error(), request));
  LogInfo("token_created",
          {{"token", created->token.id}, {"tenant", created->token.tenant_name}, {"uid", request.peer.uid}});
  Json json = Json::MakeObject();
  json.Set("id", created->token.id);
  json.Set("token", created->secret.Expose());
  json.Set("tenant", created->token.tenant_name);
  Response response = JsonResponse(201, json);
  response.headers.push_back({"Cache-Control", "no-store"});  // it holds a secret
  return response;
}

Handlers::Answer Handlers::GetNode(const Request& request) {
  auto text = dependencies_.node->NodeJson();
  if (!text) return tl::unexpected(ProblemOf(text.error(), request));
  return TextResponse(200, "application/json", *std::move(text) + "\n");
}

Handlers::Answer Handlers::GetReadiness(const Request& request) {
  if (dependencies_.node->Draining()) return tl::unexpected(Draining());
  const auto writable = dependencies_.store->Ping();
  if (!writable) {
    LogError("not_ready", {{"error", writable.error().message}, {"request", request.id}});
    return tl::unexpected(
        Problem{ProblemType::kUnavailable, "the store cannot be written; the log of Caisson has the reason"});
  }
  return TextResponse(200, "text/plain", "ready\n");
}

Handlers::Answer Handlers::GetMetrics(const Request& request) {
  auto counts = dependencies_.store->CountByState();
  if (!counts) return tl::unexpected(ProblemOf(counts.error(), request));
  if (!request.caller.admin)  // how busy another tenant is, is not a tenant's business
    std::erase_if(*counts, [&](const queue::StateCount& count) { return count.tenant != request.caller.tenant_name; });
  return TextResponse(200, "text/plain; version=0.0.4; charset=utf-8",
                      metrics_.Render({options_.version, *std::move(counts), dependencies_.node->Metrics(),
                                       dependencies_.node->Draining()}));
}

tl::expected<queue::JobRecord, Problem> Handlers::FindJob(const Request& request, const std::string& id) {
  const Problem missing{ProblemType::kNotFound, fmt::format("there is no job {}", EscapeForLog(id, 64))};
  const auto job_id = queue::JobId::Parse(id);
  if (!job_id) return tl::unexpected(missing);
  auto job = dependencies_.store->Get(request.caller.tenant, *job_id);
  if (job) return *std::move(job);
  if (job.error().code == ErrorCode::kNotFound) return tl::unexpected(missing);
  return tl::unexpected(ProblemOf(job.error(), request));
}

Json Handlers::View(const queue::JobRecord& job) const {
  std::optional<PullProgress> progress;
  if (job.state == queue::JobState::kPreparing) progress = dependencies_.jobs->Progress(job.id);
  return JobView(job, progress);
}

}  // namespace caisson::api
