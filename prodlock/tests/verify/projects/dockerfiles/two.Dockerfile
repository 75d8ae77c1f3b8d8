# The service and its nightly jobs, each with an environment of its own; the second one has a pip.
FROM python:3.13-slim-trixie
COPY requirements.txt /tmp/requirements.txt
RUN python -m venv --without-pip /opt/service
RUN pip --python /opt/service install --no-cache-dir --require-hashes -r /tmp/requirements.txt
RUN python -m venv /opt/jobs
RUN /opt/jobs/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
RUN rm /tmp/requirements.txt
WORKDIR /srv
COPY app app
CMD ["/opt/service/bin/uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
