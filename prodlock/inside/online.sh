#!/bin/sh
# Run pip, uv or Poetry with this site's certificate authorities and package indexes, which come in as build secrets.
# Each program has variables of its own for them.
set -e
bundle=${CA_BUNDLE:-/run/secrets/ca_bundle}
if [ -s "$bundle" ]; then
    export PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" SSL_CERT_FILE="$bundle"
fi
if [ -s /run/secrets/index_url ]; then
    PIP_INDEX_URL=$(cat /run/secrets/index_url)
    export PIP_INDEX_URL UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
if [ -s /run/secrets/extra_index_url ]; then
    PIP_EXTRA_INDEX_URL=$(cat /run/secrets/extra_index_url)
    export PIP_EXTRA_INDEX_URL UV_INDEX="$PIP_EXTRA_INDEX_URL"
fi
if [ -s /run/secrets/netrc ]; then
    export NETRC=/run/secrets/netrc
fi
if [ "$1" = poetry ] && [ -z "$POETRY_PYPI_MIRROR_URL" ]; then
    # Poetry's own default is an index's JSON interface, which not every proxy passes on; pip's always works.
    POETRY_PYPI_MIRROR_URL=$(/usr/local/bin/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
    export POETRY_PYPI_MIRROR_URL
fi
exec "$@"
