# Locks of a project, by the programs that its team would use. A build's result is these files.
FROM python:3.13-slim-trixie AS tools
RUN pip install --no-cache-dir uv==0.13.8 poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5
WORKDIR /lock
COPY . .


FROM tools AS uv-lock
RUN uv lock
RUN uv export --quiet --frozen --no-dev --no-emit-workspace --output-file requirements.txt
RUN uv export --quiet --frozen --only-group dev --no-emit-workspace --output-file requirements-dev.txt


FROM tools AS poetry-lock
RUN poetry lock


FROM scratch AS uv
COPY --from=uv-lock /lock/uv.lock /lock/requirements*.txt /


FROM scratch AS poetry
COPY --from=poetry-lock /lock/poetry.lock /
