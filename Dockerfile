# One engine behind a port that asks for a token; see docs/service.md.
#   docker build -t codeprompt .          docker build --build-arg EXTRAS='[ray]' -t codeprompt .

ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS build
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/codeprompt
RUN /opt/codeprompt/bin/pip install "${TORCH}" --index-url "${TORCH_INDEX}"
WORKDIR /source
COPY requirements/constraints.txt requirements/constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY codeprompt codeprompt
COPY lsp_server lsp_server
RUN /opt/codeprompt/bin/pip install -c requirements/constraints.txt ".${EXTRAS}"

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/codeprompt --shell /usr/sbin/nologin codeprompt \
    && install -d -o codeprompt -g codeprompt -m 0700 /var/lib/codeprompt
COPY --from=build /opt/codeprompt /opt/codeprompt
# All that is ever written lies below /var/lib/codeprompt and /tmp: the rest may be read-only.
ENV PATH=/opt/codeprompt/bin:$PATH \
    HOME=/var/lib/codeprompt \
    CODEPROMPT_HOME=/var/lib/codeprompt/state \
    CODEPROMPT_DATA=/var/lib/codeprompt/data \
    XDG_CACHE_HOME=/var/lib/codeprompt/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_WAIT_POLICY=PASSIVE
USER 10001:10001
WORKDIR /var/lib/codeprompt
VOLUME /var/lib/codeprompt
EXPOSE 8420
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8420/healthz', timeout=4)"]
ENTRYPOINT ["codeprompt"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8420", "--allow-remote", "--token-file", "/var/lib/codeprompt/token"]
