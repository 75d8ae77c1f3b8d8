ARG BASE
FROM ${BASE}
WORKDIR /code
COPY requirements.txt .
RUN /opt/conda/bin/python -m pip install --no-cache-dir --require-hashes -r requirements.txt
COPY app app
CMD ["/opt/conda/bin/python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
