#!/bin/sh
# Install Debian packages in a build step: `sh packages.sh "git libpq5"`. Without a name it does nothing.
set -eu
[ -n "$1" ] || exit 0
if [ -s /run/secrets/ca_bundle ]; then
    # apt downloads as a user of its own, which may not read a secret.
    install -m 644 /run/secrets/ca_bundle /tmp/ca.pem
    echo 'Acquire::https::CAInfo "/tmp/ca.pem";' > /tmp/apt.conf
    export APT_CONFIG=/tmp/apt.conf
fi
# A mirror that can't be reached is an error: apt itself would continue without it.
apt-get update --error-on=any
# shellcheck disable=SC2086 # several names in one argument
apt-get install --yes --no-install-recommends $1
rm -rf /var/lib/apt/lists/*
