"""Names of the environment variables of driver and worker pods."""

from __future__ import annotations

from typing import Final

JOB: Final = "SEEDBED_JOB"
"""The TrainingJob or SweepJob as JSON: kind, name, namespace, uid and spec."""
ATTEMPT: Final = "SEEDBED_ATTEMPT"
ROLE: Final = "SEEDBED_ROLE"
RAY_MODE: Final = "SEEDBED_RAY_MODE"
RAY_ADDRESS: Final = "SEEDBED_RAY_ADDRESS"
RANKS: Final = "SEEDBED_RANKS"
GPUS: Final = "SEEDBED_GPUS"
DEVICE: Final = "SEEDBED_DEVICE"
GPU_EXCHANGE: Final = "SEEDBED_GPU_EXCHANGE"
EXPECTED_DATASET_DIGEST: Final = "SEEDBED_EXPECTED_DATASET_DIGEST"
EXPECTED_RUN_ID: Final = "SEEDBED_EXPECTED_RUN_ID"
EXPECTED_ENVIRONMENT_CLASS: Final = "SEEDBED_EXPECTED_ENVIRONMENT_CLASS"
OUTPUT_TRUST: Final = "SEEDBED_OUTPUT_TRUST"
SIGNATURE_POLICY: Final = "SEEDBED_SIGNATURE_POLICY"
"""The signaturePolicy of the profile as JSON."""
RECEIPT_DIGEST: Final = "SEEDBED_RECEIPT_DIGEST"
SIGNATURE: Final = "SEEDBED_SIGNATURE"
"""The operator's DSSE envelope of a receipt as JSON."""
CACHE_FOLDER: Final = "SEEDBED_CACHE_FOLDER"
CACHE_BYTES: Final = "SEEDBED_CACHE_BYTES"
ALLOWED_URI_PREFIXES: Final = "SEEDBED_ALLOWED_URI_PREFIXES"
"""The allowedURIPrefixes of the profile as a JSON list, which redirects must stay within."""

POD_NAME: Final = "POD_NAME"
POD_IP: Final = "POD_IP"
POD_FIELDS: Final = {POD_IP: "status.podIP", POD_NAME: "metadata.name"}
"""Variables that the kubelet fills in from fields of the pod."""

RAY_AUTH_MODE: Final = "RAY_AUTH_MODE"
RAY_AUTH_TOKEN: Final = "RAY_AUTH_TOKEN"
"""Variables of Ray; the token comes from the Secret of the job."""
TOKEN_KEY: Final = "token"
"""Key of the token in that Secret."""

GLOO_INTERFACE: Final = "GLOO_SOCKET_IFNAME"
CONSTANTS: Final = {
    "HOME": "/tmp",
    GLOO_INTERFACE: "eth0",
    RAY_AUTH_MODE: "token",
}
"""Variables with the same value in every pod: a home that can be written, the pod's network interface, and a
Ray that takes commands from nobody without the token."""

# The operator sets none of the following; pods have defaults for them, tests and benchmarks change them.
RAY_PORT: Final = "SEEDBED_RAY_PORT"
PROGRESS_PORT: Final = "SEEDBED_PROGRESS_PORT"
SECRETS_FOLDER: Final = "SEEDBED_SECRETS_FOLDER"
CLAIMS_FOLDER: Final = "SEEDBED_CLAIMS_FOLDER"
TERMINATION_LOG: Final = "SEEDBED_TERMINATION_LOG"
