# hyper as a BIDS App. Build: make image (docs/hpc.md says how, what it weighs and why).
#
# No registry or index is named here: base and packages come from where docker and pip of the machine
# look. A CPU-only torch is a third of the size of the default one on Linux; where the machine's index
# has only the default one, name the CPU index with --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11-slim-bookworm AS build
# pip reads both from the environment; unset, they change nothing
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/hyper
ENV PATH=/opt/hyper/bin:$PATH

# The pinned packages first: this layer is built again only when a version changes.
# onnxruntime is for exported generators; of the extra "onnx" the package onnx itself is used by tests only.
WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt onnxruntime

# What no run needs: tests of the packages, torch's C++ headers and test programs, pip itself.
# Compiled .pyc files stay, since a read-only root cannot write them and start-up is slow without.
RUN cd /opt/hyper/lib/python3.11/site-packages \
    && find . -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
    && rm -rf torch/include torch/share \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -name '*.a' -delete

COPY README.md ./
COPY hyper_bids hyper_bids
COPY bids_app bids_app
RUN pip install --constraint constraints.txt --no-deps . \
    && hyper --version | cut -d ' ' -f 2 > /version \
    && pip uninstall --quiet --yes pip \
    && chmod -R a+rX /opt/hyper /version


FROM python:3.11-slim-bookworm
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hyper" \
      org.opencontainers.image.description="BIDS App that decodes what a person saw from fMRI" \
      org.opencontainers.image.authors="The hyper developers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /opt/hyper /opt/hyper
COPY --from=build /version /version

# PYTHONNOUSERSITE: Apptainer mounts the user's home, whose ~/.local would shadow these packages.
# One BLAS thread a process: the app runs a process per CPU. NIPYPE_NO_ET: no telemetry.
# HOME does not exist, so that the app makes itself a private one in the temporary folder whatever
# the user id; Apptainer sets the user's own, and the caches below stay out of it.
ENV PATH=/opt/hyper/bin:$PATH \
    PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LANG=C.UTF-8 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1 \
    HOME=/nonexistent \
    XDG_CACHE_HOME=/tmp/hyper-cache MPLCONFIGDIR=/tmp/hyper-cache/matplotlib \
    TEMPLATEFLOW_HOME=/tmp/hyper-cache/templateflow NIPYPE_CONFIG_DIR=/tmp/hyper-cache/nipype \
    DENO_DIR=/tmp/hyper-cache/deno TORCH_HOME=/tmp/hyper-cache/torch \
    NIPYPE_NO_ET=1 NO_ET=1 \
    HYPER_DOCKER_TAG=hyper:$VERSION
WORKDIR /tmp
ENTRYPOINT ["hyper"]
