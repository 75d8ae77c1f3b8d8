# One member of a workspace, which uv installs as an editable package.
FROM python:3.13-slim-trixie AS builder
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /app
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv uv sync --frozen --no-dev --package api


FROM python:3.13-slim-trixie
WORKDIR /app
COPY --from=builder /app/.venv .venv
COPY --from=builder /app/api api
COPY --from=builder /app/core core
CMD ["/app/.venv/bin/uvicorn", "api.main:app", "--host", "0.0.0.0", "--port", "8000"]
