// SPDX-License-Identifier: Apache-2.0
// The settings that are one value each: name, type, help and limits, in one table. Tables of the TOML file are in
// settings_toml.cc. Plain values and pure functions.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/settings/settings.h"

namespace caisson::daemon {

using StringField = std::string Settings::*;
using NumberField = int64_t Settings::*;
using SwitchField = bool Settings::*;

// `name` is the TOML key; the flag has dashes for underscores, the variable is CAISSON_ and capitals.
struct Setting {
  std::string_view name;
  std::variant<StringField, NumberField, SwitchField> field;
  std::string_view value;  // in --help
  std::string_view help;
  std::function<std::optional<std::string>(const Settings&)> refuse = nullptr;  // why the value is out of range
};

const std::vector<Setting>& SettingsTable();

const Setting* FindSetting(std::string_view name);
std::string FlagOf(const Setting& setting);      // "--data-dir"
std::string VariableOf(const Setting& setting);  // "CAISSON_DATA_DIR"

// `source` is put in front of errors.
Result<void> SetFromText(Settings& settings, const Setting& setting, const std::string& text,
                         const std::string& source);

// What no single value is wrong about.
Result<void> CheckTogether(const Settings& settings);

}  // namespace caisson::daemon
