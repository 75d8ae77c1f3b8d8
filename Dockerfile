# Two images from one lock: `docker build .` is prod, `docker build --target dev .` is dev.
#
#   base -> tools -> lock      what the lock says, as lists with hashes
#        -> main -> dev
#                -> lint
#        -> prod
#
# prod descends from base alone: what it holds is copied in by name.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# The official image has no bytecode. Without it every start compiles the standard library anew.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    -x '/(site-packages|ensurepip|idlelib|lib2to3|test|tests|tkinter|turtledemo)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
WORKDIR /srv


# Poetry reads the lock, uv installs from it. Both stay out of every stage below.
FROM base AS tools
COPY --chmod=755 ops/online.sh /usr/local/bin/online
# pip installs uv alone: resolving the rest takes it several seconds, uv less than one.
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=cache,target=/root/.cache \
    --mount=type=bind,source=ops/tools.txt,target=tools.txt \
    sed -n '/^uv==/,/# via/p' tools.txt > /tmp/uv.txt \
    && online pip install --disable-pip-version-check --root-user-action ignore --require-hashes -r /tmp/uv.txt \
    && python -m venv --without-pip /opt/tools \
    && UV_LINK_MODE=copy online uv pip sync --compile-bytecode --python /opt/tools --require-hashes tools.txt
ENV PATH=/opt/tools/bin:$PATH


# Installing starts from these lists and not from pyproject.toml: a version bump changes none, and nothing is installed.
FROM tools AS lock
COPY pyproject.toml poetry.lock ./
RUN poetry check --lock \
    && for group in main dev lint; do poetry export --only "$group" --output "$group.txt" || exit 1; done


FROM base AS main
# Wheels only: building a source distribution would run code that no hash in the lock covers.
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_BUILD=1
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=tools,source=/usr/local/bin,target=/tools \
    --mount=type=bind,from=lock,source=/srv/main.txt,target=main.txt \
    python -m venv --without-pip /opt/venv \
    && /tools/online /tools/uv pip sync --python /opt/venv --require-hashes main.txt \
    && rm /opt/venv/.lock


FROM main AS dev
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=tools,source=/usr/local/bin,target=/tools \
    --mount=type=bind,from=lock,source=/srv/dev.txt,target=dev.txt \
    /tools/online /tools/uv pip install --python /opt/venv --require-hashes -r dev.txt \
    && rm /opt/venv/.lock
COPY --chmod=755 . .
USER 10001:10001
CMD ["pytest"]


# Holds no code: `inv lint` mounts the working tree.
FROM main AS lint
RUN --mount=type=secret,id=ca_bundle \
    --mount=type=secret,id=index_url \
    --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,from=tools,source=/usr/local/bin,target=/tools \
    --mount=type=bind,from=lock,source=/srv,target=/lock \
    /tools/online /tools/uv pip install --python /opt/venv --require-hashes -r /lock/dev.txt -r /lock/lint.txt


FROM base AS prod
COPY --from=main /opt/venv /opt/venv
COPY --chmod=755 app app
RUN python -m compileall -q --invalidation-mode unchecked-hash app
USER 10001:10001
EXPOSE 8000
# start-interval: the first answer comes within half a second, so wait for it in small steps.
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s --start-interval=250ms \
    CMD ["python", "-S", "app/healthcheck.py"]
# A request in flight has 8 s to finish: less than the 10 s after which Docker kills.
CMD ["uvicorn", "app.main:create_app", "--factory", "--host", "0.0.0.0", "--port", "8000", "--http", "httptools", \
     "--timeout-graceful-shutdown", "8"]
