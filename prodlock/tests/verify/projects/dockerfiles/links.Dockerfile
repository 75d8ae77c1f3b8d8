# The environment has links to uv's cache, which is copied with it.
FROM python:3.13-slim-trixie AS builder
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
ENV UV_LINK_MODE=symlink UV_CACHE_DIR=/app/.uv-cache UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev


FROM python:3.13-slim-trixie
WORKDIR /app
COPY --from=builder /app/.uv-cache .uv-cache
COPY --from=builder /app/.venv .venv
COPY app app
COPY --chmod=755 <<'END' /usr/local/bin/start
#!/bin/sh
exec /app/.venv/bin/uvicorn app.main:app --host 0.0.0.0 "$@"
END
CMD ["start", "--port", "8000"]
