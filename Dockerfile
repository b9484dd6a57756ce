# The app: `glassine` with everything it needs from wheels, run by a user that is not root.
FROM python:3.13.7-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /opt/glassine
COPY pyproject.toml README.md LICENSE ./
COPY formats formats
COPY converters converters
COPY app app
COPY static static
# --prefer-binary: no compiler is in this image, and none is needed.
RUN pip install --no-cache-dir --disable-pip-version-check --prefer-binary . \
    && useradd --uid 1000 --user-group --create-home glassine \
    && install -d -o glassine -g glassine /srv/data

USER 1000:1000
WORKDIR /srv/data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]

ENTRYPOINT ["glassine"]
CMD ["serve", "/srv/data", "--host", "0.0.0.0", "--port", "8080"]
