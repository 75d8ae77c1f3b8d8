#!/bin/sh
# Run a command that downloads, with this site's certificate authorities and package index, which come in as
# build secrets: pip, uv and Poetry each want them under names of their own.
if [ -s /run/secrets/ca_bundle ]; then
    export PIP_CERT=/run/secrets/ca_bundle REQUESTS_CA_BUNDLE=/run/secrets/ca_bundle SSL_CERT_FILE=/run/secrets/ca_bundle
fi
index=
if [ -s /run/secrets/index_url ]; then
    index=$(cat /run/secrets/index_url)
elif [ "$1" = poetry ]; then
    # Poetry's own default is an index's JSON interface, which not every proxy passes on; pip's always works.
    index=$(/usr/local/bin/python -c 'from pip._internal.models.index import PyPI; print(PyPI.simple_url)')
fi
if [ "$index" ]; then
    export PIP_INDEX_URL="$index" UV_DEFAULT_INDEX="$index" POETRY_PYPI_MIRROR_URL="$index"
fi
exec "$@"
