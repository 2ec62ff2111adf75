"""What a host in the settings is: an address or a name, and whether other machines reach it."""

from ipaddress import ip_address


def is_address(host: str) -> bool:
    """True for an IP address, False for a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True for an address or a name that only this machine reaches."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)
