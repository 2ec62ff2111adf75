"""Who made a bundle: what a device with a key takes, and what it refuses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cli import app
from edge.cli.support import run
from edge.errors import BundleError, ConfigError, UsageError
from edge.inference import load_classifier, open_bundle, shipped_bundle
from edge.inference.signature import load_trusted_keys
from edge.pipeline import load_pipeline
from edge.settings import Settings
from export.bundle import load_signer
from tests.edge.bundles.conftest import KeyPair, make_key_pair

Make = Callable[[str], Path]


def test_a_signed_bundle_runs_where_its_key_is_trusted(make_bundle: Make, keys: KeyPair) -> None:
    bundle = keys.sign(make_bundle("signed"))
    trusted = load_trusted_keys(str(keys.public))
    assert load_classifier(bundle, keys=trusted).name == open_bundle(bundle).identity


def test_openssl_makes_and_checks_the_same_signatures(make_bundle: Make, tmp_path: Path) -> None:
    bundle = make_bundle("by-hand")
    signature, key, public = str(bundle / "manifest.sig"), str(tmp_path / "k.pem"), str(tmp_path / "k.pub.pem")
    data = ["-rawin", "-in", str(bundle / "manifest.json")]
    for arguments in (
        ["genpkey", "-algorithm", "ed25519", "-out", key],
        ["pkey", "-in", key, "-pubout", "-out", public],
        ["pkeyutl", "-sign", "-inkey", key, *data, "-out", signature],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    open_bundle(bundle, load_trusted_keys(public))
    made_here = load_signer(Path(key))((bundle / "manifest.json").read_bytes())
    assert made_here == (bundle / "manifest.sig").read_bytes()
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, *data, "-sigfile", signature]
    assert b"Verified Successfully" in subprocess.run(check, check=True, capture_output=True).stdout


def test_one_of_several_keys_is_enough(make_bundle: Make, keys: KeyPair, tmp_path: Path) -> None:
    other = make_key_pair(tmp_path, "other")
    both = tmp_path / "both.pem"
    both.write_bytes(b"# the old one\n" + other.public.read_bytes() + b"# the new one\n" + keys.public.read_bytes())
    open_bundle(keys.sign(make_bundle("a")), load_trusted_keys(str(both)))
    open_bundle(other.sign(make_bundle("b")), load_trusted_keys(str(both)))


def test_without_a_key_signatures_are_not_looked_at(make_bundle: Make, keys: KeyPair) -> None:
    assert load_trusted_keys("") is None
    bundle = make_bundle("a")
    assert open_bundle(bundle).signature is None
    assert open_bundle(keys.sign(bundle)).signature is not None


def test_unsigned_bundle_is_refused_before_it_is_parsed(make_bundle: Make, keys: KeyPair) -> None:
    bundle = make_bundle("unsigned")
    (bundle / "manifest.json").write_bytes(b"{ no JSON")
    with pytest.raises(BundleError, match=r"manifest\.sig: missing; bundle_key \(.*\) allows signed bundles only"):
        open_bundle(bundle, load_trusted_keys(str(keys.public)))


def test_another_manifest_or_another_key_is_refused(make_bundle: Make, keys: KeyPair, tmp_path: Path) -> None:
    trusted = load_trusted_keys(str(keys.public))
    first, second = keys.sign(make_bundle("first")), keys.sign(make_bundle("second"))
    (first / "manifest.sig").write_bytes((second / "manifest.sig").read_bytes())
    for bundle in (first, make_key_pair(tmp_path, "stranger").sign(second)):
        with pytest.raises(BundleError, match=r"manifest\.sig: no signature of this manifest by a key in bundle_key"):
            open_bundle(bundle, trusted)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("size", [0, 1, 63, 65, 5000])
def test_a_signature_of_another_size_is_refused(make_bundle: Make, keys: KeyPair, size: int, *, with_key: bool) -> None:
    bundle = keys.sign(make_bundle("cut"))
    (bundle / "manifest.sig").write_bytes(((bundle / "manifest.sig").read_bytes() * 100)[:size])
    with pytest.raises(BundleError, match=rf"manifest\.sig: has {size} bytes"):
        open_bundle(bundle, load_trusted_keys(str(keys.public)) if with_key else None)


def test_the_bundle_that_ships_must_be_signed_too(keys: KeyPair) -> None:
    with pytest.raises(BundleError, match=r"manifest\.sig: missing"):
        load_pipeline(Settings(bundle_key=str(keys.public)))


def test_signature_is_asked_for_by_every_command_with_a_bundle(
    make_bundle: Make, keys: KeyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'bundle_key = "{keys.public}"\nstate_dir = "{tmp_path}/state"\ncamera = "demo:"\n')
    bundle = str(make_bundle("unsigned"))
    picture = tmp_path / "picture.png"
    picture.touch()
    for command in (["run"], ["classify", str(picture)]):
        assert run(app, [*command, "--config", str(config), "--bundle", bundle]) == 78
        assert "manifest.sig: missing" in capsys.readouterr().err


def test_a_key_without_the_library_is_a_refusal_and_no_pass(make_bundle: Make, keys: KeyPair) -> None:
    bundle = keys.sign(make_bundle("signed"))
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from edge.settings import Settings; from edge.pipeline import load_pipeline\n"
        f"load_pipeline(Settings(bundle={str(bundle)!r}, bundle_key={str(keys.public)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ConfigError: bundle_key: is set, and signatures cannot be checked without the library cryptography" in (
        done.stderr
    )


def test_without_a_key_the_library_is_not_even_loaded() -> None:
    code = "import sys, edge.inference as i; i.load_classifier(); print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds 0 public keys"),
        (b"\x00\xff", "holds 0 public keys"),
        (b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "holds a private key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "damaged key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n" * 17, "holds 17 public keys"),
        (b"x" * 70_000, "no file of public keys"),
    ],
)
def test_a_file_of_no_keys_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refused:
        load_trusted_keys(str(path))
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(f"bundle_key: {path}")


def test_keys_missing_foreign_or_open_to_all_are_refused(keys: KeyPair, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_trusted_keys(str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="no file of public keys"):
        load_trusted_keys(str(tmp_path))
    elliptic = tmp_path / "ec.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(elliptic)],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(UsageError, match="not an Ed25519 key"):
        load_signer(elliptic)
    public = tmp_path / "ec.pub.pem"
    subprocess.run(["openssl", "pkey", "-in", str(elliptic), "-pubout", "-out", str(public)], check=True)
    with pytest.raises(ConfigError, match="not of the kind Ed25519"):
        load_trusted_keys(str(public))
    keys.public.chmod(0o646)
    with pytest.raises(ConfigError, match="anybody may write"):
        load_trusted_keys(str(keys.public))


def test_a_private_key_that_cannot_sign_is_one_line(keys: KeyPair, tmp_path: Path) -> None:
    keys.private.chmod(0o640)
    with pytest.raises(UsageError, match="has mode 0640; others may read it"):
        load_signer(keys.private)
    keys.public.chmod(0o600)
    with pytest.raises(UsageError, match="not a private key in PEM"):
        load_signer(keys.public)
    with pytest.raises(UsageError, match="No such file"):
        load_signer(tmp_path / "none")
    locked = tmp_path / "locked.pem"
    arguments = ["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x", "-out", str(locked)]
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    with pytest.raises(UsageError, match="has a passphrase"):
        load_signer(locked)


def test_a_signature_is_no_file_that_a_manifest_may_list(make_bundle: Make) -> None:
    bundle = make_bundle("listed")
    text = (bundle / "manifest.json").read_text().replace("cnn.tflite", "manifest.sig")
    (bundle / "manifest.json").write_text(text)
    (bundle / "cnn.tflite").rename(bundle / "manifest.sig")
    with pytest.raises(BundleError, match=r"manifest\.(json|sig): "):
        open_bundle(bundle)


def test_the_shipped_bundle_is_sound() -> None:
    assert open_bundle(shipped_bundle()).manifest.models
