"""Environment variables of other Ray clusters and process groups, which must not reach ours."""

from __future__ import annotations

OF_OTHERS = {
    "RAY_ADDRESS": "10.0.0.1:6379",
    "RAY_NAMESPACE": "theirs",
    "RAY_RUNTIME_ENV_HOOK": "no.such.hook",
    "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}",
    "RAY_TRAIN_CALLBACKS": "no.such.class",
    "RAY_DATA_EXECUTION_CALLBACKS": "no.such.class",
    "RAY_WORKER_PROCESS_SETUP_HOOK": "no.such.hook",
    "RAY_REDIS_ADDRESS": "10.0.0.1:6379",
    "RAY_USE_TLS": "1",
    "RAY_OVERRIDE_RESOURCES": '{"CPU": 0}',
    "RAY_PORT": "tcp://10.0.0.1:6379",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "tcp://10.0.0.1:80",
    "RANK": "3",
    "WORLD_SIZE": "16",
    "LOCAL_RANK": "1",
    "TORCHELASTIC_RUN_ID": "theirs",
    "TORCH_DISTRIBUTED_DEBUG": "DETAIL",
    "TUNE_RESULT_BUFFER_LENGTH": "100",
}
