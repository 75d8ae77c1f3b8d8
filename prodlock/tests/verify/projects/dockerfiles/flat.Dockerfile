FROM python:3.13-slim-trixie AS builder
WORKDIR /code
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY app ./app


# One layer: what the builder has deleted does not ship.
FROM scratch
COPY --from=builder / /
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /code
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
