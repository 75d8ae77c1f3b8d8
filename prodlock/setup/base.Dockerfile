# python:3.13-slim-trixie for machines that reach a Debian mirror but no image registry (`inv setup`).
# Same layout as the official image: CPython under /usr/local with a shared libpython.
# The source is upstream's archive in Debian's source package: apt checks Debian's signature on it, and
# the checksum below is the one that python.org published.
ARG DEBIAN=debian:trixie-slim

FROM ${DEBIAN} AS build
ARG PYTHON_SHA256=93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640
RUN --mount=type=secret,id=ca_bundle \
    set -eu; \
    if [ -s /run/secrets/ca_bundle ]; then echo 'Acquire::https::CAInfo "/run/secrets/ca_bundle";' > /etc/apt/apt.conf.d/ca; fi; \
    sed -i 's/^Types: deb$/Types: deb deb-src/; s/^deb \(.*\)/&\ndeb-src \1/' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        dpkg-dev \
        gcc \
        libbluetooth-dev \
        libbz2-dev \
        libc6-dev \
        libdb-dev \
        libffi-dev \
        libgdbm-dev \
        liblzma-dev \
        libncursesw5-dev \
        libreadline-dev \
        libsqlite3-dev \
        libssl-dev \
        make \
        uuid-dev \
        xz-utils \
        zlib1g-dev; \
    cd /tmp; \
    apt-get source --download-only python3.13
# hadolint ignore=DL4006
RUN set -eu; \
    cd /tmp; \
    echo "$PYTHON_SHA256 $(echo python3.13_*.orig.tar.xz)" | sha256sum -c -; \
    mkdir source; \
    tar -xJf python3.13_*.orig.tar.xz -C source --strip-components=1; \
    cd source; \
    ./configure --build="$(dpkg-architecture --query DEB_BUILD_GNU_TYPE)" \
        --enable-loadable-sqlite-extensions --enable-shared --with-ensurepip > /dev/null; \
    make -s -j "$(nproc)" LDFLAGS='-Wl,--strip-all' > /dev/null; \
    make -s install DESTDIR=/stage > /dev/null; \
    find /stage -depth \( \
        \( -type d -a \( -name test -o -name tests -o -name idle_test \) \) \
        -o \( -type f -a \( -name '*.pyc' -o -name '*.pyo' -o -name 'libpython*.a' \) \) \
    \) -exec rm -rf '{}' +; \
    cd /stage/usr/local/bin; \
    for name in idle pip pydoc python; do ln -s "${name}3" "$name"; done; \
    ln -s python3-config python-config; \
    # The packages of the libraries that the interpreter and its extension modules link to.
    find /stage -type f \( -name 'python3.*' -o -name '*.so*' \) -exec ldd '{}' ';' 2>/dev/null \
        | awk '/=> \// && $3 !~ /\/stage\// { print $3 }' | sort -u | xargs -n 1 realpath \
        | xargs dpkg-query --search | cut -d: -f1 | sort -u > /runtime-packages

FROM ${DEBIAN}
ENV PATH=/usr/local/bin:$PATH
# hadolint ignore=SC2046
RUN --mount=type=bind,from=build,source=/runtime-packages,target=/runtime-packages \
    --mount=type=secret,id=ca_bundle \
    set -eu; \
    apt="apt-get"; \
    if [ -s /run/secrets/ca_bundle ]; then apt="apt-get -o Acquire::https::CAInfo=/run/secrets/ca_bundle"; fi; \
    $apt update; \
    $apt install -y --no-install-recommends ca-certificates netbase tzdata $(cat /runtime-packages); \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /stage/ /
# -B: no bytecode, like the official image.
RUN ldconfig && python3 -B --version && python3 -B -m pip --version
CMD ["python3"]
