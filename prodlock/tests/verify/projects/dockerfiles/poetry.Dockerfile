FROM python:3.13-slim-trixie
ENV POETRY_VIRTUALENVS_IN_PROJECT=1
# The plugin: Poetry alone can't read an index that serves plain HTML, as a company's mirror often does.
RUN pip install poetry==2.5.1 poetry-plugin-pypi-mirror==0.6.5
WORKDIR /app
COPY pyproject.toml poetry.lock ./
RUN poetry install --only main --no-interaction
COPY app ./app
EXPOSE 8000
CMD ["/app/.venv/bin/uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
