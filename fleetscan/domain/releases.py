"""Which Windows a host runs, in the labels of ``known_good.yml``: from the build number that the host states."""

from __future__ import annotations

_CLIENTS = (  # first build of the release, its labels; a release of 10 also has the labels "x+" of the earlier ones
    (26100, ("11", "11-24h2")),
    (22000, ("11",)),
    (19045, ("10", "10-22h2")),
    (18362, ("10", "10-1903")),
    (17134, ("10", "10-1803")),
    (16299, ("10", "10-1709")),
    (10240, ("10",)),
    (9600, ("8.1",)),
    (7600, ("7",)),
)
_SERVERS = ((26100, "server-2025"), (20348, "server-2022"), (17763, "server-2019"), (14393, "server-2016"))
_PLUS = ((17134, "10-1803+"), (18362, "10-1903+"))


def labels(build: str, os_name: str = "") -> frozenset[str]:
    """Labels of a host; empty if the build is not known, so that nothing is concluded from it."""
    if not build.isdecimal():
        return frozenset()
    number = int(build)
    found = {label for first, label in _PLUS if number >= first}
    if "server" in os_name.lower():
        found.add(next((label for first, label in _SERVERS if number >= first), ""))
    found.update(next((names for first, names in _CLIENTS if number >= first), ()))
    return frozenset(found - {""})
