"""Where workers reach the coordinator."""

from __future__ import annotations

import socket
from typing import Any

import psutil

from psdbatch.config.cluster import Cluster
from psdbatch.errors import ConfigurationError


def scheduler_place(config: Cluster) -> dict[str, Any]:
    """Options of the scheduler: protocol, and address or network interface.

    Raises
    ------
    ConfigurationError
        This machine has no such address or interface.
    """
    place: dict[str, Any] = {"protocol": "tls" if config.encrypted else "tcp"}
    if config.address is None:
        return place
    interfaces = psutil.net_if_addrs()
    if config.address in interfaces:
        return {**place, "interface": config.address}
    families = (socket.AF_INET, socket.AF_INET6)
    own = {entry.address for entries in interfaces.values() for entry in entries if entry.family in families}
    try:
        resolved = {entry[4][0] for entry in socket.getaddrinfo(config.address, None)}
    except (OSError, UnicodeError) as error:  # the latter for names that no host can have
        raise ConfigurationError(
            f"'cluster.address': '{config.address}' is neither a network interface of this machine ({', '.join(interfaces)}) "
            f"nor an address: {error}"
        ) from error
    if not resolved & own and config.address != "0.0.0.0":
        raise ConfigurationError(
            f"'cluster.address': {config.address} is not an address of {socket.gethostname()}; it has {', '.join(sorted(own))}"
        )
    return {**place, "host": config.address}
