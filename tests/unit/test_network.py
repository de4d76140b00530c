"""Where workers reach the coordinator: real interfaces of this machine."""

from __future__ import annotations

import pytest

from psdbatch.cluster.network import scheduler_place
from psdbatch.config.cluster import Cluster
from psdbatch.errors import ConfigurationError


def place(address: str | None, **options: object) -> dict[str, object]:
    return scheduler_place(Cluster.model_validate({"address": address, "tls": True, **options}))


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (None, {}),
        ("lo", {"interface": "lo"}),
        ("127.0.0.1", {"host": "127.0.0.1"}),
        ("localhost", {"host": "localhost"}),
        ("0.0.0.0", {"host": "0.0.0.0"}),
    ],
)
def test_an_interface_is_told_from_an_address(address: str | None, where: dict[str, str]) -> None:
    assert place(address) == {"protocol": "tls", **where}


def test_connections_are_encrypted_unless_the_configuration_says_otherwise() -> None:
    slurm = {"kind": "slurm", "workers": [{"name": "cpu"}]}
    assert place(None, **slurm, tls=None)["protocol"] == "tls"
    assert place(None, **slurm, tls=False)["protocol"] == "tcp"


def test_another_machine_s_address_is_refused_with_those_of_this_one() -> None:
    with pytest.raises(
        ConfigurationError, match=r"203\.0\.113\.7 is not an address of .*; it has .*127\.0\.0\.1"
    ) as error:
        place("203.0.113.7")
    assert "00:00:00" not in str(error.value)  # nobody connects to a hardware address


@pytest.mark.parametrize("nonsense", ["no-such-host.invalid", "node..17", "n" * 70, "nosuch0"])
def test_what_is_no_address_at_all_is_said_with_the_interfaces(nonsense: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'cluster.address': .* is neither a network interface .*lo"):
        place(nonsense)
