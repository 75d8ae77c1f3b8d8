# Two images from one lock: `docker build .` is prod, `docker build --target dev .` is dev.
#
#   pinned -> uv -> tools              Poetry, for `inv poetry`
#          -> base -> check            is the lock up to date? Where it is not, neither image is built
#                  -> lock             what the lock has for this environment, as lists with hashes
#                  -> main -> dev
#                          -> lint, sbom, deploy, fuzz
#                          -> venv   ┐
#                  -> system         ├ prod, from scratch
#                  -> app            ┘
#          -> wheels -> golden        what prod may hold, made by another way, to compare it with
#   sources                           what a build takes from the sources, for the same comparison
#
# prod descends from nothing: what it holds is copied in by name.
ARG BASE=python:3.13-slim-trixie

# What ships beside the locked wheels: the one place that names it.
FROM scratch AS sources
COPY app /srv/app
COPY prodlock/__init__.py /srv/prodlock/
COPY prodlock/server /srv/prodlock/server


FROM ${BASE} AS pinned


FROM pinned AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Debian packages that the service needs, say "git libpq5": dev has them as they are, prod with all that they link to.
ARG PACKAGES=""
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/packages.sh,target=/packages \
    --mount=type=bind,source=prodlock/inside/bytecode.py,target=/bytecode.py \
    --mount=type=tmpfs,target=/tmp \
    sh /packages "$PACKAGES" \
    && python -S /bytecode.py stdlib
WORKDIR /srv


# pip installs uv alone: resolving Poetry takes it eight seconds, uv installs it in one. Meanwhile base is compiled.
FROM pinned AS uv
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/tools.txt,target=/tools.txt \
    sed -n '/^uv==/,/# via/p' /tools.txt > /uv.txt \
    && sh /online pip install --disable-pip-version-check --root-user-action ignore --no-input --no-cache-dir \
        --no-compile --only-binary :all: --require-hashes -r /uv.txt


# All of Poetry, for `inv poetry`. No other stage needs it.
FROM uv AS tools
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/tools.txt,target=/tools.txt \
    --mount=type=cache,target=/root/.cache/uv \
    python -m venv --without-pip /opt/tools \
    && UV_LINK_MODE=copy sh /online uv pip sync --compile-bytecode --only-binary :all: --python /opt/tools \
        --require-hashes /tools.txt
COPY --chmod=755 prodlock/inside/online.sh /usr/local/bin/online
ENV PATH=/opt/tools/bin:$PATH
WORKDIR /srv


# What `poetry check --lock` asks, and what of Poetry that takes: all of it would take five seconds of every cold build.
FROM base AS check
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/tools.txt,target=/tools.txt \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=cache,target=/root/.cache/uv \
    sed -nE '/^(packaging|poetry|poetry-core|tomlkit)==/,/# via/p' /tools.txt > /locker.txt \
    && sh /online /uv pip install --system --link-mode copy --only-binary :all: --no-deps --require-hashes \
        -r /locker.txt
RUN --network=none \
    --mount=type=bind,source=pyproject.toml,target=/srv/pyproject.toml \
    --mount=type=bind,source=poetry.lock,target=/srv/poetry.lock \
    python <<'END'
import sys, tomllib
from pathlib import Path
from poetry.packages.locker import Locker
pyproject, lock = Path("pyproject.toml"), Path("poetry.lock")
if not Locker(lock, tomllib.loads(pyproject.read_text(encoding="utf-8"))).is_fresh():
    sys.exit(f"{pyproject} changed significantly since {lock} was last generated")
Path("/out").mkdir()
Path("/out/fresh").touch()
END


# Installing starts from these lists and not from pyproject.toml: a version bump changes none, and nothing is installed.
FROM base AS lock
RUN --network=none \
    --mount=type=bind,source=prodlock/inside/requirements.py,target=/requirements.py \
    --mount=type=bind,source=poetry.lock,target=/poetry.lock \
    mkdir /lock \
    && python /requirements.py /poetry.lock /lock


FROM base AS main
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock/main.txt,target=/main.txt \
    --mount=type=bind,source=prodlock/inside/bytecode.py,target=/bytecode.py \
    --mount=type=cache,target=/root/.cache/uv \
    python -m venv --without-pip /opt/venv \
    && rm /opt/venv/bin/[Aa]ctivate* \
    && sh /install /main.txt \
    && python -S /bytecode.py venv /opt/venv


FROM main AS dev
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock/dev.txt,target=/dev.txt \
    --mount=type=bind,from=check,source=/out/fresh,target=/fresh \
    --mount=type=bind,source=prodlock/inside/bytecode.py,target=/bytecode.py \
    --mount=type=cache,target=/root/.cache/uv \
    sh /install /dev.txt \
    && python -S /bytecode.py venv /opt/venv
# What the checks know of the lock: markers are evaluated in a build alone.
COPY --from=lock /lock/selection.json /srv/
COPY --chmod=755 . .
USER 10001:10001
CMD ["pytest"]


# Holds no code: `inv lint` mounts the working tree.
FROM main AS lint
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock,target=/lock \
    --mount=type=cache,target=/root/.cache/uv \
    sh /install --compile-bytecode /lock/dev.txt /lock/images.txt /lock/lint.txt


# Writes the bill of materials: `inv sbom` tells it what of.
FROM main AS sbom
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock/sbom.txt,target=/sbom.txt \
    --mount=type=cache,target=/root/.cache/uv \
    sh /install --compile-bytecode /sbom.txt
COPY prodlock/inside/sbom.py /srv/


# Validates deploy/, for `inv deploy-check`.
FROM main AS deploy
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/packages.sh,target=/packages \
    --mount=type=tmpfs,target=/tmp \
    sh /packages kubernetes-client
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock/deploy.txt,target=/deploy.txt \
    --mount=type=cache,target=/root/.cache/uv \
    sh /install --compile-bytecode /deploy.txt
COPY prodlock/inside/manifests.py /srv/
USER 10001:10001
CMD ["python", "/srv/manifests.py"]


# Makes up requests from the OpenAPI document, for prodlock/tests/engine.
FROM main AS fuzz
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/install.sh,target=/install \
    --mount=type=bind,from=uv,source=/usr/local/bin/uv,target=/uv \
    --mount=type=bind,from=lock,source=/lock/fuzz.txt,target=/fuzz.txt \
    --mount=type=cache,target=/root/.cache/uv \
    sh /install --compile-bytecode /fuzz.txt
USER 10001:10001


# What prod is made of, as trees. Every file has one time: the same commit gives the same layers, whenever it is built.
# They are in /out, not in /: BuildKit reads all of the folder that holds what is copied or mounted from a stage.
FROM base AS system
RUN --network=none \
    --mount=type=bind,source=prodlock/inside/collect.py,target=/collect.py \
    --mount=type=bind,from=pinned,source=/var/lib/dpkg/status,target=/before \
    python /collect.py system /out/tree /before \
    && find /out/tree -exec touch -hd @315532800 {} +

FROM main AS venv
RUN --network=none \
    --mount=type=bind,source=prodlock/inside/collect.py,target=/collect.py \
    --mount=type=bind,from=system,source=/out/tree,target=/system \
    --mount=type=bind,from=check,source=/out/fresh,target=/fresh \
    python /collect.py venv /out/tree /opt/venv /system \
    && find /out/tree -exec touch -hd @315532800 {} +

FROM base AS app
COPY --from=sources / /out/tree
RUN --network=none \
    --mount=type=bind,source=prodlock/inside/bytecode.py,target=/bytecode.py \
    python -S /bytecode.py tree /out/tree \
    && find /out/tree -type d -empty -delete \
    && find /out/tree -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} + \
    && find /out/tree -exec touch -hd @315532800 {} +


# What prod may hold, made by another way than prod: for `inv check-prod`. Nothing is copied from here.
FROM pinned AS wheels
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,from=lock,source=/lock/main.txt,target=/main.txt \
    sh /online pip download --quiet --disable-pip-version-check --no-input --no-cache-dir --no-deps \
        --only-binary :all: --require-hashes --dest /out/wheels -r /main.txt

FROM pinned AS golden
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
ARG PACKAGES=""
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=bind,source=prodlock/inside/online.sh,target=/online \
    --mount=type=bind,source=prodlock/inside/packages.sh,target=/packages \
    --mount=type=tmpfs,target=/tmp \
    sh /packages "$PACKAGES"
WORKDIR /golden
COPY prodlock/__init__.py prodlock/
COPY prodlock/inside/__init__.py prodlock/inside/bytecode.py prodlock/inside/collect.py prodlock/inside/golden.py prodlock/inside/
RUN --network=none \
    --mount=type=bind,from=lock,source=/lock/selection.json,target=/golden/selection.json \
    --mount=type=bind,from=wheels,source=/out/wheels,target=/golden/wheels \
    --mount=type=bind,from=pinned,source=/var/lib/dpkg/status,target=/golden/status \
    python -m prodlock.inside.golden world


FROM scratch AS prod
COPY --from=system /out/tree /
COPY --from=venv /out/tree /
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /srv
COPY --from=app /out/tree /
USER 10001:10001
ARG CREATED REVISION SOURCE VERSION
LABEL org.opencontainers.image.created=$CREATED \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.source=$SOURCE \
    org.opencontainers.image.version=$VERSION
EXPOSE 8000
# start-interval: the first answer comes within half a second, so wait for it in small steps.
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s --start-interval=250ms \
    CMD ["python", "-S", "prodlock/server/healthcheck.py"]
# The kernel drops a signal that process 1 does not handle, but keeps a blocked one: a stop during the interpreter's start
# is not lost. `prodlock.server` handles the signals before it imports the service.
CMD ["env", "--block-signal=TERM,INT", "python", "-m", "prodlock.server", "app.main:create_app"]
