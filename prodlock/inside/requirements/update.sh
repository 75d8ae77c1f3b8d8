#!/bin/sh
# Lock what the tools need: the newest versions that pyproject.toml in this folder allows, each with its hashes.
# Options are uv's, for example `--index-url ADDRESS`. Needs uv on PATH (`pip install uv`).
set -eu
cd "$(dirname "$0")"
for group in audit checkov deploy fuzz lint loop poetry reload sbom test; do
    case $group in
        # The dev image has what these depend on.
        loop | reload) alone=--no-deps ;;
        *) alone=--deps ;;
    esac
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command 'sh prodlock/inside/requirements/update.sh' --upgrade "$alone" "$@" \
        --group "$group" --output-file "$group.txt"
done
# The uv that installs these lists, and the lock's.
grep '^#' poetry.txt > ../uv.txt
sed -n '/^uv==/,/[^\\]$/p' poetry.txt >> ../uv.txt
