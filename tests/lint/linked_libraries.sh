#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# "No TLS in root" must be visible to ldd: which of the daemon's programs may link what.
# Usage: linked_libraries.sh BUILD_DIRECTORY
set -u
build=$1
bad=0

# refuses PROGRAM PATTERN: the program must not be linked with a library of that name.
refuses() {
  if ldd "$build/$1" | grep -E "$2"; then
    echo "$1 must not link $2"
    bad=1
  fi
}
needs() {
  ldd "$build/$1" | grep -qE "$2" || { echo "$1 is expected to link $2: does this check still see what it should?"; bad=1; }
}

for program in caissond caisson-service caisson-worker caisson-init; do
  [ -x "$build/$program" ] || { echo "$build/$program is missing"; exit 1; }
done

refuses caissond 'libssl|libcrypto|libcurl|libsqlite|libarchive|libz\.|libzstd'
needs caissond 'libseccomp'
needs caissond 'libcap'
refuses caisson-service 'libarchive|libseccomp'
needs caisson-service 'libssl'
needs caisson-service 'libcurl'
needs caisson-service 'libsqlite3'
needs caisson-worker 'libarchive'
# libarchive brings libcrypto; TLS itself, HTTP and the store must not come near hostile layers.
refuses caisson-worker 'libssl|libcurl|libsqlite'

if file -L "$build/caisson-init" 2>/dev/null | grep -q 'dynamically linked' || ldd "$build/caisson-init" >/dev/null 2>&1; then
  echo "caisson-init must be static"
  bad=1
fi
exit $bad
