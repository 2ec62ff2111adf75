"""Bundles made from the one that ships, and keys to sign them with."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from edge.bundles.choice import load_chosen
from edge.bundles.self_test import load_tested
from edge.bundles.source import bring
from edge.bundles.store import BundleStore
from edge.files import Files
from edge.inference import shipped_bundle
from edge.inference.signature import load_trusted_keys
from edge.settings import Settings


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files of a key, as openssl writes them."""

    private: Path
    public: Path

    def sign(self, bundle: Path) -> Path:
        """Put a signature into a bundle."""
        from export.bundle import load_signer

        (bundle / "manifest.sig").write_bytes(load_signer(self.private)((bundle / "manifest.json").read_bytes()))
        return bundle


def make_key_pair(folder: Path, name: str = "key") -> KeyPair:
    key = Ed25519PrivateKey.generate()
    pair = KeyPair(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pair.private.chmod(0o600)
    pair.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return pair


def copy_of_shipped(folder: Path, name: str) -> Path:
    """The shipped bundle under another name, so with another manifest and another hash."""
    shutil.copytree(shipped_bundle(), folder)
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    manifest["name"] = name
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def without_population(folder: Path) -> None:
    """Make a copy what an older version exported."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes())
    del manifest["population"]
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))


@pytest.fixture
def keys(tmp_path: Path) -> KeyPair:
    return make_key_pair(tmp_path)


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[[str], Path]:
    """Make a sound bundle of a name."""
    return lambda name: copy_of_shipped(tmp_path / f"made-{name}", name)


@dataclass(frozen=True, slots=True)
class Device:
    """A state folder, and what a daemon of it would run."""

    settings: Settings

    @property
    def store(self) -> BundleStore:
        return BundleStore.of(self.settings.state_dir)

    def install(self, source: Path, files: Files | None = None) -> str:
        store = BundleStore.of(self.settings.state_dir, files)
        keys = load_trusted_keys(self.settings.bundle_key)
        return store.install(lambda scratch: bring(str(source), scratch, keys, store.files), self.check)

    def check(self, folder: Path | None) -> None:
        load_tested(folder, self.settings.classifier, load_trusted_keys(self.settings.bundle_key))

    def runs(self) -> str:
        return load_chosen(self.settings).name

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.store.folder.glob(".incoming*"))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(Settings(state_dir=str(tmp_path / "state")))
