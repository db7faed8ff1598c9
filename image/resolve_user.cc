// SPDX-License-Identifier: Apache-2.0
#include "image/resolve_user.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/encoding.h"

namespace caisson::image {
namespace {

constexpr uint32_t kMaxId = 65534;  // 65535 is -1 in 16 bits, and means "leave as it is" to some programs
constexpr size_t kMaxLineBytes = 4 << 10;
constexpr size_t kMaxGroups = 32;  // supplementary groups of one process
constexpr size_t kMaxNameBytes = 256;

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A number is never looked up as a name, and one that does not fit is never cut to one that does (CVE-2024-40635:
// an overflow became 0; CVE-2026-46680: a huge number stood in passwd as a name for root).
Result<uint32_t> ParseId(std::string_view digits, std::string_view what) {
  uint64_t id = 0;
  for (const char c : digits) {
    id = id * 10 + static_cast<uint64_t>(c - '0');
    if (id > kMaxId)
      return Fail(ErrorCode::kInvalid, "{} \"{}\" is larger than {}", what, EscapeForLog(digits, 40), kMaxId);
  }
  return static_cast<uint32_t>(id);
}

Result<void> CheckPart(std::string_view part, std::string_view what) {
  if (part.empty()) return Fail(ErrorCode::kInvalid, "the {} is empty", what);
  if (part.size() > kMaxNameBytes)
    return Fail(ErrorCode::kInvalid, "the {} is longer than {} bytes", what, kMaxNameBytes);
  const bool plain = std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return c > ' ' && c < 0x7f && c != ',' && c != ':' && c != '/';
  });
  if (!plain || part.front() == '-' || part.front() == '+' ||
      (part.front() >= '0' && part.front() <= '9' && !AllDigits(part)))
    return Fail(ErrorCode::kInvalid, "\"{}\" is neither a name nor a number of a {}", EscapeForLog(part, 40), what);
  return {};
}

using Fields = std::vector<std::string_view>;

Fields Split(std::string_view text, char separator) {
  Fields fields;
  for (;;) {
    const size_t end = text.find(separator);
    fields.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return fields;
    text.remove_prefix(end + 1);
  }
}

// The lines of passwd or group that have `count` fields; others are not entries (comments, NIS marks).
Result<std::vector<Fields>> ReadTable(std::string_view text, size_t count, std::string_view file) {
  if (text.find('\0') != std::string_view::npos)
    return Fail(ErrorCode::kInvalid, "{} of the image contains NUL bytes", file);
  std::vector<Fields> rows;
  for (const std::string_view line : Split(text, '\n')) {
    if (line.size() > kMaxLineBytes)
      return Fail(ErrorCode::kInvalid, "{} of the image has a line over {} bytes", file, kMaxLineBytes);
    Fields fields = Split(line, ':');
    if (fields.size() == count && !fields[0].empty()) rows.push_back(std::move(fields));
  }
  return rows;
}

constexpr size_t kPasswdFields = 7;  // name, password, uid, gid, gecos, home, shell
constexpr size_t kGroupFields = 4;   // name, password, gid, members

Result<void> SetFromEntry(const Fields& entry, std::string_view uid_text, ResolvedUser& user) {
  if (!AllDigits(entry[2]) || !AllDigits(entry[3]))
    return Fail(ErrorCode::kInvalid, "etc/passwd of the image has no valid numbers for \"{}\"",
                EscapeForLog(entry[0], 40));
  user.uid = TRY(ParseId(uid_text.empty() ? entry[2] : uid_text, "user"));
  user.gid = TRY(ParseId(entry[3], "group"));
  if (entry[5].starts_with('/')) user.home = entry[5];
  return {};
}

Result<void> AddGroupsOf(std::string_view name, std::string_view group, ResolvedUser& user) {
  for (const Fields& entry : TRY(ReadTable(group, kGroupFields, "etc/group"))) {
    const Fields members = Split(entry[3], ',');
    if (!AllDigits(entry[2]) || std::find(members.begin(), members.end(), name) == members.end()) continue;
    const uint32_t gid = TRY(ParseId(entry[2], "group"));
    if (gid == user.gid || std::find(user.groups.begin(), user.groups.end(), gid) != user.groups.end()) continue;
    if (user.groups.size() == kMaxGroups)
      return Fail(ErrorCode::kInvalid, "user \"{}\" is in more than {} groups", EscapeForLog(name, 40), kMaxGroups);
    user.groups.push_back(gid);
  }
  return {};
}

Result<void> SetGroup(std::string_view text, std::string_view group, ResolvedUser& user) {
  TRY(CheckPart(text, "group"));
  if (AllDigits(text)) {
    user.gid = TRY(ParseId(text, "group"));
    return {};
  }
  for (const Fields& entry : TRY(ReadTable(group, kGroupFields, "etc/group"))) {
    if (entry[0] != text) continue;
    if (!AllDigits(entry[2]))
      return Fail(ErrorCode::kInvalid, "etc/group of the image has no valid number for \"{}\"", text);
    user.gid = TRY(ParseId(entry[2], "group"));
    return {};
  }
  return Fail(ErrorCode::kInvalid, "the image has no group \"{}\" in etc/group", EscapeForLog(text, 40));
}

// Sets uid, gid and home; returns the entry's name, "" where a number stands in no entry.
Result<std::string> SetUser(std::string_view text, std::string_view passwd, ResolvedUser& user) {
  TRY(CheckPart(text, "user"));
  const bool number = AllDigits(text);
  if (number) user.uid = TRY(ParseId(text, "user"));
  for (const Fields& entry : TRY(ReadTable(passwd, kPasswdFields, "etc/passwd"))) {
    const Result<uint32_t> entry_uid =
        AllDigits(entry[2]) ? ParseId(entry[2], "user") : Fail(ErrorCode::kInvalid, "no number");
    if (number ? !entry_uid || *entry_uid != user.uid : entry[0] != text) continue;
    TRY(SetFromEntry(entry, number ? text : std::string_view(), user));
    return std::string(entry[0]);
  }
  if (number) return "";
  return Fail(ErrorCode::kInvalid, "the image has no user \"{}\" in etc/passwd", EscapeForLog(text, 40));
}

}  // namespace

Result<ResolvedUser> ResolveUser(std::string_view text, std::string_view passwd, std::string_view group) {
  ResolvedUser user;
  if (text.empty()) text = "0";  // no USER in the image
  const std::string context = fmt::format("user \"{}\"", EscapeForLog(text, 80));
  const Fields parts = Split(text, ':');
  if (parts.size() > 2) return Fail(ErrorCode::kInvalid, "{}: more than one \":\"", context);
  const std::string name = TRY_IN(context, SetUser(parts[0], passwd, user));
  if (parts.size() == 2) {
    TRY_IN(context, SetGroup(parts[1], group, user));
    return user;
  }
  // A number gets its entry's group and home but no supplementary groups: only a name asks for those.
  if (!AllDigits(parts[0])) TRY_IN(context, AddGroupsOf(name, group, user));
  return user;
}

}  // namespace caisson::image
