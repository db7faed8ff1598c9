// SPDX-License-Identifier: Apache-2.0
#include "api/image_view.h"

namespace caisson::api {
namespace {

Json Strings(const std::vector<std::string>& strings) { return Json::Array(strings.begin(), strings.end()); }
Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string_view NameOf(LayerState state) {
  switch (state) {
    case LayerState::kWaiting: return "waiting";
    case LayerState::kDownloading: return "downloading";
    case LayerState::kUnpacking: return "unpacking";
    case LayerState::kDone: return "done";
    case LayerState::kCached: return "cached";
  }
  return "waiting";
}

std::string_view NameOf(LayerVerdict verdict) {
  switch (verdict) {
    case LayerVerdict::kOk: return "ok";
    case LayerVerdict::kDamaged: return "damaged";
    case LayerVerdict::kMissing: return "missing";
    case LayerVerdict::kRepaired: return "repaired";
  }
  return "damaged";
}

Json ConfigView(const ImageConfigView& config) {
  Json json = Json::MakeObject();
  json.Set("architecture", config.architecture);
  json.Set("os", config.os);
  json.Set("user", TextOrNull(config.user));
  json.Set("entrypoint", Strings(config.entrypoint));
  json.Set("command", Strings(config.command));
  json.Set("env", Strings(config.env));
  json.Set("working_dir", TextOrNull(config.working_dir));
  json.Set("stop_signal", TextOrNull(config.stop_signal));
  return json;
}

Json LayerView(const ImageLayer& layer) {
  Json json = Json::MakeObject();
  json.Set("digest", layer.digest);
  json.Set("diff_id", layer.diff_id);
  json.Set("compressed_bytes", layer.compressed_bytes);
  json.Set("unpacked_bytes", layer.unpacked_bytes);
  json.Set("entries", layer.entries);
  return json;
}

}  // namespace

Json ImageView(const ImageSummary& image) {
  Json json = Json::MakeObject();
  json.Set("reference", image.reference);
  json.Set("names", Strings(image.names));
  json.Set("digest", image.digest);
  json.Set("layers", image.layers);
  json.Set("compressed_bytes", image.compressed_bytes);
  json.Set("unpacked_bytes", image.unpacked_bytes);
  json.Set("pulled_at", FormatTime(image.pulled_at));
  json.Set("warnings", Strings(image.warnings));
  return json;
}

Json ImageDetailsView(const ImageDetails& image) {
  Json json = Json::MakeObject();
  json.Set("reference", image.summary.reference);
  json.Set("names", Strings(image.summary.names));
  json.Set("digest", image.summary.digest);
  json.Set("index_digest", TextOrNull(image.index_digest));
  json.Set("compressed_bytes", image.summary.compressed_bytes);
  json.Set("unpacked_bytes", image.summary.unpacked_bytes);
  json.Set("pulled_at", FormatTime(image.summary.pulled_at));
  json.Set("warnings", Strings(image.summary.warnings));
  json.Set("signature", TextOrNull(image.signature));
  json.Set("config", ConfigView(image.config));
  Json::Array layers;
  for (const ImageLayer& layer : image.layers) layers.push_back(LayerView(layer));
  json.Set("layers", std::move(layers));
  return json;
}

Json PullProgressView(const PullProgress& progress) {
  Json::Array layers;
  for (const LayerProgress& layer : progress.layers) {
    Json item = Json::MakeObject();
    item.Set("digest", layer.digest);
    item.Set("state", NameOf(layer.state));
    item.Set("bytes_done", layer.bytes_done);
    item.Set("bytes_total", layer.bytes_total);
    layers.push_back(std::move(item));
  }
  Json json = Json::MakeObject();
  json.Set("bytes_done", progress.bytes_done);
  json.Set("bytes_total", progress.bytes_total);
  json.Set("layers", std::move(layers));
  return json;
}

Json VerdictView(const ImageVerdict& verdict) {
  Json::Array layers;
  bool sound = true;
  for (const LayerCheck& layer : verdict.layers) {
    Json item = Json::MakeObject();
    item.Set("digest", layer.digest);
    item.Set("verdict", NameOf(layer.verdict));
    item.Set("detail", TextOrNull(layer.detail));
    layers.push_back(std::move(item));
    sound = sound && (layer.verdict == LayerVerdict::kOk || layer.verdict == LayerVerdict::kRepaired);
  }
  Json json = Json::MakeObject();
  json.Set("reference", verdict.image.reference);
  json.Set("digest", verdict.image.digest);
  json.Set("sound", sound);
  json.Set("layers", std::move(layers));
  return json;
}

Json CollectReportView(const CollectReport& report) {
  Json json = Json::MakeObject();
  json.Set("images", report.images);
  json.Set("layers", report.layers);
  json.Set("bytes", report.bytes);
  return json;
}

Json RegistryLoginView(const RegistryLogin& login) {
  Json json = Json::MakeObject();
  json.Set("registry", login.registry);
  json.Set("username", TextOrNull(login.username));
  json.Set("created_at", FormatTime(login.created_at));
  return json;
}

}  // namespace caisson::api
