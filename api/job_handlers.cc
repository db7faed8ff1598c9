// SPDX-License-Identifier: Apache-2.0
#include "api/job_handlers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "api/job_request.h"
#include "api/job_view.h"
#include "api/log_query.h"
#include "api/log_stream.h"
#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr int kDefaultPage = 50;
constexpr int kMaxPage = 200;

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

Answer JobHandlers::Submit(const Request& request) {
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

Answer JobHandlers::List(const Request& request) {
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

Answer JobHandlers::Get(const Request& request, const std::string& id) {
  auto job = Find(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  return JsonResponse(200, View(*job));
}

Answer JobHandlers::Cancel(const Request& request, const std::string& id) {
  const auto cancel = ParseOptionalBodyWith(request, ParseCancelRequest);
  if (!cancel) return tl::unexpected(cancel.error());
  auto job = Find(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  const auto result = dependencies_.store->Cancel(request.caller.tenant, job->id, cancel->grace_seconds);
  if (!result) return tl::unexpected(ProblemOf(result.error(), request));
  const bool stopping = *result == queue::CancelResult::kStopping;
  if (stopping) dependencies_.jobs->StopRunning(job->id, cancel->grace_seconds);
  job = Find(request, id);
  if (!job) return tl::unexpected(std::move(job).error());
  return JsonResponse(stopping ? 202 : 200, View(*job));
}

Answer JobHandlers::Logs(const Request& request, const std::string& id) {
  const auto query = ParseLogQuery(request);
  if (!query) return tl::unexpected(query.error());
  const auto job = Find(request, id);
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
    response = EventResponse();
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

tl::expected<queue::JobRecord, Problem> JobHandlers::Find(const Request& request, const std::string& id) {
  const Problem missing{ProblemType::kNotFound, fmt::format("there is no job {}", EscapeForLog(id, 64))};
  const auto job_id = queue::JobId::Parse(id);
  if (!job_id) return tl::unexpected(missing);
  auto job = dependencies_.store->Get(request.caller.tenant, *job_id);
  if (job) return *std::move(job);
  if (job.error().code == ErrorCode::kNotFound) return tl::unexpected(missing);
  return tl::unexpected(ProblemOf(job.error(), request));
}

Json JobHandlers::View(const queue::JobRecord& job) const {
  std::optional<PullProgress> progress;
  if (job.state == queue::JobState::kPreparing) progress = dependencies_.jobs->Progress(job.id);
  return JobView(job, progress);
}

}  // namespace caisson::api
