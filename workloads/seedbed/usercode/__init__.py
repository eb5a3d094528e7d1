"""User code of a model: entrypoint, wheel, source digest, network check, determinism probe, messages."""

from seedbed.usercode.code_source import CodeArchive, fetch_code
from seedbed.usercode.entrypoint_loader import Batch, UserModel, load_entrypoint
from seedbed.usercode.network_check import check_network

__all__ = ["Batch", "CodeArchive", "UserModel", "check_network", "fetch_code", "load_entrypoint"]
