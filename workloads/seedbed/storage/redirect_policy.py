"""Where a request may go: which addresses no request reaches, and which redirects are followed.

A server chooses where its redirects lead, and a name where it resolves to. Neither may make this process
read the credentials that a cloud serves on a link-local address, or a program that listens on this machine.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from seedbed.storage.storage_urls import printable_url

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_FORBIDDEN = tuple(
    ipaddress.ip_network(block)
    for block in (
        "169.254.0.0/16",
        "fe80::/10",
        *("fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32"),
    )
)
"""Link-local blocks, and the metadata services of AWS, Google Cloud, Alibaba Cloud and Oracle beyond them."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_LOCAL_HOSTS = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


def is_forbidden(address: str) -> bool:
    """Return whether an IP address is link-local or that of a metadata service, in any IPv6 form too."""
    parsed = _parsed(address)
    return parsed is not None and any(
        parsed in block for block in _FORBIDDEN if block.version == parsed.version
    )


def is_loopback(address: str) -> bool:
    """Return whether an IP address is that of this machine; 0.0.0.0 and :: connect to it as well."""
    parsed = _parsed(address)
    return parsed is not None and (parsed.is_loopback or parsed.is_unspecified)


def is_local_host(host: str) -> bool:
    """Return whether a host of a URL names this machine."""
    name = host.rstrip(".").lower()
    return name in _LOCAL_HOSTS or name.endswith(".localhost") or is_loopback(host)


def host_problem(host: str) -> str | None:
    """Return why a host may not be asked, whatever it resolves to."""
    if host.rstrip(".").lower() in _METADATA_HOSTS or is_forbidden(host):
        return "is a link-local address or a metadata service"
    return None


def redirect_problem(first: str, here: str, target: str, *, allowed: Sequence[str] | None) -> str | None:
    """Return why a redirect is not followed: from the URL `here` of a chain that began at `first`.

    `allowed` are the allowedURIPrefixes of the profile; without them every place of HTTP is allowed.
    """
    parts = urlsplit(target)
    host = parts.hostname or ""
    problem = None
    if parts.scheme not in {"http", "https"} or not host:
        problem = "is no http or https URL"
    elif host_problem(host):
        problem = host_problem(host)
    elif urlsplit(here).scheme == "https" and parts.scheme == "http":
        problem = "is not encrypted as the URL before is"
    elif is_local_host(host) and not is_local_host(urlsplit(first).hostname or ""):
        problem = "is this machine itself"
    elif allowed and not _is_allowed(target, allowed):
        problem = "is not below allowedURIPrefixes of the profile"
    return problem and f"redirects to {printable_url(target.partition('?')[0])!r}, which {problem}"


def _is_allowed(url: str, prefixes: Sequence[str]) -> bool:
    from seedbed_api.profile_policy import uri_allowed  # models of profiles, needed for redirects alone

    return uri_allowed(url, prefixes)


def _parsed(address: str) -> _IPAddress | None:
    """Return an address, also of the forms that the system accepts: decimal, octal, hexadecimal, short."""
    try:
        parsed: _IPAddress = ipaddress.ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(address))
        except (OSError, ValueError):
            return None
    return _embedded(parsed) or parsed


def _embedded(address: _IPAddress) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 one stands for: mapped, compatible, 6to4, or through NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address in _NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
