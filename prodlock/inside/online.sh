#!/bin/sh
# Run a command that downloads, with this site's certificate authorities and package index, which come in as
# build secrets: pip, uv, Poetry and apt each want them under names of their own.
bundle=${CA_BUNDLE:-/run/secrets/ca_bundle}
if [ -s "$bundle" ]; then
    export PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" SSL_CERT_FILE="$bundle"
    if [ "$1" = apt-get ]; then
        # apt downloads as a user of its own, who may not read a secret.
        install -m 644 "$bundle" /tmp/ca.pem
        echo 'Acquire::https::CAInfo "/tmp/ca.pem";' > /tmp/apt.conf
        export APT_CONFIG=/tmp/apt.conf
    fi
fi
if [ -s /run/secrets/index_url ]; then
    PIP_INDEX_URL=$(cat /run/secrets/index_url)
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
if [ "$1" = poetry ] && [ -z "$POETRY_PYPI_MIRROR_URL" ]; then
    # Poetry's own default is an index's JSON interface, which not every proxy passes on; pip's always works.
    POETRY_PYPI_MIRROR_URL=$(/usr/local/bin/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
    export POETRY_PYPI_MIRROR_URL
fi
exec "$@"
