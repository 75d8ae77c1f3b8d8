import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


class Queue:
    """A folder with a file for each message."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, message: dict) -> int:
        (self.folder / f"{uuid4()}.json").write_text(json.dumps(message))
        return len(list(self.folder.glob("*.json")))

    def take(self) -> Iterator[dict]:
        for file in sorted(self.folder.glob("*.json")):
            yield json.loads(file.read_text())
            file.unlink()
