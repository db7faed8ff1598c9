// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings_toml.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <sstream>

#include "base/encoding.h"
#include "daemon/settings/settings_checks.h"
#include "daemon/settings/settings_table.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxListItems = 1000;  // of any list in the file
constexpr size_t kMaxSignatureRules = 200;
constexpr size_t kMaxKeysOfARule = 16;

using Check = std::optional<std::string> (*)(std::string_view);

// A key of one of the tables. `check` is asked about a text, or about each item of a list.
template <typename T>
struct Key {
  std::string_view name;
  std::variant<bool T::*, std::string T::*, std::vector<std::string> T::*, AllowList T::*> field;
  std::string_view form;  // for errors: "true|false", "\"FILE\""
  Check check = nullptr;
};

constexpr std::string_view kSwitch = "true|false", kFile = "\"/FILE\"", kPrefixes = "[\"HOST/NAME\", ...]";

const std::vector<Key<RegistryEntry>> kRegistryKeys = {
    {"plain_http", &RegistryEntry::plain_http, kSwitch},
    {"ca_file", &RegistryEntry::ca_file, kFile, RefuseRelativePath},
    {"client_cert", &RegistryEntry::client_cert, kFile, RefuseRelativePath},
    {"client_key", &RegistryEntry::client_key, kFile, RefuseRelativePath},
    {"mirrors", &RegistryEntry::mirrors, "[\"HOST[/PREFIX]\", ...]", RefusePrefix},
    {"mirror_tags", &RegistryEntry::mirror_tags, kSwitch},
    {"blocked", &RegistryEntry::blocked, kSwitch},
};
const std::vector<Key<TenantEntry>> kTenantKeys = {
    {"registries", &TenantEntry::registries, kPrefixes, RefusePrefix},
};
const std::vector<Key<SignatureEntry>> kSignatureKeys = {
    {"scope", &SignatureEntry::scope, "\"HOST/NAME\" or \"*\"", RefuseScope},
    {"keys", &SignatureEntry::keys, "[\"/FILE.pub\", ...]", RefuseRelativePath},
    {"identity", &SignatureEntry::identity, "\"match\" or \"any\"", RefuseIdentity},
    {"require", &SignatureEntry::require, kSwitch},
};
struct Images {
  AllowList registries;
};
const std::vector<Key<Images>> kImagesKeys = {{"registries", &Images::registries, kPrefixes, RefusePrefix}};

// What other tools say of keyless signing: refused with words, so that nobody takes it for heeded.
constexpr std::string_view kKeyless[] = {"keyless",     "fulcio",      "fulcio_ca", "rekor",
                                         "rekor_key",   "oidc_issuer", "issuer",    "certificate_identity",
                                         "certificate", "subject",     "ca_roots",  "certificate_oidc_issuer"};

// Where something stands: "FILE:LINE: tenants.blue.registries".
struct Place {
  std::string source;
  std::string path;
  size_t line = 0;

  Place Below(const toml::key& key, const toml::node& node) const {
    const size_t of_key = key.source().begin.line;
    const std::string name = EscapeForLog(key.str());
    const bool bare =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
    return {source, fmt::format("{}{}{}", path, path.empty() ? "" : ".", bare ? name : "\"" + name + "\""),
            of_key ? of_key : node.source().begin.line};
  }
  Place Item(size_t index, const toml::node& node) const {
    return {source, fmt::format("{}[{}]", path, index), node.source().begin.line};
  }
  tl::unexpected<Error> Refuse(std::string_view why) const {
    return Fail(ErrorCode::kInvalid, "{}:{}: {}: {}", source, line, path, why);
  }
  std::string ToString() const { return fmt::format("{}:{}: {}", source, line, path); }
};

// ---- Reading: tables of any kind --------------------------------------------------------------------------------

template <typename T>
std::string FormsOf(const std::vector<Key<T>>& keys) {
  std::string text;
  for (const Key<T>& key : keys) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", key.name, key.form);
  return text;
}

Result<std::string> ReadText(const toml::node& node, const Place& place, Check check) {
  const auto* text = node.as_string();
  if (!text) return place.Refuse("must be a string");
  if (const auto why = check ? check(text->get()) : std::nullopt) return place.Refuse(*why);
  return text->get();
}

Result<std::vector<std::string>> ReadTexts(const toml::node& node, const Place& place, Check check) {
  const toml::array* items = node.as_array();
  if (!items) return place.Refuse("must be a list of strings");
  if (items->size() > kMaxListItems) return place.Refuse(fmt::format("has more than {} items", kMaxListItems));
  std::vector<std::string> texts;
  for (const toml::node& item : *items) texts.push_back(TRY(ReadText(item, place.Item(texts.size(), item), check)));
  return texts;
}

template <typename T>
Result<void> ReadKey(T& entry, const Key<T>& key, const toml::node& node, const Place& place) {
  if (const auto* flag = std::get_if<bool T::*>(&key.field)) {
    if (!node.is_boolean()) return place.Refuse("must be true or false");
    entry.** flag = node.as_boolean()->get();
  } else if (const auto* text = std::get_if<std::string T::*>(&key.field)) {
    entry.** text = TRY(ReadText(node, place, key.check));
  } else if (const auto* texts = std::get_if<std::vector<std::string> T::*>(&key.field)) {
    entry.** texts = TRY(ReadTexts(node, place, key.check));
  } else {
    entry.*std::get<AllowList T::*>(key.field) = TRY(ReadTexts(node, place, key.check));
  }
  return {};
}

template <typename T>
Result<T> ReadTable(const toml::node& node, const Place& place, const std::vector<Key<T>>& keys) {
  const toml::table* table = node.as_table();
  if (!table) return place.Refuse("must be a table");
  T entry;
  for (const auto& [name, value] : *table) {
    const Place where = place.Below(name, value);
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key<T>& k) { return k.name == name.str(); });
    if (key == keys.end()) return where.Refuse("unknown key; known are " + FormsOf(keys));
    TRY(ReadKey(entry, *key, value, where));
  }
  return entry;
}

// ---- Reading: each table ----------------------------------------------------------------------------------------

Result<void> ReadRegistries(Settings& settings, const toml::node& node, const Place& place) {
  if (!node.is_table()) return place.Refuse("must be a table");
  for (const auto& [host, value] : *node.as_table()) {
    const Place where = place.Below(host, value);
    if (const auto why = RefuseHost(host.str())) return where.Refuse(*why);
    RegistryEntry entry = TRY(ReadTable(value, where, kRegistryKeys));
    if (!entry.client_key.empty() && entry.client_cert.empty())
      return where.Refuse("client_key is of no use without client_cert");
    settings.registries[std::string(host.str())] = std::move(entry);
  }
  return {};
}

Result<void> ReadTenants(Settings& settings, const toml::node& node, const Place& place) {
  if (!node.is_table()) return place.Refuse("must be a table");
  for (const auto& [name, value] : *node.as_table()) {
    const Place where = place.Below(name, value);
    if (const auto why = RefuseTenantName(name.str())) return where.Refuse(*why);
    settings.tenants[std::string(name.str())] = TRY(ReadTable(value, where, kTenantKeys));
  }
  return {};
}

Result<void> ReadImages(Settings& settings, const toml::node& node, const Place& place) {
  settings.image_registries = TRY(ReadTable(node, place, kImagesKeys)).registries;
  return {};
}

Result<SignatureEntry> ReadSignature(const toml::node& node, const Place& place) {
  if (!node.is_table()) return place.Refuse("must be a table: write [[signatures]]");
  for (const auto& [name, value] : *node.as_table())
    if (std::find(std::begin(kKeyless), std::end(kKeyless), name.str()) != std::end(kKeyless))
      return place.Below(name, value)
          .Refuse("keyless signatures (certificates of Fulcio, Rekor) are not supported: list public keys in `keys`");
  SignatureEntry entry = TRY(ReadTable(node, place, kSignatureKeys));
  if (entry.scope.empty()) return place.Refuse("scope is missing: the repositories that this is about, or \"*\"");
  if (entry.keys.size() > kMaxKeysOfARule) return place.Refuse(fmt::format("has more than {} keys", kMaxKeysOfARule));
  if (entry.require && entry.keys.empty())
    return place.Refuse("keys is missing: files with public keys; to exempt a scope say require = false");
  if (!entry.require && !entry.keys.empty())
    return place.Refuse("has keys and says require = false: leave out one of the two");
  return entry;
}

Result<void> ReadSignatures(Settings& settings, const toml::node& node, const Place& place) {
  const toml::array* rules = node.as_array();
  if (!rules) return place.Refuse("must be a list of tables: write [[signatures]]");
  if (rules->size() > kMaxSignatureRules)
    return place.Refuse(fmt::format("has more than {} entries", kMaxSignatureRules));
  for (const toml::node& rule : *rules) {
    const Place where = place.Item(settings.signatures.size(), rule);
    SignatureEntry entry = TRY(ReadSignature(rule, where));
    for (const SignatureEntry& other : settings.signatures)
      if (other.scope == entry.scope) return where.Refuse("there is an entry for this scope already: " + entry.scope);
    settings.signatures.push_back(std::move(entry));
  }
  return {};
}

// share = "all": cached layers serve every tenant that has a right to the image.
Result<void> ReadLayers(Settings&, const toml::node& node, const Place& place) {
  struct Layers {
    std::string share = "all";
  };
  static const std::vector<Key<Layers>> kKeys = {{"share", &Layers::share, "\"all\""}};
  if (TRY(ReadTable(node, place, kKeys)).share == "all") return {};
  return place.Refuse("share: this version shares cached layers between tenants: only \"all\" is possible");
}

// ---- What the launcher adds -------------------------------------------------------------------------------------

constexpr std::string_view kLauncherTable = "launcher";

// Files need not be UTF-8, TOML must.
Result<std::string> FromBase64(const std::string& text) {
  std::optional<std::string> bytes = Base64Decode(text);
  if (!bytes) return Fail(ErrorCode::kInvalid, "[launcher] is damaged");
  return *std::move(bytes);
}

Result<void> ReadLauncherTable(Settings& settings, const toml::table& table) {
  settings.auth_json = Secret(TRY(FromBase64(table["auth_json"].value_or(std::string()))));
  settings.node_key = Secret(table["node_key"].value_or(std::string()));
  const toml::array* rules = table["key_pems"].as_array();
  if (!rules || rules->size() != settings.signatures.size()) return Fail(ErrorCode::kInvalid, "[launcher] is damaged");
  for (size_t i = 0; i < rules->size(); ++i)
    for (const std::string& pem : TRY(ReadTexts(*rules->get(i), {"settings", "launcher.key_pems"}, nullptr)))
      settings.signatures[i].key_pems.push_back(TRY(FromBase64(pem)));
  return {};
}

toml::table LauncherTable(const Settings& settings) {
  toml::array rules;
  for (const SignatureEntry& rule : settings.signatures) {
    toml::array pems;
    for (const std::string& pem : rule.key_pems) pems.push_back(Base64Encode(pem));
    rules.push_back(std::move(pems));
  }
  return toml::table{{"auth_json", Base64Encode(settings.auth_json.Expose())},
                     {"node_key", settings.node_key.Expose()},
                     {"key_pems", std::move(rules)}};
}

// ---- The whole file ---------------------------------------------------------------------------------------------

struct Table {
  std::string_view name;
  Result<void> (*read)(Settings&, const toml::node&, const Place&);
};
constexpr Table kTables[] = {{"registries", ReadRegistries},
                             {"images", ReadImages},
                             {"tenants", ReadTenants},
                             {"signatures", ReadSignatures},
                             {"layers", ReadLayers}};

Result<void> ReadValue(Settings& settings, const Setting& setting, const toml::node& node, const Place& place) {
  const std::string source = place.ToString();
  if (const auto* text = node.as_string(); text && std::holds_alternative<StringField>(setting.field))
    return SetFromText(settings, setting, text->get(), source);
  if (const auto* number = node.as_integer(); number && std::holds_alternative<NumberField>(setting.field))
    return SetFromText(settings, setting, std::to_string(number->get()), source);
  if (const auto* value = node.as_boolean(); value && std::holds_alternative<SwitchField>(setting.field))
    return SetFromText(settings, setting, value->get() ? "true" : "false", source);
  constexpr std::string_view kWanted[] = {"must be a string", "must be a whole number", "must be true or false"};
  return place.Refuse(kWanted[setting.field.index()]);
}

Result<void> ReadMember(Settings& settings, const toml::key& key, const toml::node& node, const Place& place) {
  const auto table =
      std::find_if(std::begin(kTables), std::end(kTables), [&](const Table& known) { return known.name == key.str(); });
  if (table != std::end(kTables)) return table->read(settings, node, place);
  const Setting* setting = FindSetting(key.str());
  if (!setting || setting->name == "config") return place.Refuse("unknown key; `caissond --help` lists the known ones");
  return ReadValue(settings, *setting, node, place);
}

template <typename T>
toml::table ToTable(const T& entry, const std::vector<Key<T>>& keys) {
  const auto array_of = [](const std::vector<std::string>& texts) {
    toml::array array;
    for (const std::string& text : texts) array.push_back(text);
    return array;
  };
  toml::table table;
  const T untouched;
  for (const Key<T>& key : keys) {
    if (const auto* flag = std::get_if<bool T::*>(&key.field)) {
      table.insert(key.name, entry.**flag);
    } else if (const auto* text = std::get_if<std::string T::*>(&key.field)) {
      if (entry.**text != untouched.**text) table.insert(key.name, entry.**text);  // "" would be refused as a path
    } else if (const auto* texts = std::get_if<std::vector<std::string> T::*>(&key.field)) {
      table.insert(key.name, array_of(entry.**texts));
    } else if (const AllowList& list = entry.*std::get<AllowList T::*>(key.field)) {
      table.insert(key.name, array_of(*list));
    }
  }
  return table;
}

}  // namespace

Result<void> ReadToml(Settings& settings, const std::string& text, const std::string& source, Writer writer) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return Fail(ErrorCode::kInvalid, "{}:{}: {}", source, error.source().begin.line, error.description());
  }
  const Place top{source, ""};
  for (const auto& [key, node] : root) {
    if (writer == Writer::kLauncher && key.str() == kLauncherTable) continue;  // refers to the others
    TRY(ReadMember(settings, key, node, top.Below(key, node)));
  }
  if (const toml::table* table = root[kLauncherTable].as_table(); table && writer == Writer::kLauncher)
    TRY(ReadLauncherTable(settings, *table));
  return {};
}

std::string ToToml(const Settings& settings) {
  toml::table root;
  for (const Setting& setting : SettingsTable()) {
    if (setting.name == "config") continue;
    std::visit([&](auto field) { root.insert(setting.name, settings.*field); }, setting.field);
  }
  toml::table registries, tenants;
  for (const auto& [host, entry] : settings.registries) registries.insert(host, ToTable(entry, kRegistryKeys));
  for (const auto& [name, entry] : settings.tenants) tenants.insert(name, ToTable(entry, kTenantKeys));
  toml::array signatures;
  for (const SignatureEntry& entry : settings.signatures) signatures.push_back(ToTable(entry, kSignatureKeys));
  root.insert("registries", std::move(registries));
  root.insert("tenants", std::move(tenants));
  root.insert("images", ToTable(Images{settings.image_registries}, kImagesKeys));
  root.insert("signatures", std::move(signatures));
  root.insert(kLauncherTable, LauncherTable(settings));
  std::ostringstream text;
  text << root;
  return text.str();
}

Result<Settings> FromToml(const std::string& text, const std::string& source) {
  Settings settings;
  TRY(ReadToml(settings, text, source, Writer::kLauncher));
  return settings;
}

}  // namespace caisson::daemon
