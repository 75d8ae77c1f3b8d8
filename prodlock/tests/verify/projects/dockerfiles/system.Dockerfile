FROM python:3.13-slim-trixie
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /srv
COPY requirements.txt .
RUN uv pip install --system --no-cache -r requirements.txt
COPY app app
EXPOSE 8000
CMD ["uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
