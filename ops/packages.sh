# Install Debian packages, none where none is named: `sh packages.sh "git libpq5"`, in a build step.
set -eu
if [ -n "$1" ]; then
    sh /online apt-get update
    sh /online apt-get install --yes --no-install-recommends $1
    rm -rf /var/lib/apt/lists/*
fi
