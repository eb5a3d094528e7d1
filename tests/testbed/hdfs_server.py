"""A real HDFS of one name node and one data node (Hadoop's own, in one process), reached by WebHDFS on a free port."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.children import start_tied, stop
from testbed.gateway import free_port
from testbed.registry_packages import HDFS, installed
from testbed.store_server import ask, await_ready, write_secret

USER = "tester"
_NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class HdfsServer:
    """A running name node; what is a bucket elsewhere is a folder that the user owns."""

    endpoint: str

    def bucket(self) -> str:
        """Create a fresh folder and return its URL."""
        name = f"open/folder-{os.getpid()}-{next(_NUMBERS)}"
        ask("PUT", f"{self.endpoint}/webhdfs/v1/{name}?op=MKDIRS&user.name={USER}")
        return f"{self.endpoint.replace('http', 'webhdfs', 1)}/{name}"

    def through(self, url: str, endpoint: str) -> str:
        """Return the URL with a proxy in the place of the name node."""
        return url.replace(self.endpoint.removeprefix("http://"), endpoint.removeprefix("http://"))

    def environment(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the usual variable; the URL names the server."""
        del endpoint
        return {"HADOOP_USER_NAME": USER}

    def secret(self, folder: Path, *, endpoint: str | None = None) -> Path:
        """Write a secret folder for this server and return it."""
        return write_secret(folder, self.environment(endpoint=endpoint))


@contextmanager
def running_hdfs(folder: Path) -> Iterator[HdfsServer]:
    """Run both nodes below `folder`; `ToolMissing` where Hadoop cannot be had."""
    source, port, log = installed(HDFS), free_port(), folder / "log"
    for pages in ("hdfs", "datanode"):  # the web pages of the nodes, which the jars leave out
        (folder / "classes/webapps" / pages).mkdir(parents=True)
    classes = ["-cp", f"{folder / 'classes'}:{source / 'jars'}/*", str(source / "Hdfs.java")]
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "net", "util")]
    command = ["java", "-Xmx300m", *opened, *classes, str(folder / "nodes"), str(port)]
    process = start_tied(command, environment=os.environ, log=log)
    server = HdfsServer(endpoint=f"http://127.0.0.1:{port}")
    await_ready(process, lambda: "ready" in log.read_text(errors="replace").splitlines(), log)
    try:
        yield server
    finally:
        stop(process)
