#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C++ file is as clang-format leaves it. Usage: format.sh ROOT CLANG_FORMAT
cd "$1" || exit 1
find base queue image sandbox executor api triggers daemon cli tests bench \( -name '*.h' -o -name '*.cc' \) -print0 |
  xargs -0 "$2" --dry-run -Werror
