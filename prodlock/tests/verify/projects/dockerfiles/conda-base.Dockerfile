# As Miniconda's image has it: an interpreter under /opt/conda, which is not the distribution's.
FROM python:3.13-slim-trixie
RUN cp -a /usr/local /opt/conda && rm -rf /opt/conda/lib/python3.13/__pycache__
ENV PATH=/opt/conda/bin:$PATH
