// SPDX-License-Identifier: Apache-2.0
#include "cli/pull_view.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/quantity.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kShortDigest = 12;
constexpr size_t kStateWidth = 11;   // "downloading"
constexpr size_t kAmountWidth = 21;  // "1023.9 MiB/1023.9 MiB"
constexpr size_t kMinBarWidth = 10;
constexpr size_t kMaxBarWidth = 40;

bool HasEnded(const LayerView& layer) { return layer.state == "done" || layer.state == "cached"; }

std::string ShortName(const std::string& digest) {
  const size_t colon = digest.find(':');
  return Printable(digest.substr(colon == std::string::npos ? 0 : colon + 1, kShortDigest));
}

std::string Amount(const LayerView& layer) {
  if (HasEnded(layer)) return FormatSize(layer.bytes_total);
  return FormatSize(layer.bytes_done) + "/" + FormatSize(layer.bytes_total);
}

std::string BarLine(const LayerView& layer, size_t columns) {
  const std::string words =
      fmt::format("{:<{}} {:<{}}", ShortName(layer.digest), kShortDigest, Printable(layer.state), kStateWidth);
  const size_t taken = words.size() + 2 + kAmountWidth + 1;  // a terminal's last column stays empty
  if (columns < taken + kMinBarWidth) return Shorten(words + " " + Amount(layer), std::max<size_t>(columns, 2) - 1);
  const size_t width = std::min(kMaxBarWidth, columns - taken);
  const uint64_t done = HasEnded(layer) ? layer.bytes_total : layer.bytes_done;
  return fmt::format("{} {} {}", words, Bar(done, layer.bytes_total, width), Amount(layer));
}

}  // namespace

PullView ParsePull(const Json& event) {
  const auto bytes = [](const Json& json, std::string_view key) {
    return static_cast<uint64_t>(std::max<int64_t>(0, json.IntOr(key, 0)));
  };
  PullView pull{bytes(event, "bytes_done"), bytes(event, "bytes_total"), {}};
  for (const Json& layer : event.ArrayOrEmpty("layers"))
    pull.layers.push_back({layer.StringOr("digest", ""), layer.StringOr("state", ""), bytes(layer, "bytes_done"),
                           bytes(layer, "bytes_total")});
  return pull;
}

std::vector<std::string> RenderBars(const PullView& pull, const TerminalSize& size) {
  const size_t room = std::max<size_t>(size.rows, 4) - 2;  // the last line, and the row of the cursor
  size_t to_hide = pull.layers.size() > room ? pull.layers.size() - room : 0;
  std::vector<std::string> lines;
  size_t ended = 0;
  size_t hidden = 0;
  for (const LayerView& layer : pull.layers) {
    ended += HasEnded(layer);
    if (HasEnded(layer) && to_hide > 0) {
      --to_hide;
      ++hidden;
    } else if (lines.size() < room) {
      lines.push_back(BarLine(layer, size.columns));
    } else {
      ++hidden;
    }
  }
  if (hidden > 0)
    lines.push_back(Shorten(fmt::format("and {} more; {} of {} layers are there, {} of {}", hidden, ended,
                                        pull.layers.size(), FormatSize(pull.bytes_done), FormatSize(pull.bytes_total)),
                            std::max<size_t>(size.columns, 2) - 1));
  return lines;
}

std::string PlainProgress::Changes(const PullView& pull) {
  std::string text;
  for (const LayerView& layer : pull.layers) {
    std::string& told = told_[layer.digest];
    if (told == layer.state || layer.state == "waiting") continue;
    told = layer.state;
    text += fmt::format("{}: {}, {}\n", ShortName(layer.digest), Printable(layer.state), FormatSize(layer.bytes_total));
  }
  return text;
}

}  // namespace caisson::cli
