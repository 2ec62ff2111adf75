"""Settings of the broker that cannot work are refused before anything starts."""

from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.mqtt.address import broker_address
from edge.settings import MqttSettings


def password_file(folder: Path) -> str:
    path = folder / "password"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return str(path)


def test_url_gives_host_port_and_user(tmp_path: Path) -> None:
    address = broker_address(MqttSettings(url="mqtt://cam%40hall@broker.lan", password_file=password_file(tmp_path)))
    assert (address.host, address.port, address.username, address.password) == (
        "broker.lan",
        1883,
        "cam@hall",
        "s3cret",
    )
    assert address.tls is None
    assert "s3cret" not in repr(address)
    assert "cam" not in address.shown


def test_mqtts_has_its_port_and_always_checks_certificates() -> None:
    address = broker_address(MqttSettings(url="mqtts://[::1]"))
    assert (address.host, address.port, address.shown) == ("::1", 8883, "mqtts://[::1]:8883")
    assert address.tls is not None
    assert address.tls.check_hostname


def test_a_user_name_in_the_settings_wins_over_the_url() -> None:
    assert broker_address(MqttSettings(url="mqtt://a@host", username="b")).username == "b"


def test_a_password_without_a_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.username"):
        broker_address(MqttSettings(url="mqtt://host", password_file=password_file(tmp_path)))


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot be read"), ("not a certificate", "holds no certificate")]
)
def test_an_authority_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, complaint: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"mqtt.ca_file: .*{complaint}"):
        broker_address(MqttSettings(url="mqtts://host", ca_file=str(path)))


def test_an_impossible_host_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mqtt.url: .*is not a valid host name"):
        broker_address(MqttSettings(url="mqtt://a..b"))
