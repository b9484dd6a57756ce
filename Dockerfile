# The app: `glassine` with everything it needs from wheels, run by a user that is not root on a root that may be read-only.
FROM python:3.13.7-slim-bookworm AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY formats formats
COPY converters converters
COPY app app
COPY static static
# --prefer-binary: no compiler is in this image, and none is needed. What is tests alone stays behind.
RUN python -m venv --without-pip /opt/glassine \
    && python -m pip --python /opt/glassine/bin/python install \
        --no-cache-dir --disable-pip-version-check --prefer-binary --root-user-action ignore ".[cluster]" \
    && find /opt/glassine/lib -type d -name tests -path "*/site-packages/*" -prune -exec rm -r {} + \
    && mkdir -p /opt/data

FROM python:3.13.7-slim-bookworm

# HOME: nobody has one here. The two caches: kernels are compiled once for a folder of datasets, not at each start.
ENV PATH=/opt/glassine/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    GLASSINE_CACHE=/srv/data/.glassine/cache \
    NUMBA_CACHE_DIR=/srv/data/.glassine/cache/kernels

COPY --from=build /opt/glassine /opt/glassine
COPY --from=build --chown=1000:1000 /opt/data /srv/data

USER 1000:1000
WORKDIR /srv/data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]

ENTRYPOINT ["glassine"]
CMD ["serve", "/srv/data", "--host", "0.0.0.0", "--port", "8080"]
