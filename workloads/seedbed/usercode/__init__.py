"""User code: the entrypoint of a model, its wheel, its source digest, and the probe of its determinism."""

from seedbed.usercode.fetching import CodeArchive, fetch_code
from seedbed.usercode.loading import Batch, UserModel, check_network, load_entrypoint

__all__ = ["Batch", "CodeArchive", "UserModel", "check_network", "fetch_code", "load_entrypoint"]
