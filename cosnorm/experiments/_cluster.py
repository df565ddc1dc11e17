"""The Ray cluster of a sweep: connecting to it, and what one task takes of its nodes."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from cosnorm.experiments.registry import Scale

#: Addresses that are words: the cluster that this machine is part of, and one started for the sweep.
AUTO, LOCAL = "auto", "local"
#: Ray's variable for the address that ``auto`` stands for.
ADDRESS_VARIABLE = "RAY_ADDRESS"
#: Seconds to wait for a head node to answer. Ray itself would wait for minutes and end the process.
PATIENCE = 10.0
#: What Ray reads from the environment when it is imported: no usage statistics; no lines of its own about
#: lost workers, which the sweep tells of; no warning of a new default for tasks without a GPU.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
#: With this Ray listens on 127.0.0.1 alone, on any system.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class SweepError(RuntimeError):
    """A sweep cannot start or go on; the message says how to mend it."""


@dataclass(frozen=True)
class Resources:
    """What one task reserves on its node, and the kind of device that it trains on."""

    device: str
    cpus: int
    gpus: float


def import_ray(loopback: bool = False) -> ModuleType:
    """The module, set to be quiet.

    Parameters
    ----------
    loopback
        Whether clusters of this process are to be reachable from this machine only.

    Raises
    ------
    SweepError
        If Ray is not installed.
    """
    for variable, value in (_QUIET | _LOOPBACK if loopback else _QUIET).items():
        os.environ.setdefault(variable, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise SweepError(
            "a sweep needs Ray; install it on every node: pip install 'cosnorm[sweep]'"
        ) from None
    return ray


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Ray, connected to a cluster; a connection of before is used as it is, a new one closed at the end.

    Parameters
    ----------
    address
        ``"auto"``, ``"local"`` or ``HOST:PORT`` of the head node.

    Raises
    ------
    ValueError
        If the address is none of these.
    SweepError
        If Ray is not installed, or there is no cluster at the address.
    """
    check_address(address)
    ray = import_ray(loopback=address == LOCAL)
    if ray.is_initialized():
        yield ray
        return
    _connect(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise ValueError unless an address can be one."""
    host, _, port = address.rpartition(":")
    if address not in (AUTO, LOCAL) and not (host and "/" not in host and port.isdecimal()):
        raise ValueError(f"the address {address!r} is not understood; write auto, local or HOST:PORT")


def _connect(ray: ModuleType, address: str) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        # Nothing but settings and records is sent: the smallest object store that Ray takes will do.
        options |= {"include_dashboard": False, "object_store_memory": 80_000_000}
    else:
        _knock(os.environ.get(ADDRESS_VARIABLE, AUTO) if address == AUTO else address)
    try:
        ray.init(address, **options)
    except (Exception, SystemExit) as error:  # Ray raises Exception itself, and leaves where nobody answers
        raise SweepError(_cannot(address, str(error))) from error


def _knock(address: str) -> None:
    """See that somebody listens at an address."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise SweepError(_cannot(address, str(error))) from error


def _cannot(address: str, why: str) -> str:
    if address == LOCAL:
        return f"Ray cannot be started on this machine ({why}); if it is busy, try again when it is less so"
    return (
        f"there is no Ray cluster at the address {address} ({why}). Start one with `ray start --head` on one "
        "machine and `ray start --address=HOST:PORT` on each of the others, and the sweep on one of them; "
        "or sweep on this machine alone with --address local (address= in Python)"
    )


def settle(
    ray: ModuleType, scale: Scale, device: str, num_gpus: float | None, num_cpus: int | None
) -> Resources:
    """What a task of a sweep reserves; parameters as for :func:`cosnorm.experiments.sweeping.sweep`.

    Raises
    ------
    SweepError
        If no node of the cluster has that much.
    """
    if device == AUTO:
        owned = ray.cluster_resources().get("GPU", 0) if num_gpus is None else num_gpus
        device = "cuda" if owned else "cpu"
    gpus = (1.0 if num_gpus is None else num_gpus) if device == "cuda" else 0.0
    wanted = Resources(device, num_cpus or scale.threads or 1, gpus)
    owned = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= wanted.cpus and node.get("GPU", 0) >= gpus for node in owned):
        largest = max(node.get("CPU", 0) for node in owned), max(node.get("GPU", 0) for node in owned)
        raise SweepError(
            f"no node of the cluster has {wanted.cpus} CPUs and {gpus:g} GPUs for a task: the largest have "
            f"{largest[0]:g} and {largest[1]:g}; lower --num-cpus or --num-gpus, or choose another --device"
        )
    return wanted


def check_request(device: str, num_gpus: float | None, num_cpus: int | None, group: int | None) -> None:
    """Raise ValueError for what no cluster could give."""
    if device not in (AUTO, "cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}; use auto, cpu or cuda")
    if num_gpus is not None and not 0 <= num_gpus <= 1:
        raise ValueError(
            f"a task trains on one GPU or a part of one: num_gpus is from 0 to 1, got {num_gpus:g}"
        )
    if device == "cpu" and num_gpus:
        raise ValueError(f"the device is cpu, and num_gpus is {num_gpus:g}; leave one of them out")
    if device == "cuda" and num_gpus == 0:
        raise ValueError("the device is cuda, and num_gpus is 0; leave one of them out")
    for name, number in (("num_cpus", num_cpus), ("group", group)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}")
