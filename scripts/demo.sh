#!/bin/sh
# `npm run demo`: set-up as its words need it, then the demonstration.
set -eu
cd "$(dirname -- "$0")/.."
scripts/setup.sh "$@"
exec bin/comicran demo "$@"
