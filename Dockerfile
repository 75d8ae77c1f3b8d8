# Two images from one lock: `docker build .` is prod, `docker build --target dev .` is dev.
#
#   base, uv, lock -> main, dev-packages: the locked wheels, in /opt
#   base, main, dev-packages -> dev
#   base, main -> system ┐
#                   main ├ prod, from scratch: it holds what is copied by name
#   base, sources -> app ┘
# prodlock/inside/Dockerfile builds the tools beside the images: Poetry, the linters and others.
ARG BASE=python:3.13-slim-trixie

# The one place that names what ships beside the locked wheels. What changes most is last: an edit repeats one step.
FROM scratch AS sources
COPY prodlock/server /srv/prodlock/server
COPY prodlock/__init__.py /srv/prodlock/
COPY app /srv/app

FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=/srv
# Debian packages that the service needs, such as "git libpq5". prod has them with all that they link to.
ARG PACKAGES=""
RUN --mount=type=secret,id=ca_bundle --mount=type=tmpfs,target=/tmp \
    --mount=source=prodlock/inside/packages.sh,target=/packages.sh \
    --mount=source=prodlock/inside/bytecode.py,target=/bytecode.py \
    sh /packages.sh "$PACKAGES" && python -S /bytecode.py stdlib
WORKDIR /srv

# The installer and what it needs, for one mount. It starts from the unchanged base image, while base is compiled.
FROM ${BASE} AS uv
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=index_url --mount=type=secret,id=extra_index_url \
    --mount=type=secret,id=netrc --mount=source=prodlock/inside,target=/in \
    install -m 644 -Dt /out/uv /in/bytecode.py /in/install.py /in/uv.txt && python /out/uv/install.py uv

# A stale lock stops both images here. The project's version is in no list: a version bump installs nothing again.
FROM ${BASE} AS lock
RUN --network=none --mount=source=prodlock/inside/lock,target=/prodlock/inside/lock \
    --mount=source=pyproject.toml,target=/lock/pyproject.toml --mount=source=poetry.lock,target=/lock/poetry.lock \
    python -m prodlock.inside.lock /lock/poetry.lock /out

# prod takes /opt from here: a commit has one time and gives one layer. With base's compiled library Python starts fast.
FROM ${BASE} AS main
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=index_url --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=extra_index_url --mount=type=secret,id=netrc --mount=from=uv,source=/out/uv,target=/installer \
    --mount=from=lock,source=/out/main.txt,target=/main.txt --mount=from=base,src=/usr/local/lib,dst=/usr/local/lib \
    python /installer/install.py wheels /opt/venv /main.txt && find /opt -exec touch -hd @315532800 {} +

# What development adds to /opt. A file of main makes it wait: two steps that look up names at once can lose an answer.
FROM ${BASE} AS dev-packages
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=index_url --mount=type=cache,target=/root/.cache/uv \
    --mount=type=secret,id=extra_index_url --mount=type=secret,id=netrc --mount=from=uv,source=/out/uv,target=/installer \
    --mount=from=main,source=/opt/venv/pyvenv.cfg,target=/main.cfg --mount=from=lock,source=/out/dev.txt,target=/dev.txt \
    --mount=from=base,src=/usr/local/lib,dst=/usr/local/lib python /installer/install.py wheels /opt/venv /dev.txt

# Tests may write beside the sources. `docker compose watch` needs a user that has a name, and USER without a group.
FROM base AS dev
RUN --network=none useradd --create-home --uid=10001 app && install --directory --owner=app . reports
COPY --from=main /opt /opt
COPY --from=dev-packages /opt /opt
# What the checks compare the lock with: its markers are evaluated in the build alone.
COPY --from=lock /out/selection.json ./
COPY --chmod=755 . .
ENV COVERAGE_FILE=/tmp/.coverage
USER 10001
CMD ["pytest"]

# What prod takes of the base image: the interpreter, and the libraries that it, /opt/venv and PACKAGES link to.
FROM base AS system
RUN --network=none --mount=source=prodlock/inside/collect.py,target=/collect.py \
    --mount=from=main,source=/opt,target=/opt --mount=from=lock,source=/var/lib/dpkg/status,target=/before \
    python /collect.py /out/tree /before /opt/venv && find /out -exec touch -hd @315532800 {} +

FROM base AS app
RUN --network=none --mount=from=sources,target=/sources --mount=source=prodlock/inside/bytecode.py,target=/bytecode.py \
    python -S /bytecode.py tree /sources /out/tree

FROM scratch AS prod
COPY --from=system /out/tree /
COPY --from=main /opt /opt
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONPATH=/srv
WORKDIR /srv
COPY --from=app /out/tree /
USER 10001:10001
ARG CREATED REVISION SOURCE VERSION
LABEL org.opencontainers.image.created=$CREATED org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.source=$SOURCE org.opencontainers.image.version=$VERSION
EXPOSE 8000
# start-interval: the first answer comes within half a second, so wait for it in small steps.
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s --start-interval=0.25s \
    CMD ["python", "-S", "/srv/prodlock/server/healthcheck.py"]
# The kernel drops a signal that process 1 does not handle, but keeps a blocked one: a stop while the interpreter
# starts is not lost. `prodlock.server` handles the signals before it imports the service.
CMD ["env", "--block-signal=TERM,INT", "python", "-m", "prodlock.server", "app.main:create_app"]
