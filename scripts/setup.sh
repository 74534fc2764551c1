#!/bin/sh
# Makes a fresh Debian 12 machine ready for this project: system packages, npm packages, build. Does nothing that is done
# already, so that every npm script can start with it. A shell script, because there may be no Node 24 before it has run.
# With --vms in its words also what virtual machines are run with.
set -eu
cd "$(dirname -- "$0")/.."

fail() {
  echo "comicran set-up: $1" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail "needs Linux; this is $(uname -s). Run it on a Debian 12 machine or VM."
[ "$(uname -m)" = x86_64 ] || fail "needs an x86-64 machine; this is $(uname -m)."
[ "$(id -u)" = 0 ] || fail "needs root (namespaces, ptrace, nftables). Run it as root, for example with sudo."

virtual=''
case " $* " in
  *' --vms'*) virtual='qemu-system-x86:/usr/bin/qemu-system-x86_64 e2fsprogs:/usr/sbin/mkfs.ext4' ;;
esac

# package:file that shows that it is there
packages=''
# shellcheck disable=SC2086 # a list of words
for pair in $virtual \
  iproute2:/usr/sbin/ip nftables:/usr/sbin/nft libnftables1:/usr/lib/x86_64-linux-gnu/libnftables.so.1 \
  util-linux:/usr/bin/unshare bubblewrap:/usr/bin/bwrap dnsmasq-base:/usr/sbin/dnsmasq socat:/usr/bin/socat \
  python3:/usr/bin/python3 tcpdump:/usr/bin/tcpdump
do
  # A newer Debian has merged /usr/sbin and /usr/bin; a look at the path is all that is needed.
  [ -e "${pair#*:}" ] || packages="$packages ${pair%%:*}"
done
if [ -n "$packages" ]; then
  command -v apt-get >/dev/null || fail "these are missing and there is no apt-get to install them:$packages"
  echo "comicran set-up: installing$packages" >&2
  log=$(mktemp)
  # shellcheck disable=SC2086 # a list of words
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } \
    >"$log" 2>&1 </dev/null || { tail -n 20 "$log" >&2; rm -f "$log"; fail "apt-get could not install$packages (see above)"; }
  rm -f "$log"
fi

# The hidden lockfile is written last by npm: older than the lockfile means that an install is due.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  command -v npm >/dev/null || fail "npm is missing. Install Debian's packages nodejs and npm."
  echo 'comicran set-up: installing npm packages' >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || fail 'npm ci failed (see above)'
  touch node_modules/.package-lock.json
fi

{ node_modules/.bin/tsc -p tsconfig.build.json && scripts/run.sh scripts/bundle.ts; } >&2 || fail 'the build failed (see above)'
