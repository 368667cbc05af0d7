"""Addresses that no saved profile may send a request to: link-local, and clouds' metadata. Pure.

Whoever can save a profile chooses where workers connect to; at these addresses any machine of a
cloud is told its own credentials.
"""

import socket
import unicodedata
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

_Address: TypeAlias = IPv4Address | IPv6Address

_V4: Final = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("192.0.0.192/32"),  # Oracle
)
_V6: Final = (
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),  # Amazon
    IPv6Network("fd20:ce::254/128"),  # Google
)
# Prefixes whose addresses carry an IPv4 one in their last 32 bits.
_CARRIERS: Final = (
    IPv6Network("::/96"),
    IPv6Network("::ffff:0:0/96"),
    IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b::/96"),
    IPv6Network("64:ff9b:1::/48"),
)
_NAMES: Final = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)


def is_link_local(host: str) -> bool:
    """Whether `host`, a name or an address in any spelling, is one of those. Resolves nothing."""
    host = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").strip().lower()
    host = host.strip("[]").partition("%")[0].rstrip(".")
    if host in _NAMES:
        return True
    address = _address(host)
    return address is not None and _forbidden(address)


def check_reachable_url(url: str, *, allow_link_local: bool) -> None:
    """Raises ValueError unless `url` is an HTTP URL, without a password, to a host that may be."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in ("http", "https") or not host or any(map(str.isspace, url)):
        raise ValueError("a URL begins with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user or password in the URL would be shown; use api_key instead")
    if not allow_link_local and is_link_local(host):
        raise ValueError(
            "the host is link-local or a cloud's metadata address; the operator may allow that "
            "with TRUNKLINE_ALLOW_LINK_LOCAL"
        )


def _address(host: str) -> _Address | None:
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:  # 0xa9fea9fe, 2852039166, 169.16689662 and the like, as the system reads them
        return IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _forbidden(address: _Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _V4)
    if address.sixtofour is not None and _forbidden(address.sixtofour):
        return True
    if any(address in network for network in _CARRIERS):
        return _forbidden(IPv4Address(int(address) & 0xFFFF_FFFF))
    return any(address in network for network in _V6)
