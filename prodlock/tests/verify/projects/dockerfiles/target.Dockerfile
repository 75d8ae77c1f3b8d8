FROM python:3.13-slim-trixie
WORKDIR /app
ENV PYTHONPATH=/app/vendor PYTHONDONTWRITEBYTECODE=1
COPY requirements.txt .
RUN pip install --no-cache-dir --no-compile --target /app/vendor -r requirements.txt
COPY app app
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000"]
