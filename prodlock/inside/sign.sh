#!/bin/sh
# Sign an image by its digest, attest its bill of materials and the verdict, and verify all three:
# `sh sign.sh KEY TYPE IMAGE [OPTION...] < FILES`, a tar with config.json, key.pub, sbom.json, verdict.json and ca.pem.
# No transparency log is used: it would publish the image's name.
set -eu
key=$1 verdict=$2 image=$3
shift 3
mkdir /tmp/given
cd /tmp/given
tar -xf -
export DOCKER_CONFIG="$PWD" SSL_CERT_FILE="$PWD/ca.pem"

cosign sign --yes --tlog-upload=false --key "$key" "$@" "$image"
# An image that is published again has one attestation of each type, not two.
set -- --replace --yes --tlog-upload=false --key "$key" "$@"
cosign attest --type cyclonedx --predicate sbom.json "$@" "$image"
cosign attest --type "$verdict" --predicate verdict.json "$@" "$image"
shift 5

set -- --private-infrastructure --key key.pub "$@"
cosign verify "$@" "$image"
cosign verify-attestation --type cyclonedx "$@" "$image"
cosign verify-attestation --type "$verdict" "$@" "$image"
