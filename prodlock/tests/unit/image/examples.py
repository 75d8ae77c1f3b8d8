"""Images made for tests: archives as `docker save` writes them, and OCI layouts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO


def tar(files: dict[str, bytes], links: dict[str, tuple[bytes, str]] | None = None) -> bytes:
    """Return a tar of files, and of links as (type, target)."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, (kind, target) in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
    return written.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    """Return a zip of files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return written.getvalue()


def saved(*layers: bytes, pack: Callable[[bytes], bytes] = bytes, history: bool = True) -> IO[bytes]:
    """Return what `docker save` writes for an image of these layers."""
    config: dict[str, object] = {
        "config": {"Cmd": ["serve"]},
        "rootfs": {"diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
        "history": None,
    }
    if history:
        made = [{"created_by": f"COPY {number}"} for number in range(len(layers))]
        config["history"] = [{"created_by": "ENV a=b", "empty_layer": True}, *made]
    blobs = {f"blobs/sha256/{number}": pack(layer) for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "Layers": list(blobs)}]
    return stored(
        tar(blobs | {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()})
    )


def stored(content: bytes) -> IO[bytes]:
    """Return a file with this content."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)
    file.flush()
    return file


def configuration(*layers: bytes, platform: str = "linux/amd64") -> bytes:
    """Return the configuration of an image of these uncompressed layers."""
    system, architecture, *variant = platform.split("/")
    document: dict[str, object] = {
        "architecture": architecture,
        "os": system,
        "config": {"Cmd": ["serve"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [{"created_by": f"COPY {number}"} for number in range(len(layers))],
    }
    if variant:
        document["variant"] = variant[0]
    return json.dumps(document).encode()


def digest(content: bytes) -> str:
    """Return the digest of a blob."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Layout:
    """An OCI layout that is being made."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(self, content: bytes, media_type: str) -> dict[str, object]:
        """Add a blob, and return its descriptor."""
        self.files["blobs/" + digest(content).replace(":", "/")] = content
        return {
            "mediaType": f"application/vnd.oci.image.{media_type}",
            "digest": digest(content),
            "size": len(content),
        }

    def image(
        self, *layers: bytes, platform: str = "linux/amd64", pack: Callable[[bytes], bytes] = gzip.compress
    ) -> dict[str, object]:
        """Add an image, and return the descriptor of its manifest, without a platform."""
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(configuration(*layers, platform=platform), "config.v1+json"),
            "layers": [self.blob(pack(layer), "layer.v1.tar+gzip") for layer in layers],
        }
        return self.blob(json.dumps(manifest).encode(), "manifest.v1+json")

    def index(self, *manifests: Mapping[str, object]) -> dict[str, object]:
        """Add an index, and return its descriptor."""
        return self.blob(self._index(*manifests), "index.v1+json")

    def finish(self, *manifests: Mapping[str, object]) -> dict[str, bytes]:
        """Return the files of the layout, whose index names these manifests."""
        return self.files | {"index.json": self._index(*manifests)}

    def _index(self, *manifests: Mapping[str, object]) -> bytes:
        return json.dumps({"schemaVersion": 2, "manifests": list(manifests)}).encode()


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write files below a folder, and return the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
