// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/encoding.h"

namespace caisson {
namespace {

constexpr size_t kMaxValueBytes = 1000;  // a hostile name must not flood the log

std::shared_ptr<spdlog::logger>& Logger() {
  static std::shared_ptr<spdlog::logger> logger =
      std::make_shared<spdlog::logger>("caisson", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return logger;
}

void Write(spdlog::level::level_enum level, std::string_view event, LogFields fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    const std::string value = EscapeForLog(field.value, kMaxValueBytes);
    const std::string_view quote = value.empty() || value.find(' ') != std::string::npos ? "\"" : "";
    line += fmt::format(" {}={}{}{}", field.key, quote, value, quote);
  }
  Logger()->log(level, "{}", line);
}

}  // namespace

void SetUpLog(std::string_view program) {
  Logger()->set_pattern(fmt::format("%Y-%m-%dT%H:%M:%S.%eZ {}[%P] %l %v", program), spdlog::pattern_time_type::utc);
  Logger()->flush_on(spdlog::level::info);
}

void LogError(std::string_view event, LogFields fields) { Write(spdlog::level::err, event, fields); }
void LogWarn(std::string_view event, LogFields fields) { Write(spdlog::level::warn, event, fields); }
void LogInfo(std::string_view event, LogFields fields) { Write(spdlog::level::info, event, fields); }

}  // namespace caisson
