# Install Debian packages, none where none is named: `sh packages.sh "git libpq5"`, in a build step.
set -eu
if [ -n "$1" ]; then
    # A mirror that is not reached is an error: apt itself goes on without.
    sh /online apt-get update --error-on=any
    sh /online apt-get install --yes --no-install-recommends $1
    rm -rf /var/lib/apt/lists/*
fi
