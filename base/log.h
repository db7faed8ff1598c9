// SPDX-License-Identifier: Apache-2.0
// The daemon's own log: one line an event on stderr, "level event key=value ...". The caller that decides logs,
// once; library functions return errors instead. Output of jobs never goes here. Safe on any thread; values are
// escaped, since many of them come from hostile images.
//
//   LogInfo("job_finished", {{"job", id}, {"reason", reason}});
#pragma once

#include <fmt/core.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace caisson {

struct LogField {
  std::string_view key;
  std::string value;

  template <typename T>
  LogField(std::string_view k, const T& v) : key(k), value(fmt::format("{}", v)) {}
};

using LogFields = std::initializer_list<LogField>;

void SetUpLog(std::string_view program);  // at start of main; before it, events go out under "caisson"

void LogError(std::string_view event, LogFields fields = {});  // the operator must act
void LogWarn(std::string_view event, LogFields fields = {});   // continuing because
void LogInfo(std::string_view event, LogFields fields = {});   // life cycle

}  // namespace caisson
