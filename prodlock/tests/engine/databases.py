"""Images of services from Debian's packages, with the interfaces of the official images of these names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prodlock.tests.engine.conftest import NAME, ROOT, docker, secrets

POSTGRES, REDIS = f"{NAME}/postgres:17", f"{NAME}/redis:8"
# As the entrypoint of the official image does: it starts as root, owns its data, and becomes another user. While it
# prepares the data, a server answers on the socket alone.
_POSTGRES = """
FROM {base}
COPY --chmod=755 <<'EOF' /entrypoint
#!/bin/bash
set -eu
if [ -n "${{POSTGRES_PASSWORD_FILE:-}}" ]; then
    POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi
if [ "$(id -u)" = 0 ]; then
    install --directory --owner=postgres --mode=700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
PATH=/usr/lib/postgresql/17/bin:$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${{POSTGRES_PASSWORD:=${{POSTGRES_HOST_AUTH_METHOD:+unused}}}}"
    [ -n "$POSTGRES_PASSWORD" ] || {{ echo "A password must be given." >&2; exit 1; }}
    initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust --encoding=UTF8 \\
        > /dev/null
    echo "host all all all ${{POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}}" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent --options="-c listen_addresses=''" start > /dev/null
    createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl --wait --silent stop
fi
exec "$@"
EOF
RUN ln --symbolic /usr/lib/postgresql/17/bin/* /usr/local/bin/ && install --directory --owner=postgres /run/postgresql
ENV PGDATA=/var/lib/postgresql/data
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint"]
CMD ["postgres", "-c", "listen_addresses=*"]
"""
_REDIS = """
FROM {base}
RUN install --directory --owner=redis /data
VOLUME /data
WORKDIR /data
USER redis
CMD ["redis-server", "--protected-mode", "no", "--dir", "/data"]
"""


@contextmanager
def built(tag: str) -> Iterator[str]:
    """Build an image of a database, and yield its name."""
    text, packages = {POSTGRES: (_POSTGRES, "postgresql"), REDIS: (_REDIS, "redis-server")}[tag]
    base = f"{tag}-base"
    options = (f"--build-arg=PACKAGES={packages}", *secrets())
    docker("build", "--quiet", f"--tag={base}", "--target=base", *options, ".", cwd=ROOT)
    try:
        docker("build", "--quiet", f"--tag={tag}", "-", input=text.format(base=base))
        yield tag
    finally:
        docker("rmi", "--force", tag, base, check=False)
