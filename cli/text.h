// SPDX-License-Identifier: Apache-2.0
// Text that others wrote, made fit for a terminal: names, messages and labels come from images, registries and users,
// and must not move the cursor, recolour the screen or reorder what stands beside them. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace caisson::cli {

// Control characters (C0, DEL, C1), Unicode's direction overrides and line separators, and broken UTF-8 as \xNN for
// each byte. Everything else, quotes too, stays as it is.
std::string Printable(std::string_view text);

// JSON text with DEL, C1 and direction overrides as \uNNNN: the same document, harmless on a terminal.
std::string TerminalSafeJson(std::string_view json);

// Columns a terminal needs for it: one for each code point. Good enough to line up tables.
size_t DisplayWidth(std::string_view text);

// Cut to `width` columns, the last being "…" where something was cut.
std::string Shorten(std::string_view text, size_t width);

// A table for people: a line of headings, columns as wide as their widest cell and two spaces apart, no trailing
// blanks. Cells must be Printable already.
std::string FormatTable(const std::vector<std::string>& headings, const std::vector<std::vector<std::string>>& rows);

// "[====>     ]" of `width` columns. A whole of 0 is as good as done.
std::string Bar(uint64_t done, uint64_t whole, size_t width);

// "Name:   value" lines for one thing, values lined up.
std::string FormatFields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace caisson::cli
