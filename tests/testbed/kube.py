"""What a test says to the API server: raw objects by path, and kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from support.eventually import eventually
from testbed.kubeconfigs import User

Json = dict[str, Any]
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Refused(Exception):  # noqa: N818 - the API server's answer, often the one a test wants
    """An answer of 400 or more; `status` is its code, `reason` and the text are the server's."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        self.status = status
        self.reason = str(answer.get("reason", ""))
        self.answer = answer
        super().__init__(f"{status} {answer.get('message', answer)}")


class Kube:
    """One user's connection to the API server; objects are plain dicts, addressed by their path."""

    def __init__(
        self, *, server: str, authority: Path, user: User, kubeconfig: Path, kubectl_binary: Path
    ) -> None:
        self.server = server
        self.kubeconfig = kubeconfig
        self._kubectl = kubectl_binary
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(authority)
        if user.certificate is not None:
            self._session.cert = (str(user.certificate.certificate), str(user.certificate.key))
        else:
            self._session.headers["Authorization"] = f"Bearer {user.token}"

    def get(self, path: str, **parameters: str) -> Json:
        """Return an object or a list; `labelSelector` and the like are parameters."""
        return self._ask("GET", path, parameters=parameters)

    def items(self, path: str, **parameters: str) -> list[Json]:
        """Return the items of a list."""
        return list(self.get(path, **parameters)["items"])

    def exists(self, path: str) -> bool:
        """Say whether there is such an object."""
        try:
            self.get(path)
        except Refused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def create(self, path: str, body: Mapping[str, Any], **parameters: str) -> Json:
        """Post an object to a collection, or to a subresource such as `…/eviction`."""
        return self._ask("POST", path, body=body, parameters=parameters)

    def replace(self, path: str, body: Mapping[str, Any]) -> Json:
        """Put an object."""
        return self._ask("PUT", path, body=body)

    def patch(self, path: str, body: Any, *, kind: str = "merge", **parameters: str) -> Json:
        """Patch an object by a `merge`, `json`, `strategic` or `apply` patch."""
        return self._ask("PATCH", path, body=body, parameters=parameters, content_type=_PATCH_TYPES[kind])

    def delete(self, path: str, *, grace_seconds: int | None = None, propagation: str = "Background") -> Json:
        """Delete an object, or all of a collection."""
        options: Json = {"propagationPolicy": propagation}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return self._ask("DELETE", path, body=options)

    def text(self, path: str, **parameters: str) -> str:
        """Return what is no JSON: `…/pods/NAME/log`, or what a pod serves by `…/pods/NAME:PORT/proxy/…`."""
        answer = self._session.get(self.server + path, params=parameters, timeout=60)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, {"message": answer.text[:2000]})
        return answer.text

    def wait_for(
        self, path: str, accepted: Callable[[Json], bool], *, seconds: float = 240, what: str = ""
    ) -> Json:
        """Return the object once it is accepted; `NotSeen` shows the status that it had last."""
        seen = eventually(
            lambda: self._looked_up(path),
            lambda found: found is not None and accepted(found),
            what=f"{path}: {what or 'an object as awaited'}",
            seconds=seconds,
            every=0.2,
            shown=lambda found: f"status:\n{yaml.safe_dump((found or {}).get('status'))}",
        )
        assert seen is not None
        return seen

    def wait_gone(self, path: str, *, seconds: float = 240) -> None:
        """Return once there is no such object."""
        eventually(lambda: not self.exists(path), what=f"the end of {path}", seconds=seconds, every=0.2)

    def kubectl(self, *arguments: str, feed: str | None = None, seconds: float = 300) -> str:
        """Run kubectl as this user and return its output; `subprocess.CalledProcessError` has its complaint."""
        done = subprocess.run(
            (str(self._kubectl), "kubectl", *arguments),
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=feed,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        try:
            done.check_returncode()
        except subprocess.CalledProcessError as error:
            error.add_note(done.stderr)
            raise
        return done.stdout

    def define(self, *files: Path, patience_seconds: float = 240) -> None:
        """Apply definitions and wait until they are served; an API server too busy to answer is asked again."""
        options = [option for file in files for option in ("-f", str(file))]
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                self.kubectl("apply", "--server-side", "--force-conflicts", *options)
                break
            except subprocess.CalledProcessError as error:
                if "(Timeout)" not in error.stderr or time.monotonic() > deadline:
                    raise
                time.sleep(1)
        self.kubectl("wait", "--for=condition=Established", "--timeout=240s", *options, seconds=300)
        self.await_definitions(seconds=patience_seconds)

    def await_definitions(self, *, seconds: float = 240) -> None:
        """Wait until the kinds of all definitions can be used: a moment after they are established, and after a start."""
        eventually(self.serves_definitions, what="the kinds of all definitions", seconds=seconds)

    def serves_definitions(self) -> bool:
        """Say whether the kinds of all definitions are served, and where kubectl and Helm look for kinds."""
        try:
            wanted = {place for each in self.items(_DEFINITIONS) for place in _places(each)}
            return wanted <= self._discovered() and all(
                self.exists(f"/apis/{'/'.join(place)}?limit=1") for place in wanted
            )
        except Refused as refused:
            if refused.status not in (404, 503):
                raise
            return False

    def _discovered(self) -> set[tuple[str, str, str]]:
        """Return group, version and plural of everything that the API server lists among its kinds."""
        answer = self._session.get(self.server + "/apis", headers={"Accept": _DISCOVERY}, timeout=60)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, {"message": answer.text[:2000]})
        return {
            (group["metadata"]["name"], version["version"], each["resource"])
            for group in answer.json()["items"]
            for version in group["versions"]
            for each in version.get("resources", ())
        }

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> None:
        """Apply objects server-side, whatever their kinds, by kubectl."""
        feed = "\n---\n".join(json.dumps(thing) for thing in objects)  # YAML would write "5e-4" as a number
        self.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", feed=feed)

    def _looked_up(self, path: str) -> Json | None:
        try:
            return self.get(path)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        parameters: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        answer = self._session.request(
            method,
            self.server + path,
            params=dict(parameters or {}),
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            timeout=60,
        )
        content = _content(answer)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, content)
        return content


def _content(answer: requests.Response) -> Json:
    """Return the object that was sent; a group that is not served any more is answered in plain text."""
    try:
        return dict(answer.json()) if answer.content else {}
    except requests.JSONDecodeError:
        return {"message": answer.text}


def _places(definition: Json) -> Iterator[tuple[str, str, str]]:
    """Yield group, version and plural of what a definition serves, unless it is being deleted."""
    spec = definition["spec"]
    if "deletionTimestamp" not in definition["metadata"]:
        for version in spec["versions"]:
            if version["served"]:
                yield spec["group"], version["name"], spec["names"]["plural"]
